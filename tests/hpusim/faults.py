"""What can be made to go wrong on the simulated device."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Faults"]


@dataclass(slots=True)
class Faults:
    """What goes wrong; tests set the fields while the device runs."""

    fail_at: dict[str, tuple[int, Exception]] = field(default_factory=dict)
    """Op name -> (nth run, error): fails on the device, surfaces at a later wait."""
    failing_replays: dict[int, Exception] = field(default_factory=dict)
    """Number of the replay -> error in the launch thread, surfaces at the next join."""
    fallback_ops: set[str] = field(default_factory=set)
    lost_events: set[int] = field(default_factory=set)
    """Ordinals of event records that never complete."""
    slow_streams: dict[int, float] = field(default_factory=dict)
    """Stream id -> factor on the virtual seconds of its commands."""
    memory_limit_bytes: int | None = None
    recompile_replays: int = 0
    """So many of the next replays count a compilation, as after an eviction of their recipe."""
    device_lost: bool = False
