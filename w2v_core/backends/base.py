"""What a device must offer to the engine. Every backend passes ``tests/contract``.

One thread owns the device: only the thread that made the backend calls it. Workers see finished
host arrays. Work is enqueued in program order on one compute stream; copies to the host go through
a small pool of copy streams, each ordered after the compute stream by the backend itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

    from w2v_core.types import Dtype


Number = TypeVar("Number", int, float)

CAPTURE_TIMEOUT_S = 600.0  # a first run compiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Process-wide totals; the engine and the suite look at differences."""

    compilations: int = 0
    """Device graphs compiled (HPU recipes, inductor graphs)."""
    cpu_fallbacks: int = 0
    """Ops that the device handed to the host."""
    compile_s: float | None = None
    """Seconds that the device's compiler worked; None where the device does not tell it."""
    recipe_hits: int | None = None
    """Compiled recipes found in the device's cache; None as above."""
    recipe_misses: int | None = None
    """Recipes that were not found there; None as above."""

    def __sub__(self, earlier: Counters) -> Counters:
        """Return what happened since ``earlier``."""
        return Counters(
            compilations=self.compilations - earlier.compilations,
            cpu_fallbacks=self.cpu_fallbacks - earlier.cpu_fallbacks,
            compile_s=_difference(self.compile_s, earlier.compile_s),
            recipe_hits=_difference(self.recipe_hits, earlier.recipe_hits),
            recipe_misses=_difference(self.recipe_misses, earlier.recipe_misses),
        )


def _difference(now: Number | None, earlier: Number | None) -> Number | None:
    return None if now is None or earlier is None else now - earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSupport:
    """Whether steps of a dtype can be captured, and how."""

    unsupported: str | None = None
    """Why they cannot, and what to install; None where they can."""
    by: str = ""
    """What captures or compiles them, with its version where it is a package of its own."""
    is_quick: bool = True
    """Whether a small model's bucket costs a few seconds at most, or minutes."""
    copies_weights: bool = False
    """Whether a capture computes with copies of the weights that cannot be read."""

    @property
    def by_default(self) -> bool:
        """Whether the suite measures graphs unasked."""
        return self.unsupported is None and self.is_quick


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverLogs:
    """Where a device's driver leaves its word; read when the device was lost."""

    directory: Path | None = None
    kernel_words: tuple[str, ...] = ()
    """What the kernel's lines about this driver contain."""


class Event(Protocol):
    """A point in a stream; what waits for it is ``watchdog.wait``, with a deadline."""

    def query(self) -> bool:
        """Return whether the device has passed the point; never blocks."""
        ...


Step = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""Waveforms (B, S) float32 and num_samples (B,) int32, on the device -> ids (B, T) int32, on the
device. Static shapes, no host synchronisation."""

Replay = Step
"""A captured step. Its result is a static buffer that the next replay of the same capture
overwrites: copy it on the compute stream before that."""


class Backend(Protocol):
    """A device."""

    name: str
    """``cpu | cuda | hpu``."""
    device: torch.device
    device_name: str
    """The card's or processor's name; ``simulated`` on a simulated device."""
    asynchronous: bool
    """Whether work is still running when a call returns."""
    supports_float64: bool
    """Whether 64-bit floats compute on the device (group-norm statistics use them where so)."""
    is_host: bool
    """Whether steps run on the host: they may then read lengths and use oneDNN's packed weights."""
    default_plan: str
    """The plan kind that ``auto`` stands for on this device."""
    frame_step: int
    """Buckets have a multiple of this many frames, where the device's attention wants it."""

    def check_dtype(self, dtype: Dtype) -> None:
        """Raise DeviceError where the device cannot compute in ``dtype``."""
        ...

    def graph_support(self, dtype: Dtype) -> GraphSupport:
        """Say whether and how a step that computes in ``dtype`` is captured; acquires nothing."""
        ...

    def host_buffer(self, num_elements: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate a flat host tensor that asynchronous copies can use (pinned where that pays)."""
        ...

    def upload(self, source: torch.Tensor) -> torch.Tensor:
        """Enqueue an H2D copy before later compute; returns the tensor to compute on.

        Until the event of the slot's download has passed, ``source`` must not change and the
        result must be kept alive. The result is contiguous and no view, except on the host, where
        it is ``source`` itself.
        """
        ...

    def download(self, source: torch.Tensor, destination: torch.Tensor, *, lane: int) -> Event:
        """Enqueue a D2H copy after the compute enqueued so far and return its event.

        ``lane`` (the slot's number) picks the copy stream. Before the event has passed, ``source``
        must not be overwritten or freed, nor ``destination`` read.
        """
        ...

    def record(self) -> Event:
        """Record an event after the compute enqueued so far; what the host may wait for."""
        ...

    def capture(
        self,
        step: Step,
        waveforms: torch.Tensor,
        num_samples: torch.Tensor,
        *,
        dtype: Dtype = "float32",
        timeout_s: float = CAPTURE_TIMEOUT_S,
    ) -> Replay:
        """Capture ``step`` for the shapes of the given device tensors; blocks.

        ``dtype`` is what the step computes in: a compiler must not choose another.

        Raises:
            GraphError: where graphs are unsupported or the capture failed.
            DeviceLostError: the device did not end a run of the step within ``timeout_s``.
        """
        ...

    def compute(self) -> AbstractContextManager[None]:
        """Context in which steps, captures and replays are enqueued (inference mode, stream)."""
        ...

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast to bfloat16 on this device."""
        ...

    def mark_step(self) -> None:
        """Flush lazily recorded work to the device; nothing where execution is not lazy."""
        ...

    def synchronize(self) -> None:
        """Block until all enqueued work is done.

        It has no deadline: the product calls it through ``watchdog.settle`` only.
        """
        ...

    def driver_logs(self) -> DriverLogs:
        """Say where the driver's logs are; touches no device."""
        ...

    def counters(self) -> Counters:
        """Read the process-wide totals."""
        ...

    def reset_peak_memory(self) -> None:
        """Start a new peak-memory window."""
        ...

    def peak_memory_bytes(self) -> int:
        """Peak memory since the last reset: of the device's allocator, or of the process on cpu."""
        ...

    def fingerprint(self) -> Mapping[str, str | int | float | None]:
        """What identifies this device and its software, for the record."""
        ...
