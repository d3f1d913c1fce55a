"""What a simulated Gaudi is told, and the errors that are its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CaptureError",
    "Config",
    "DeviceLostError",
    "HazardError",
    "HostCost",
    "Latency",
    "OutOfMemoryError",
    "SimError",
    "from_environment",
]

Latency = Callable[[str, int], float]
"""(op name, output bytes) -> virtual seconds on the device."""
HostCost = Callable[[str], float]
"""(call: ``op | replay | copy | event``) -> virtual seconds that the calling thread spends."""


class SimError(RuntimeError):
    """A limit or rule of the device was broken."""


class HazardError(SimError):
    """Two accesses to one buffer are not ordered by any synchronisation."""


class CaptureError(SimError):
    """Something that a graph capture does not permit."""


class OutOfMemoryError(SimError):
    """Device or pinned memory is exhausted."""


class DeviceLostError(SimError):
    """The driver does not answer any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One device. The defaults are the strictest reading of the 1.19 bridge."""

    execution: Literal["deferred", "threads", "eager"] = "deferred"
    """``deferred`` runs nothing before it is waited for, ``threads`` has a worker per stream,
    ``eager`` runs at once (a synchronous mock, which finds no missing synchronisation)."""
    lazy: bool = True
    """PT_HPU_LAZY_MODE=1: work is launched at joins only, and HPU graphs exist."""
    hazards: Literal["raise", "record", "off"] = "raise"
    poison: bool = True
    """Fill uninitialised device memory and host buffers in flight with NaN or the smallest int."""
    device_name: str = "simulated"
    driver_version: str = "1.19.0-simulated"
    stream_limit: int = 32
    """Physical user streams (bridge 1.19, device.cpp GENERIC_STREAM_LIMIT)."""
    stream_overflow: Literal["raise", "alias"] = "raise"
    """``alias`` is what the bridge does: stream ids from the limit on share a physical stream."""
    memory_limit_bytes: int = 96 << 30
    pinned_limit_bytes: int = 8 << 30
    compile_s: float = 0.0
    """Virtual seconds that a compilation blocks the calling thread."""
    latency: Latency | None = None
    replay_s: float | None = None
    """Virtual seconds of one graph replay, where not the sum of its ops."""
    host_cost: HostCost | None = None
    poll_s: float = 1e-5
    """Virtual seconds that a query() which returns False takes; polling makes time pass."""
    pageable_delay_s: float = 1e-3
    """How long after its stream has finished a pageable D2H copy reaches the host tensor."""
    capture_host_sync: Literal["raise", "bake"] = "raise"
    """``bake`` is what the bridge does with .item() in a capture: the value is frozen, silently."""
    int64: bool = False
    """PT_ENABLE_INT64_SUPPORT; where off, D2H of int64 goes through a blocking intermediate."""
    float64: bool = False
    """Whether float64 ops run on the device; Gaudi hands them to the host."""
    place_on_cpu: str = ""
    """PT_HPU_PLACE_ON_CPU; ``none`` turns every CPU fallback into an error."""
    disable_tensor_cache: bool | None = None
    """PT_HPUGRAPH_DISABLE_TENSOR_CACHE; overrides the keyword where set."""
    cache_metrics: bool = False
    """PT_HPU_ENABLE_CACHE_METRICS; without it there is no recipe_cache metric."""
    forbidden_ops: frozenset[str] = frozenset()
    fallback_ops: frozenset[str] = frozenset()


def from_environment(environ: Mapping[str, str]) -> Config:
    """Read the flags that the bridge reads once, at import."""
    disable = environ.get("PT_HPUGRAPH_DISABLE_TENSOR_CACHE")
    return Config(
        lazy=environ.get("PT_HPU_LAZY_MODE", "1") == "1",
        int64=environ.get("PT_ENABLE_INT64_SUPPORT", "0") in ("1", "true"),
        place_on_cpu=environ.get("PT_HPU_PLACE_ON_CPU", ""),
        cache_metrics=environ.get("PT_HPU_ENABLE_CACHE_METRICS", "0") == "1",
        disable_tensor_cache=None if disable is None else disable == "1",
    )
