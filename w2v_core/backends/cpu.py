"""The host processor: synchronous, no graphs. The reference for every other backend."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from w2v_core.backends.base import CAPTURE_TIMEOUT_S, Counters, DriverLogs, Replay, Step
from w2v_core.errors import GraphError
from w2v_core.types import Dtype


class _Done:
    """The event of a copy that has already finished."""

    def query(self) -> bool:
        """Return True: host copies are synchronous."""
        return True


class CpuBackend:
    """Backend on the host processor; every call returns when its work is done."""

    name = "cpu"
    asynchronous = False
    supports_float64 = True
    is_host = True
    default_plan = "sorted"
    graphs_unsupported: str | None = "the cpu backend has no graph capture"

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.device_name = processor_name()

    def check_dtype(self, dtype: Dtype) -> None:
        """Accept both dtypes."""

    def host_buffer(self, num_elements: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate pageable memory; nothing is copied asynchronously here."""
        return torch.empty(num_elements, dtype=dtype)

    def upload(self, source: torch.Tensor) -> torch.Tensor:
        """Return the source: it is where it is computed on."""
        return source

    def download(self, source: torch.Tensor, destination: torch.Tensor, *, lane: int) -> _Done:
        """Copy; blocks."""
        destination.copy_(source)
        return _Done()

    def record(self) -> _Done:
        """Return an event that has passed."""
        return _Done()

    def capture(
        self,
        step: Step,
        waveforms: torch.Tensor,
        num_samples: torch.Tensor,
        *,
        timeout_s: float = CAPTURE_TIMEOUT_S,
    ) -> Replay:
        """Refuse.

        Raises:
            GraphError: always.
        """
        raise GraphError(f"{self.graphs_unsupported}; {{use:graphs off}}")

    @contextmanager
    def compute(self) -> Iterator[None]:
        """Enter inference mode."""
        with torch.inference_mode():
            yield

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast to bfloat16."""
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def mark_step(self) -> None:
        """Do nothing: execution is not lazy."""

    def synchronize(self) -> None:
        """Do nothing: no work is ever pending."""

    def driver_logs(self) -> DriverLogs:
        """Return none: a processor has no driver."""
        return DriverLogs()

    def counters(self) -> Counters:
        """Return zeros: nothing is compiled and nothing falls back."""
        return Counters()

    def reset_peak_memory(self) -> None:
        """Reset the kernel's high-water mark of this process, where it lets us."""
        try:
            Path("/proc/self/clear_refs").write_text("5")  # 5 resets VmHWM, proc(5)
        except OSError:
            return

    def peak_memory_bytes(self) -> int:
        """Peak resident memory of the process (VmHWM); 0 where the system does not tell."""
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return 0
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def fingerprint(self) -> Mapping[str, str | int | float | None]:
        """Name the processor, its instruction sets and the thread count."""
        return {
            "processor": self.device_name,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "num_threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.is_available(),
        }


def processor_name() -> str:
    """Return the processor's model name, or its architecture where the system hides it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} x{os.cpu_count()}"
    except OSError:
        pass
    return f"{platform.machine()} x{os.cpu_count()}"


def why_bfloat16_is_emulated() -> str | None:
    """Say that the processor has no bfloat16 arithmetic, or is held back; None where it has.

    It has with AVX512-BF16 or AMX, on Arm with its bf16 extension.
    """
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return None  # the system does not tell
    has_it = bool(flags & {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
    held = [n for n in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA") if os.environ.get(n)]
    is_wide = platform.machine() not in ("x86_64", "AMD64") or not held
    if has_it and is_wide:
        return None
    why = "the processor has neither AVX512-BF16 nor AMX"
    if has_it:
        why = f"{' and '.join(f'{n}={os.environ[n]}' for n in held)} may hold its instructions back"
    return f"bfloat16 is emulated: {why}; its speed says nothing about bfloat16"


def unavailable() -> str | None:
    """Return None: the host processor is always there."""
    return None


def open_backend() -> CpuBackend:
    """Open the host processor; tunes the process's malloc where it is glibc's."""
    keep_freed_memory()
    return CpuBackend()


def keep_freed_memory() -> bool:
    """Let glibc reuse freed activations instead of returning them to the kernel at once.

    Activations of tens of megabytes are mapped, faulted in and unmapped for every layer otherwise,
    which costs 10-20 % of a forward. Options and their meaning: mallopt(3).

    Returns:
        Whether all options were taken; False where the C library is not glibc.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    values = {mmap_max: 0, trim_threshold: 2**31 - 1, top_pad: 2**26}
    return all(mallopt(option, value) == 1 for option, value in values.items())
