"""Intel Gaudi: HPU graphs in lazy mode, torch.compile in eager mode, a small pool of copy streams.

Nothing here is specific to one release: what differs between them is probed. The facts relied on
are those of bridge 1.19 (HabanaAI/gaudi-pytorch-bridge).
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from w2v_core.backends.base import (
    CAPTURE_TIMEOUT_S,
    Counters,
    DriverLogs,
    Event,
    GraphSupport,
    Replay,
    Step,
)
from w2v_core.backends.hpu_copies import check_asynchronous, pin
from w2v_core.backends.hpu_environment import MODULE_IDS, effective_environment, torch_family
from w2v_core.backends.hpu_graphs import capture_compiled, capture_graph, named_arguments
from w2v_core.backends.hpu_probe import Bridge, load_bridge, probe_hpu
from w2v_core.backends.hpu_telemetry import acquired_fingerprint
from w2v_core.backends.watchdog import settle
from w2v_core.config import MAX_STREAMS
from w2v_core.errors import DeviceError, GraphError
from w2v_core.types import DTYPES, Dtype

_open: list[weakref.ref[HpuBackend]] = []


class HpuBackend:
    """Backend on the process's Gaudi card; only the thread that opened it may call it.
    The bridge keeps the current stream per thread in C++ but per process in Python, so that stream
    contexts in two threads restore the wrong one.
    """

    name = "hpu"
    asynchronous = True
    supports_float64 = False
    is_host = False
    default_plan = "optimal"
    frame_step = 1

    def __init__(self, bridge: Bridge) -> None:
        """Acquire the card.

        Raises:
            DeviceError: the driver does not hand the card, or enough streams, out.
        """
        self._bridge = bridge
        self._hpu = bridge.hpu
        try:
            self._hpu.current_device()
        except RuntimeError as error:
            raise DeviceError(
                f"the Gaudi card cannot be acquired ({error}); one process owns a card: choose a "
                f"free one with HABANA_VISIBLE_MODULES, which takes module ids, {MODULE_IDS}"
            ) from error
        self.device = torch.device("hpu")
        self.device_name = str(self._hpu.get_device_name())
        self._owner = threading.get_ident()
        self._compute = self._hpu.default_stream()
        self._copies = self._open_streams()

    def _open_streams(self) -> tuple[Any, ...]:
        """Open all copy streams now: the bridge never frees one, and aliases those past its 32."""
        try:
            return tuple(self._hpu.Stream() for _ in range(MAX_STREAMS))
        except RuntimeError as error:
            raise DeviceError(
                f"the card refused one of {MAX_STREAMS} copy streams ({error}); something else in "
                "this process holds its streams: open the backend once, in a process of its own"
            ) from error

    def graph_support(self, dtype: Dtype) -> GraphSupport:
        """Say whether the bridge has the mode's own way, for every dtype."""
        if self._bridge.is_lazy and not hasattr(self._hpu, "wrap_in_hpu_graph"):
            return GraphSupport(unsupported="this bridge has no wrap_in_hpu_graph in lazy mode")
        return GraphSupport(by="HPU graphs" if self._bridge.is_lazy else "torch.compile")

    @property
    def execution(self) -> str:
        """``lazy`` or ``eager``; fixed when the bridge was imported."""
        return "lazy" if self._bridge.is_lazy else "eager"

    def close(self) -> None:
        """Let this process open the card anew."""
        _open[:] = [found for found in _open if found() not in (None, self)]

    def check_dtype(self, dtype: Dtype) -> None:
        """Refuse what the card cannot compute.

        Raises:
            DeviceError: float16, with the reason.
        """
        if dtype not in DTYPES:
            raise DeviceError(
                f"dtype {dtype} is refused on {self.device_name}: Gaudi's group norm takes "
                "bfloat16 and float32 only; use bfloat16"
            )

    def host_buffer(self, num_elements: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate pinned memory; only a pinned destination makes a D2H copy asynchronous.

        Raises:
            DeviceError: the memory cannot be pinned.
        """
        plain = torch.zeros(num_elements, dtype=dtype)
        if (pinned := pin(plain)) is None:
            raise DeviceError(
                f"{num_elements * plain.element_size()} bytes of host memory cannot be pinned; "
                "raise the locked-memory limit (ulimit -l)"
            )
        return pinned

    def upload(self, source: torch.Tensor) -> torch.Tensor:
        """Enqueue the H2D copy on the compute stream; returns before it is done.

        Into a fresh tensor: in lazy mode a copy into a view is lowered to a fresh tensor and an
        insert, a recipe more, and a view has another graph key than the capture's own inputs; a
        copy into a tensor that a queued replay still reads waits for the launch thread.
        """
        self._check_thread()
        return source.to(self.device, non_blocking=True)

    def download(self, source: torch.Tensor, destination: torch.Tensor, *, lane: int) -> Event:
        """Enqueue the D2H copy on the lane's stream, after the compute enqueued so far.

        Raises:
            DeviceError: the copy could not be asynchronous: a cast, int64, a destination that is
                not contiguous or starts inside its pinned block, or the wrong thread.
        """
        self._check_thread()
        check_asynchronous(source, destination)
        stream = self._copies[lane % MAX_STREAMS]
        # Before entering the context: off its current stream, lazy mode records an event at once,
        # possibly ahead of the compute that is still to be launched.
        stream.wait_stream(self._compute)
        recorded = self._hpu.Event()
        with self._hpu.stream(stream):
            destination.copy_(source, non_blocking=True)
            recorded.record(stream)  # inside the context, for the same reason
        event: Event = recorded
        return event

    def record(self) -> Event:
        """Record an event on the compute stream; in lazy mode this flushes what is pending."""
        self._check_thread()
        recorded = self._hpu.Event()
        recorded.record(self._compute)
        event: Event = recorded
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
        """Capture ``step`` in the mode's own way: an HPU graph (lazy) or torch.compile (eager).

        HPU graphs are never used in eager mode: there they record nothing, and every later call
        returns the first call's ids.

        Raises:
            GraphError: the capture failed; the capture state of the device is cleaned up.
            DeviceLostError: the device did not come to rest in time.
        """
        self._check_thread()
        if (reason := self.graph_support(dtype).unsupported) is not None:
            text = f"graphs are on but {reason}; {{use:graphs off}}"
            raise GraphError(text, field="graphs", value="on")
        rest = partial(settle, self, timeout_s=timeout_s)
        if self._bridge.is_lazy:
            return capture_graph(self._hpu, step, waveforms, num_samples, rest=rest)
        return capture_compiled(step, waveforms, num_samples, rest=rest)

    @contextlib.contextmanager
    def compute(self) -> Iterator[None]:
        """Enter inference mode; work goes to the default stream, which captures use as well."""
        self._check_thread()
        with torch.inference_mode():
            yield

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast to bfloat16."""
        return torch.autocast("hpu", dtype=torch.bfloat16)

    def mark_step(self) -> None:
        """Flush the lazy segment; eager mode has none."""
        if self._bridge.is_lazy:
            self._bridge.mark_step()

    def synchronize(self) -> None:
        """Block until the device is idle; mark_step would wait for the host's launches only."""
        self._check_thread()
        self._hpu.synchronize()

    def driver_logs(self) -> DriverLogs:
        """Name ``$HABANA_LOGS`` and the driver in the kernel's log."""
        directory = Path(os.environ.get("HABANA_LOGS", "/var/log/habana_logs"))
        return DriverLogs(directory=directory, kernel_words=("habanalabs",))

    def counters(self) -> Counters:
        """Read the bridge's metrics.

        ``graph_compilation`` counts each synGraphCompile; recipes from the disk cache and eager
        single ops are not in it.

        Raises:
            DeviceError: the bridge has no such metric, so that steady state cannot be shown.
        """
        time_us = self.metric("graph_compilation").get("TotalTime")
        recipes = self.metric("recipe_cache")  # empty without PT_HPU_ENABLE_CACHE_METRICS
        return Counters(
            compilations=self._total("graph_compilation"),
            cpu_fallbacks=self._total("cpu_fallback"),
            compile_s=None if time_us is None else float(time_us) / 1e6,
            recipe_hits=recipes.get("RecipeHit"),
            recipe_misses=recipes.get("RecipeMiss"),
        )

    def _total(self, name: str) -> int:
        metric = self.metric(name)
        if "TotalNumber" not in metric:
            raise DeviceError(
                f"this bridge has no metric {name!r}, so that a run without any cannot be shown; "
                "use a SynapseAI release whose habana_frameworks.torch.hpu.metrics has it"
            )
        return int(metric["TotalNumber"])

    def metric(self, name: str) -> dict[str, Any]:
        """Read ``graph_compilation | cpu_fallback | recipe_cache ...``; empty where unknown."""
        metric = self._bridge.metric_global(name)
        return {} if metric is None else dict(metric.stats())

    def reset_peak_memory(self) -> None:
        """Reset the allocator's peak."""
        self._hpu.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int:
        """Peak of the device's allocator."""
        return int(self._hpu.max_memory_allocated())

    def fingerprint(self) -> Mapping[str, str | int | float | None]:
        """Name card, driver, firmware, SynapseAI build, execution mode and the flags in force."""
        return {
            "card": self.device_name,
            "driver": str(self._hpu.get_device_capability()),  # despite its name, the driver
            "execution": self.execution,
            "torch_family": torch_family(),
            "hpu_graph_arguments": named_arguments(self._hpu),
            **acquired_fingerprint(),
            **effective_environment(),
        }

    def _check_thread(self) -> None:
        if threading.get_ident() != self._owner:
            raise DeviceError(
                "the HPU backend was called from a thread that did not open it; one thread owns "
                "the device, workers see finished host arrays only"
            )


def unavailable() -> str | None:
    """Say what is missing and what to install; None where a card is there. Acquires nothing."""
    finding = probe_hpu()
    return None if finding.ok else str(finding)


def open_backend() -> HpuBackend:
    """Open the process's card.

    Raises:
        DeviceError: something is missing, or this process has opened the card already.
    """
    if any(found() is not None for found in _open):
        raise DeviceError(
            "this process has opened the Gaudi card already; share the backend, or close() it"
        )
    if (reason := unavailable()) is not None:
        raise DeviceError(f"device hpu is missing: {reason}")
    backend = HpuBackend(load_bridge())
    _open[:] = [weakref.ref(backend)]
    return backend
