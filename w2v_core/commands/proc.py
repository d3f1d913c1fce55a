"""What Linux tells under /proc and /sys; elsewhere every reader returns None or nothing."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

__all__ = [
    "busiest",
    "cpu_quota",
    "memory_available_bytes",
    "read",
    "steal",
    "swap_used_bytes",
    "turbo",
    "usable_cpus",
]

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
CPUFREQ = Path("/sys/devices/system/cpu")
STEAL = 7  # column of /proc/stat's first line, the name not counted
SAMPLE_S = 0.2


def read(path: Path) -> str | None:
    """Return a file's text without white space around it; None where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def memory_available_bytes(proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Return what may still be allocated: of the machine, or of the container where it is less.

    A container's ``memory.current`` counts the page cache too; of it, ``inactive_file`` is given
    back on demand.
    """
    free = _meminfo(proc).get("MemAvailable")
    limit, used = read(cgroup / "memory.max"), read(cgroup / "memory.current")
    if limit is not None and limit.isdigit() and used is not None and used.isdigit():
        stat = dict(re.findall(r"^(\w+) (\d+)$", read(cgroup / "memory.stat") or "", re.MULTILINE))
        left = int(limit) - max(int(used) - int(stat.get("inactive_file", 0)), 0)
        return left if free is None else min(free, left)
    return free


def swap_used_bytes(proc: Path = PROC) -> int | None:
    """Return how much memory lies on disk."""
    info = _meminfo(proc)
    return info["SwapTotal"] - info["SwapFree"] if {"SwapTotal", "SwapFree"} <= set(info) else None


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


def steal(proc: Path = PROC) -> float | None:
    """Return the fraction of processor time since boot that a hypervisor gave to others."""
    first = (read(proc / "stat") or "").partition("\n")[0].split()[1:]
    if len(first) <= STEAL:
        return None
    ticks = [int(value) for value in first]
    return ticks[STEAL] / max(sum(ticks), 1)


def turbo(cpufreq: Path = CPUFREQ) -> bool | None:
    """Return whether the clock may rise above its nominal rate; None where it is not shown."""
    no_turbo, boost = read(cpufreq / "intel_pstate/no_turbo"), read(cpufreq / "cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boost is None else boost == "1"


def busiest(proc: Path = PROC, *, sample_s: float = SAMPLE_S) -> tuple[tuple[str, float], ...]:
    """Return the other processes that compute now, busiest first, in processors; blocks.

    Watches for ``sample_s``. A container sees its own processes only.
    """
    before, started_s = _ticks(proc), time.perf_counter()
    time.sleep(sample_s)
    after, sampled_s = _ticks(proc), time.perf_counter() - started_s
    ticks_per_s = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    found = [
        (name, (ticks - before[pid][1]) / ticks_per_s / sampled_s)
        for pid, (name, ticks) in after.items()
        if pid in before and pid != os.getpid()
    ]
    return tuple(sorted(((n, used) for n, used in found if used > 0), key=lambda row: -row[1]))


def _ticks(proc: Path) -> dict[int, tuple[str, int]]:
    """Read each process's name and the processor time it has used, in clock ticks."""
    found = {}
    for path in proc.glob("[0-9]*/stat"):
        name, _, rest = (read(path) or "").rpartition(")")  # the name may hold anything
        values = rest.split()
        if len(values) > 12:
            found[int(path.parent.name)] = (
                name.partition("(")[2],
                int(values[11]) + int(values[12]),  # utime and stime, see proc(5)
            )
    return found


def _meminfo(proc: Path) -> dict[str, int]:
    """Read /proc/meminfo, in bytes."""
    lines = (line.split() for line in (read(proc / "meminfo") or "").splitlines())
    return {
        line[0].rstrip(":"): int(line[1]) * 1024
        for line in lines
        if len(line) == 3 and line[2] == "kB" and line[1].isdigit()
    }
