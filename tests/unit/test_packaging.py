"""What installing and importing must not do."""

import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[2]


def required(monkeypatch, site):
    """Return what setup.py requires in an environment whose packages lie in ``site``."""
    asked = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: asked.update(options))
    monkeypatch.setattr(
        sysconfig, "get_paths", lambda: {"purelib": str(site), "platlib": str(site)}
    )
    monkeypatch.setattr("site.getsitepackages", lambda: [str(site)])
    runpy.run_path(str(ROOT / "setup.py"))
    return [line.split(">")[0] for line in asked["install_requires"]]


def test_an_installed_torch_is_not_required_so_that_it_stays(monkeypatch, tmp_path):
    metadata = tmp_path / "torch-2.6.0+hpu.1.21.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0+hpu.1.21.0\n")

    assert "torch" not in required(monkeypatch, tmp_path)


def test_an_absent_torch_is_required(monkeypatch, tmp_path):
    assert "torch" in required(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    "module",
    [
        "w2v_core",
        "w2v_core.pytest_plugin",
        "w2v_core.cli",
        "w2v_core.verdict.commands",
        "w2v_core.report.run_directory",
    ],
)
def test_importing_imports_no_torch(module):
    code = (
        f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert done.returncode == 0
