"""The host processor: synchronous, its graphs compiled. The reference for all other backends."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from w2v_core.backends.base import (
    CAPTURE_TIMEOUT_S,
    Counters,
    DriverLogs,
    GraphSupport,
    Replay,
    Step,
)
from w2v_core.backends.compiled import compile_seconds, compile_step, graphs_compiled
from w2v_core.backends.cpu_compilers import host_compiler
from w2v_core.backends.processor import processor_class, processor_name
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
    frame_step = 1

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.device_name = processor_name()

    def check_dtype(self, dtype: Dtype) -> None:
        """Accept both dtypes."""

    def graph_support(self, dtype: Dtype) -> GraphSupport:
        """Name the compiler of the dtype, or say why there is none."""
        compiler = host_compiler(dtype)
        if isinstance(compiler, str):
            return GraphSupport(unsupported=compiler)
        return GraphSupport(
            by=compiler.name,
            is_quick=compiler.is_quick,
            copies_weights=compiler.copies_weights,
        )

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
        dtype: Dtype = "float32",
        timeout_s: float = CAPTURE_TIMEOUT_S,
    ) -> Replay:
        """Compile the step for the shape; blocks, for as long as the compiler takes.

        Raises:
            GraphError: there is no compiler for the dtype, or it failed.
        """
        del timeout_s  # a compiler is no queue: nothing of it can be lost
        compiler = host_compiler(dtype)
        if isinstance(compiler, str):
            text = f"graphs are on but {compiler}; {{use:graphs off}}"
            raise GraphError(text, field="graphs", value="on")
        return compile_step(
            step,
            waveforms,
            num_samples,
            compiler=compiler.of((waveforms, num_samples)),
            rest=self.synchronize,
        )

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
        """Read dynamo's: every graph that torch.compile compiled, again where it had to."""
        return Counters(compilations=graphs_compiled(), compile_s=compile_seconds())

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
            "cpu_class": processor_class(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "num_threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.is_available(),
        }


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
