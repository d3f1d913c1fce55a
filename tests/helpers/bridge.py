"""A stand-in for ``habana-torch-plugin``: a distribution that loads itself inside ``import torch``.

It does what the vendor's bridge is documented to do (gaudi contract, section 9): an entry point in
the group ``torch.backends`` imports ``habana_frameworks.torch`` where ``PT_HPU_AUTOLOAD`` is 1, and
where that is unset, whenever the mode is not lazy. Every load is written down with the environment
that it saw. Behind it is no card, or, where ``STANDIN_CARD`` is set, the simulated one.
"""

import json
import os
from pathlib import Path

FILES = {
    "habana_frameworks/__init__.py": """
import os

def autoload():
    import habana_frameworks.autoload
    habana_frameworks.autoload.run()
""",
    "habana_frameworks/autoload/__init__.py": """
import os

def run():
    lazy = os.environ.get("PT_HPU_LAZY_MODE", "{lazy_default}") == "1"
    if os.environ.get("PT_HPU_AUTOLOAD", "0" if lazy else "1") == "1":
        import habana_frameworks.torch
""",
    "habana_frameworks/torch/__init__.py": """
import json, os, warnings

PREFIXES = ("PT_", "HABANA_", "HLS_", "STANDIN_")
READ = {k: v for k, v in os.environ.items() if k.startswith(PREFIXES)}  # as the bridge: once
with open(READ["STANDIN_LOG"], "a") as log:
    log.write(json.dumps(READ) + "\\n")
warnings.warn("torch.hpu.Event: deprecated since 2.13", FutureWarning)
warnings.warn("as if torch had warned", FutureWarning, stacklevel=2)
if READ.get("STANDIN_CARD"):
    from tests.hpusim.plugin import install_for_session
    install_for_session()
""",
    "habana_frameworks/torch/core/__init__.py": "def mark_step(): ...\n",
    "habana_frameworks/torch/hpu/__init__.py": "def is_available(): return False\n",
    "habana_frameworks/torch/hpu/metrics.py": "def metric_global(name): ...\n",
    "habana_frameworks/torch/utils/__init__.py": "",
    "habana_frameworks/torch/utils/internal.py": """
from habana_frameworks.torch import READ

def is_lazy():
    return READ.get("PT_HPU_LAZY_MODE", "{lazy_default}") == "1"
""",
}
RELEASES = {"1.20": "1", "1.21": "0"}
"""What an unset PT_HPU_LAZY_MODE means, by release."""
VARIABLES = ("PT_", "HABANA_", "HLS_", "TORCH_DEVICE_BACKEND_AUTOLOAD")


def install_bridge(directory: Path, *, release: str, torch: str) -> None:
    """Write the distribution for one release, and the metadata of a torch of that version."""
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{lazy_default}", RELEASES[release]))
    _write_metadata(directory, "torch", torch)
    info = _write_metadata(directory, "habana_torch_plugin", f"{release}.0.1")
    info.joinpath("entry_points.txt").write_text(
        "[torch.backends]\ndevice_backend = habana_frameworks:autoload\n"
    )


def _write_metadata(directory: Path, name: str, version: str) -> Path:
    info = directory / f"{name}-{version}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    )
    return info


def bridge_environment(directory: Path, log: Path, **variables: str) -> dict[str, str]:
    """Return a process environment that has the bridge, and no setting of it but ``variables``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(VARIABLES)}
    clean.pop("PYTEST_ADDOPTS", None)
    return {
        **clean,
        "PYTHONPATH": str(directory),
        "STANDIN_LOG": str(log),
        "OMP_NUM_THREADS": "1",
        **variables,
    }


def loads(log: Path) -> list[dict[str, str]]:
    """Return the environment that each load of the bridge saw."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
