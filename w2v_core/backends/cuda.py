"""An NVIDIA GPU: pinned slots, a pool of copy streams, CUDA graphs in one shared memory pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from w2v_core.backends.base import (
    CAPTURE_TIMEOUT_S,
    Counters,
    DriverLogs,
    GraphSupport,
    Replay,
    Step,
)
from w2v_core.backends.watchdog import settle
from w2v_core.config import MAX_STREAMS
from w2v_core.errors import DeviceError, GraphError
from w2v_core.types import Dtype


class CudaBackend:
    """Backend on the current CUDA device."""

    name = "cuda"
    asynchronous = True
    supports_float64 = True
    is_host = False
    default_plan = "optimal"
    frame_step = 8  # an H200 attends over 369 frames in 0.14 ms and over 376 in 0.08

    def __init__(self) -> None:
        # A float32 cell computes in float32: cuDNN's convolutions would round to TF32 by default.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.device_name = torch.cuda.get_device_name(self.device)
        self._compute = torch.cuda.Stream(self.device)
        self._copies: dict[int, torch.cuda.Stream] = {}
        self._pool: Any = None

    def check_dtype(self, dtype: Dtype) -> None:
        """Refuse bfloat16 where the card has none.

        Raises:
            DeviceError: naming the card.
        """
        if dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
            text = f"{self.device_name} has no bfloat16; {{use:dtype float32}}"
            raise DeviceError(text, field="dtype", value="bfloat16")

    def graph_support(self, dtype: Dtype) -> GraphSupport:
        """Return that CUDA graphs are there for every dtype."""
        del dtype
        return GraphSupport(by="CUDA graphs")

    def host_buffer(self, num_elements: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate pinned memory."""
        return torch.zeros(num_elements, dtype=dtype).pin_memory()

    def upload(self, source: torch.Tensor) -> torch.Tensor:
        """Enqueue the H2D copy on the compute stream; returns before it is done.

        The caching allocator hands the same blocks out again, so that nothing grows.
        """
        return source.to(self.device, non_blocking=True)

    def download(
        self, source: torch.Tensor, destination: torch.Tensor, *, lane: int
    ) -> torch.cuda.Event:
        """Enqueue the D2H copy on the lane's stream, after the compute enqueued so far."""
        key = lane % MAX_STREAMS
        if key not in self._copies:
            self._copies[key] = torch.cuda.Stream(self.device)
        stream = self._copies[key]
        stream.wait_stream(self._compute)
        event = torch.cuda.Event()
        with torch.cuda.stream(stream):
            destination.copy_(source, non_blocking=True)
            event.record(stream)
        return event

    def record(self) -> torch.cuda.Event:
        """Record an event on the compute stream."""
        event = torch.cuda.Event()
        event.record(self._compute)
        return event

    def capture(
        self,
        step: Step,
        waveforms: torch.Tensor,
        num_samples: torch.Tensor,
        *,
        dtype: Dtype = "float32",
        timeout_s: float = CAPTURE_TIMEOUT_S,
    ) -> Replay:
        """Capture a CUDA graph over static inputs; graphs share one memory pool.

        Raises:
            GraphError: the step cannot be captured.
            DeviceLostError: the device did not end the runs before the capture in time.
        """
        del dtype  # captured as it is
        static_waveforms = waveforms.clone()
        static_num_samples = num_samples.clone()
        try:
            for _ in range(3):  # libraries choose and allocate outside the capture
                step(static_waveforms, static_num_samples)
            settle(self, timeout_s=timeout_s)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._compute):
                ids = step(static_waveforms, static_num_samples)
        except RuntimeError as error:
            raise GraphError(f"capture of {tuple(waveforms.shape)} failed: {error}") from error
        self._pool = self._pool or graph.pool()

        def replay(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
            static_waveforms.copy_(waveforms)
            static_num_samples.copy_(num_samples)
            graph.replay()
            return ids

        return replay

    @contextmanager
    def compute(self) -> Iterator[None]:
        """Enter inference mode on the compute stream."""
        with torch.inference_mode(), torch.cuda.stream(self._compute):
            yield

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast to bfloat16."""
        return torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False)

    def mark_step(self) -> None:
        """Do nothing: execution is not lazy."""

    def synchronize(self) -> None:
        """Block until the device is idle."""
        torch.cuda.synchronize(self.device)

    def driver_logs(self) -> DriverLogs:
        """Name the driver in the kernel's log; Xid errors are in its lines."""
        return DriverLogs(kernel_words=("NVRM", "nvidia"))

    def counters(self) -> Counters:
        """Return zeros: nothing is compiled lazily and nothing falls back to the host."""
        return Counters()

    def reset_peak_memory(self) -> None:
        """Reset the allocator's peak."""
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory_bytes(self) -> int:
        """Peak of the caching allocator."""
        return int(torch.cuda.max_memory_allocated(self.device))

    def fingerprint(self) -> Mapping[str, str | int | float | None]:
        """Name the card and the CUDA versions."""
        properties = torch.cuda.get_device_properties(self.device)
        return {
            "card": properties.name,
            "card_uuid": f"GPU-{properties.uuid}" if hasattr(properties, "uuid") else None,
            "card_memory_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
        }


def unavailable() -> str | None:
    """Say why there is no CUDA device; None where there is one."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install a CUDA build of torch"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device; check the driver with nvidia-smi"
    return None


def open_backend() -> CudaBackend:
    """Open the current CUDA device.

    Raises:
        DeviceError: there is none.
    """
    reason = unavailable()
    if reason is not None:
        raise DeviceError(f"device cuda is missing: {reason}")
    return CudaBackend()
