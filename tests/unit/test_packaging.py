"""What installing and importing must not do."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "module",
    [
        "w2v_core",
        "w2v_core.pytest_plugin",
        "w2v_core.cli",
        "w2v_core.verdict.commands",
        "w2v_core.report.files",
    ],
)
def test_importing_imports_no_torch(module):
    code = (
        f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert done.returncode == 0
