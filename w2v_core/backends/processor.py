"""The host's processor: its name, its class, and whether it computes bfloat16. No torch here."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CLASSES = ("AVX2", "AVX512", "AVX512-BF16", "AMX")
"""Least first. Kernels are chosen by the class and never by timing, so that transcripts do not
depend on the load."""
_FLAGS = dict(zip(("avx2", "avx512f", "avx512_bf16", "amx_bf16"), CLASSES, strict=True))
_HELD_BY_ONEDNN = (  # prefixes of ONEDNN_MAX_CPU_ISA, oneDNN's documentation, "CPU dispatcher"
    ("AVX512_CORE_AMX", "AMX"),
    ("AVX10", "AMX"),
    ("AVX512_CORE_BF16", "AVX512-BF16"),
    ("AVX512_CORE_FP16", "AVX512-BF16"),
    ("AVX512", "AVX512"),
    ("AVX", "AVX2"),
    ("SSE", "AVX2"),
)
_HOLDING = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")


def processor_name() -> str:
    """Return the processor's model name, or its architecture where the system hides it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} x{os.cpu_count()}"
    except OSError:
        pass
    return f"{platform.machine()} x{os.cpu_count()}"


def processor_class() -> str:
    """Return the best of ``CLASSES`` that may be used; else the architecture, as ``aarch64``.

    ``ATEN_CPU_CAPABILITY`` and ``ONEDNN_MAX_CPU_ISA`` hold a processor back.
    """
    found = [name for flag, name in _FLAGS.items() if flag in _flags()]
    if not found:
        return platform.machine()
    limits = [CLASSES.index(found[-1])]
    if os.environ.get("ATEN_CPU_CAPABILITY", "").lower() in ("default", "avx2"):
        limits.append(CLASSES.index("AVX2"))
    if (held := held_by_onednn()) is not None:
        limits.append(CLASSES.index(held))
    return CLASSES[min(limits)]


def held_by_onednn() -> str | None:
    """Return the class that ``ONEDNN_MAX_CPU_ISA`` allows oneDNN at most; None where it is unset.

    oneDNN's answers about the processor do not tell it.
    """
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return next((name for prefix, name in _HELD_BY_ONEDNN if isa.startswith(prefix)), None)


def why_bfloat16_is_emulated() -> str | None:
    """Say that the processor has no bfloat16 arithmetic, or is held back; None where it has.

    It has with AVX512-BF16 or AMX, on Arm with its bf16 extension.
    """
    if not (flags := _flags()):
        return None  # the system does not tell
    has_it = bool(flags & {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
    held = [n for n in _HOLDING if os.environ.get(n)]
    is_wide = platform.machine() not in ("x86_64", "AMD64") or not held
    if has_it and is_wide:
        return None
    why = "the processor has neither AVX512-BF16 nor AMX"
    if has_it:
        why = f"{' and '.join(f'{n}={os.environ[n]}' for n in held)} may hold its instructions back"
    return f"bfloat16 is emulated: {why}; its speed says nothing about bfloat16"


def _flags() -> set[str]:
    """Return what the system says that the processor has; empty where it does not tell."""
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()
