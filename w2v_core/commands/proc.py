"""What the system tells of its load, by psutil; of its limits and clock, by Linux's own files.

Where there are no such files their readers return None.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import psutil

from w2v_core.system import read

CGROUP = Path("/sys/fs/cgroup")
CPUFREQ = Path("/sys/devices/system/cpu")
SAMPLE_S = 0.2


def memory_available_bytes(cgroup: Path = CGROUP) -> int:
    """Return what may still be allocated: of the machine, or of the container where it is less.

    A container's ``memory.current`` counts the page cache too; of it, ``inactive_file`` is given
    back on demand.
    """
    free = int(psutil.virtual_memory().available)
    limit, used = read(cgroup / "memory.max"), read(cgroup / "memory.current")
    if limit is not None and limit.isdigit() and used is not None and used.isdigit():
        stat = dict(re.findall(r"^(\w+) (\d+)$", read(cgroup / "memory.stat") or "", re.MULTILINE))
        left = int(limit) - max(int(used) - int(stat.get("inactive_file", 0)), 0)
        return min(free, left)
    return free


def swap_used_bytes() -> int | None:
    """Return how much memory lies on disk; None where the system does not tell."""
    try:
        return int(psutil.swap_memory().used)
    except (OSError, RuntimeError):
        return None


def usable_cpus() -> int:
    """Count the processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def cpu_quota(cgroup: Path = CGROUP) -> float | None:
    """Return the processors that the container may use; None without a limit.

    Control groups hold a quota and a period, in microseconds: ``cpu.max`` (v2), two files (v1).
    """
    quota, _, period = (read(cgroup / "cpu.max") or "").partition(" ")
    if not quota:
        quota = read(cgroup / "cpu" / "cpu.cfs_quota_us") or ""
        period = read(cgroup / "cpu" / "cpu.cfs_period_us") or ""
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def steal() -> float | None:
    """Return the fraction of processor time since boot that a hypervisor gave to others."""
    times = psutil.cpu_times()._asdict()
    if "steal" not in times:
        return None
    within_others = ("guest", "guest_nice")  # counted in user and nice
    return float(
        times["steal"] / max(sum(v for k, v in times.items() if k not in within_others), 1)
    )


def turbo(cpufreq: Path = CPUFREQ) -> bool | None:
    """Return whether the clock may rise above its nominal rate; None where it is not shown."""
    no_turbo, boost = read(cpufreq / "intel_pstate/no_turbo"), read(cpufreq / "cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boost is None else boost == "1"


def busiest(*, sample_s: float = SAMPLE_S) -> tuple[tuple[str, float], ...]:
    """Return the other processes that compute now, busiest first, in processors; blocks.

    Watches for ``sample_s``. A container sees its own processes only.
    """
    others = [p for p in psutil.process_iter(["name"]) if p.pid != os.getpid()]
    for process in others:
        _used(process)  # the first call starts the watch
    time.sleep(sample_s)
    found = [(str(process.info["name"]), _used(process)) for process in others]
    return tuple(sorted(((n, used) for n, used in found if used > 0), key=lambda row: -row[1]))


def _used(process: psutil.Process) -> float:
    """Return the processors that a process has used since it was last asked; 0 where it ended."""
    try:
        return float(process.cpu_percent(interval=None)) / 100
    except psutil.Error:
        return 0.0
