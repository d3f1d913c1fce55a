"""The fingerprint: what a figure depends on besides the code under test, and how two compare.

A baseline belongs to one key: card generation, full SynapseAI build, torch, driver, firmware and
host class. Two releases differ in their software by intention; whether the difference of their
figures is the release's depends on the host and the card being the same.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from w2v_core import __version__
from w2v_core.printable import printable, shorten
from w2v_core.records.fields import KEY_FIELDS, KEYS, describe
from w2v_core.system import read, version_of

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
_VALUE_CHARS = 400
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Described(Protocol):
    """A device that can say what it is; every backend does."""

    @property
    def name(self) -> str:
        """Return its kind: ``cpu``, ``cuda`` or ``hpu``."""
        ...

    @property
    def device_name(self) -> str:
        """Return the card's or processor's name."""
        ...

    def fingerprint(self) -> Mapping[str, str | int | float | None]:
        """Return what is known of the device and its software, by the registry's names."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A fingerprint key whose values differ between two releases."""

    field: str
    a: str
    b: str
    matters: str
    """Why it is known to matter; empty where it is not."""


def collect(backend: Described) -> dict[str, Any]:
    """Describe host, software and device; a field that cannot be read is None.

    Keys are flat, so that two fingerprints can be compared line by line.
    """
    commit, commit_unknown = source_commit()
    values: dict[str, Any] = {
        "w2v_core": __version__,
        "commit": commit,
        "commit_unknown": commit_unknown,
        "python": platform.python_version(),
        "system": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "host": platform.node(),
        "boot_id": read(BOOT_ID),
        "host_class": f"{platform.machine()} {os.cpu_count()} cpus",
        "cpus": os.cpu_count(),
        "cpus_usable": _usable_cpus(),
        "governor": read(GOVERNOR),
        "memory_total_bytes": _memory_bytes(),
        "container": container(),
        "device": backend.name,
        "device_name": backend.device_name,
    }
    values.update({package: version_of(package) for package in PACKAGES})
    values.update(backend.fingerprint())
    values.update(_environment_variables(os.environ))
    return values


def key(environment: Mapping[str, Any]) -> dict[str, str]:
    """Reduce a fingerprint to what a baseline is keyed by; an unread field is ``unknown``.

    Eager execution is another stack than lazy, and says so beside the build.
    """
    values = {name: _first(environment, keys) for name, keys in KEY_FIELDS}
    if environment.get("execution") == "eager":
        values["synapse"] += " eager"
    return values


def place(environment: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what says where a run was made: host and card, as sorted pairs.

    A container has a host name of its own, another one each time it starts. So a card's serial
    stands for its host where it is known, and the machine's boot for the name of a container.
    """
    told = {
        row.name: str(environment[row.name])
        for row in KEYS
        if row.role == "place" and environment.get(row.name) is not None
    }
    boot = environment.get("boot_id")
    if "card_uuid" in told:
        told.pop("host", None)
    elif environment.get("container") is not None and boot is not None:
        told["host"] = str(boot)
    return tuple(sorted(told.items()))


def card_of(environment: Mapping[str, Any]) -> str:
    """Name the card that a run was made on, alike on every night; empty where nothing tells it.

    By its serial where that is known, else by its place in its host. A container's host name is
    another one each time it starts and tells nothing.
    """
    if environment.get("card_uuid") is not None:
        return f"card {environment['card_uuid']}"
    names = ["host", "module_id", "bus_id"][1 if environment.get("container") else 0 :]
    return ", ".join(f"{n} {environment[n]}" for n in names if environment.get(n) is not None)


def difference(
    a: Mapping[str, Any], b: Mapping[str, Any], *, equal: bool = False
) -> tuple[FieldDifference, ...]:
    """List the keys of two fingerprints that differ, those known to matter first.

    Args:
        a: One fingerprint.
        b: The other one.
        equal: List the equal keys as well, last.
    """
    rows = [
        FieldDifference(
            field=printable(name), a=_shown(a, name), b=_shown(b, name), matters=describe(name).why
        )
        for name in sorted(set(a) | set(b))
        if describe(name).role != "volatile"
        if equal or _shown(a, name) != _shown(b, name)
    ]
    return tuple(sorted(rows, key=lambda r: (r.a == r.b, not r.matters, r.field)))


def source_commit() -> tuple[str | None, str | None]:
    """Return the commit of the checkout that this package runs from, and why it is not known.

    A ``+`` ends the commit of a changed checkout. Outside a checkout both are None.
    """
    here = Path(__file__).resolve().parent
    if not (here.parent.parent / ".git").exists():
        return None, None
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except subprocess.CalledProcessError as error:  # another user's checkout, for example
        return None, f"git: {str(error.stderr).strip().partition(chr(10))[0]}"
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"git: {error}"
    return f"{commit}+" if changed else commit, None


def _first(environment: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if environment.get(name) is not None:
            return str(environment[name])
    return "unknown"


def _shown(environment: Mapping[str, Any], name: str) -> str:
    if name not in environment:
        return "(not set)"
    value = environment[name]
    return "unknown" if value is None else printable(shorten(str(value), _VALUE_CHARS))


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    return done.stdout.strip()


def _environment_variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in sorted(environ) if name.startswith(VARIABLES)}


def _usable_cpus() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def container(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> str | None:
    """Name what keeps this process in a container; None on a plain host.

    Kubernetes sets variables in every container. containerd and CRI-O leave no mark file, but
    their folder stands in the options of the root's overlay mount and in cgroup v1's paths.
    """
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "kubernetes"
    for mark, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / mark).exists():
            return name
    mounts = (read(root / "proc/self/mountinfo") or "").splitlines()
    of_root = " ".join(line for line in mounts if line.split()[4:5] == ["/"])
    told = f"{of_root} {read(root / 'proc/1/cgroup') or ''}"
    names = {
        "kubepods": "kubernetes",
        "containerd": "containerd",
        "crio": "cri-o",
        "docker": "docker",
        "libpod": "podman",
        "lxc": "lxc",
    }
    return next((name for mark, name in names.items() if mark in told), None)
