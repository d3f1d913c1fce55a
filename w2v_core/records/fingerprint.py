"""The fingerprint: what a figure depends on besides the code under test."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2v_core import __version__
from w2v_core.backends.base import Backend

__all__ = ["fingerprint", "source_commit"]

PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "jiwer",
    "pandas",
    "datasets",
    "soundfile",
    "soxr",
    "pytest",
    "pytest-benchmark",
    "habana-torch-plugin",
)
VARIABLES = ("PT_HPU_", "PT_HPUGRAPH_", "PT_ENABLE_", "HABANA_", "OMP_", "MKL_", "MALLOC_", "KMP_")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def fingerprint(backend: Backend) -> dict[str, Any]:
    """Describe host, software and device; a field that cannot be read is None.

    Keys are flat, so that two fingerprints can be compared line by line.
    """
    values: dict[str, Any] = {
        "w2v_core": __version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "system": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "host": platform.node(),
        "host_class": f"{platform.machine()} {os.cpu_count()} cpus",
        "cpus": os.cpu_count(),
        "cpus_usable": _usable_cpus(),
        "governor": _read(GOVERNOR),
        "memory_total_bytes": _memory_bytes(),
        "container": _container(),
        "device": backend.name,
        "device_name": backend.device_name,
    }
    values.update({package: _version(package) for package in PACKAGES})
    values.update({key: value for key, value in backend.fingerprint().items()})
    values.update(_environment_variables(os.environ))
    return values


def source_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, ``+`` where it is changed."""
    here = Path(__file__).resolve().parent
    if not (here.parent.parent / ".git").exists():
        return None
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+" if changed else commit


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    return done.stdout.strip()


def _environment_variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in sorted(environ) if name.startswith(VARIABLES)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usable_cpus() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _container() -> str | None:
    for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if Path(path).exists():
            return name
    return None
