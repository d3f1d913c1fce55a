"""The simulated ``torch.hpu``: the names of ``habana_frameworks.torch.hpu``, release 1.19."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from tests.hpusim.runtime import ACTIVE
from tests.hpusim.streams import CoreEvent, StreamState

__all__ = ["Event", "Stream", "current_stream", "default_stream", "set_stream", "stream"]

_GRAPH_NAMES = ("HPUGraph", "ModuleCacher", "graph", "make_graphed_callables", "wrap_in_hpu_graph")
DEVICE_TYPE = 6  # c10::DeviceType::HPU
_cached_stream: list[Stream | None] = [None]
"""1.19 keeps the lazy current stream in one module global, for all threads."""


def __getattr__(name: str) -> Any:
    """Offer the graph names in lazy mode only, as the bridge's star import does."""
    if name in _GRAPH_NAMES and is_lazy():
        from tests.hpusim import hpu_graphs

        return getattr(hpu_graphs, name)
    raise AttributeError(f"module 'habana_frameworks.torch.hpu' has no attribute {name!r}")


def is_lazy() -> bool:
    """Return what PT_HPU_LAZY_MODE was at import."""
    return ACTIVE.rt.config.lazy


def _lazy_init() -> None: ...


init = _lazy_init


def is_initialized() -> bool:
    return True


def is_available() -> bool:
    return not ACTIVE.rt.faults.device_lost


def device_count() -> int:
    return 1


def current_device() -> int:
    """Acquire the card."""
    ACTIVE.rt.check_alive()
    return 0


def set_device(_device: Any) -> None: ...


class device(contextlib.nullcontext[None]):  # noqa: N801 - the bridge's name
    def __init__(self, _device: Any = None) -> None:
        super().__init__()


def get_device_name(_device: Any = None) -> str:
    if not is_available():
        warnings.warn("Device not available", stacklevel=2)
        return ""
    return ACTIVE.rt.config.device_name


def get_device_capability(_device: Any = None) -> str:
    """Return, despite the name, the driver's version."""
    return ACTIVE.rt.config.driver_version


def is_bf16_supported() -> bool:
    return True


def _is_in_bad_fork() -> bool:
    return False


def manual_seed(_seed: int) -> None: ...


def manual_seed_all(_seed: int) -> None: ...


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.bfloat16, torch.float16, torch.float32]


def is_autocast_hpu_enabled() -> bool:
    return torch.is_autocast_enabled("hpu")


class Stream:
    """A user stream; both arguments are ignored, as by the bridge."""

    def __init__(
        self,
        device: Any = None,
        priority: int = 0,
        *,
        state: StreamState | None = None,
        stream_id: int | None = None,
        device_index: int = 0,
        device_type: int = 0,
    ) -> None:
        """Make a stream, or with the ids of an existing one its handle."""
        del device_index, device_type  # a process has one device
        if stream_id is not None:
            state = ACTIVE.rt.streams[stream_id]
        self._state = state or ACTIVE.rt.new_stream()
        self.priority = priority

    @property
    def device_index(self) -> int:
        return 0

    @property
    def stream_id(self) -> int:
        return self._state.sid

    @property
    def device(self) -> torch.device:
        return torch.device("hpu", 0)

    def id(self) -> int:
        return self._state.sid

    def query(self) -> bool:
        return self._state.query()

    def synchronize(self) -> None:
        self._state.synchronize()

    def wait_event(self, event: Event) -> None:
        event.wait(self)

    def wait_stream(self, other: Stream) -> None:
        self.wait_event(other.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other._state is self._state

    def __hash__(self) -> int:
        return hash(self._state.sid)


class Event:
    """A point in a stream; never recorded, it counts as passed."""

    def __init__(self, enable_timing: bool = False) -> None:
        self._core = CoreEvent(ACTIVE.rt, enable_timing=enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        self._core.record((stream or current_stream())._state)

    def wait(self, stream: Stream | None = None) -> None:
        self._core.wait((stream or current_stream())._state)

    def query(self) -> bool:
        return self._core.query()

    def synchronize(self) -> None:
        self._core.synchronize()

    def elapsed_time(self, end: Event) -> float:
        """Return milliseconds."""
        return self._core.elapsed_ms(end._core)


def current_stream(_device: Any = None) -> Stream:
    cached = _cached_stream[0]
    if is_lazy() and cached is not None and cached._state.rt is ACTIVE.rt:
        return cached
    return Stream(state=ACTIVE.rt.current)


def default_stream(_device: Any = None) -> Stream:
    return Stream(state=ACTIVE.rt.streams[0])


def set_stream(stream: Stream | None) -> None:
    """Set the calling thread's stream, and in lazy mode the cached one of all threads.

    In lazy mode nothing happens where the cached stream is that one, whatever the thread's is.
    """
    if stream is None:
        return
    if is_lazy():
        cached = _cached_stream[0]
        if cached is not None and cached._state is stream._state:
            return
        _cached_stream[0] = stream
    ACTIVE.rt.set_current(stream.stream_id)


@contextlib.contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    if stream is None:
        yield
        return
    previous = current_stream()
    set_stream(stream)
    try:
        yield
    finally:
        set_stream(previous)


def get_stream_info(stream: Stream) -> tuple[int, int, int]:
    """Return the ids that ``Stream`` takes as keywords: stream, device index, device type."""
    return stream.stream_id, stream.device_index, DEVICE_TYPE


def synchronize() -> None:
    ACTIVE.rt.synchronize()


def memory_stats(_device: Any = None) -> dict[str, int]:
    rt = ACTIVE.rt
    return {
        "Limit": rt.config.memory_limit_bytes,
        "InUse": rt.in_use_bytes,
        "MaxInUse": rt.peak_bytes,
        "NumAllocs": rt.stats["allocs"],
        "NumFrees": rt.stats["frees"],
        "ActiveAllocs": rt.stats["allocs"] - rt.stats["frees"],
    }


def memory_allocated(_device: Any = None) -> int:
    return ACTIVE.rt.in_use_bytes


def max_memory_allocated(_device: Any = None) -> int:
    return ACTIVE.rt.peak_bytes


def reset_peak_memory_stats(_device: Any = None) -> None:
    ACTIVE.rt.peak_bytes = ACTIVE.rt.in_use_bytes


def mem_get_info(_device: Any = None) -> tuple[int, int]:
    rt = ACTIVE.rt
    return rt.config.memory_limit_bytes - rt.in_use_bytes, rt.config.memory_limit_bytes
