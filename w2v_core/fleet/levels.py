"""What this process holds, counted where that can be: resident memory hides what fits in its holes.

A leak takes memory that is resident and free before the process grows, so the bytes that malloc has
given out (mallinfo(3)) and Python's own blocks are counted beside it.
"""

from __future__ import annotations

import ctypes
import gc
import sys

import psutil
import torch

from w2v_core.backends.base import Backend

_MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks")


class _Mallinfo2(ctypes.Structure):
    """glibc's, from 2.33 on."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (*_MALLINFO, "fordblks", "keepcost"))


def read_levels(backend: Backend, *, graphs: int) -> dict[str, int]:
    """Read all levels; garbage that waits to be collected is none of them.

    Args:
        backend: Tells its device's memory, where it has its own, and its compilations.
        graphs: Captured so far.
    """
    gc.collect()
    own = psutil.Process()
    memory = own.memory_info()
    pinned = {
        t.data_ptr(): t.untyped_storage().nbytes()
        for t in gc.get_objects()
        if type(t) is torch.Tensor and t.device.type == "cpu" and t.is_pinned()
    }
    levels = {
        "host_bytes": memory.rss - memory.shared,  # the mapped set comes and goes
        "python_blocks": sys.getallocatedblocks(),
        "pinned_bytes": sum(pinned.values()),
        "descriptors": own.num_fds(),
        "threads": own.num_threads(),
        "graphs": graphs,
        "compilations": backend.counters().compilations,
    }
    if (heap := _heap_bytes()) is not None:
        levels["heap_bytes"] = heap
    if not backend.is_host:
        levels["device_bytes"] = backend.peak_memory_bytes()
    return levels


def _heap_bytes() -> int | None:
    """Return what malloc has given out; None where the C library does not tell."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    mallinfo2.restype = _Mallinfo2
    told = mallinfo2()
    return int(told.uordblks + told.hblkhd)
