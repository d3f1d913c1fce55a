"""A fixed ring of slots: memory, streams and pinned buffers are bounded whatever the corpus is.

A slot owns its host buffers for ever and its device tensors while its batch is in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from w2v_core.backends.base import Backend, Event
from w2v_core.backends.watchdog import settle, wait, write_stacks
from w2v_core.engine.ctc import Ids
from w2v_core.errors import BucketOverflowError, DeviceLostError
from w2v_core.types import SAMPLE_RATE_HZ, Batch, Bucket

DRAIN_ATTEMPTS = (
    8  # an error that a barrier surfaces is gone by the next one, unless it is for good
)

_kept: list[Slot] = []
"""Slots of lost devices: a queued command may still read or write what they hold."""


class Slot:
    """One batch in flight: host and device input, device and host ids, and an event.

    Host buffers are flat and sized for the largest bucket; a bucket uses their beginning, because
    a pinned buffer is recognised by its exact base address on Gaudi (bridge 1.19,
    host_memory.cpp). Device tensors are a batch's own, of the bucket's shape: a view of a larger
    buffer would be a recipe more, and another graph key, in Gaudi's lazy mode.
    """

    def __init__(self, backend: Backend, *, index: int, buckets: tuple[Bucket, ...]) -> None:
        samples = max(b.batch_size * b.num_samples for b in buckets)
        frames = max(b.batch_size * b.num_frames for b in buckets)
        rows = max(b.batch_size for b in buckets)
        self.index = index
        self._backend = backend
        self._host_waveforms = backend.host_buffer(samples, torch.float32)
        self._host_num_samples = backend.host_buffer(rows, torch.int32)
        self._host_ids = backend.host_buffer(frames, torch.int32)
        self._device: tuple[torch.Tensor, ...] = ()
        """What copies in flight read or write on the device; freed when the event has passed."""
        self.batch: Batch | None = None
        self.event: Event | None = None
        self.started_s = 0.0
        self.run = 0
        """The number of the step's run that this batch was."""

    def upload(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the batch into the host buffers, zero-padded, and enqueue the H2D copies.

        Waveforms are scaled on the way, see ``Utterance.scaling``.

        Returns:
            Waveforms (B, S) float32 and num_samples (B,) int32 on the device; padding rows have
            ``num_samples`` 0.

        Raises:
            BucketOverflowError: the batch has more rows, or an utterance more samples, than fit.
        """
        bucket = batch.bucket
        shape = (bucket.batch_size, bucket.num_samples)
        size = shape[0] * shape[1]
        _check_fits(batch)
        waveforms = self._host_waveforms[:size].view(shape)
        counts = self._host_num_samples[: shape[0]]
        rows = waveforms.numpy()
        lengths = counts.numpy()
        lengths[:] = 0
        for row, utterance in enumerate(batch.utterances):
            utterance.write_to(rows[row])
            lengths[row] = utterance.num_samples
        rows[len(batch.utterances) :] = 0.0
        uploaded = self._backend.upload(waveforms), self._backend.upload(counts)
        self._device = uploaded
        self.batch = batch
        return uploaded

    def download(self, ids: torch.Tensor) -> None:
        """Keep the step's ids and enqueue their D2H copy; sets the slot's event.

        The device copy comes first: a replay's output is a static buffer that the next replay of
        the same bucket overwrites.
        """
        kept = ids.clone()
        self._device += (kept,)
        host = self._host_ids[: ids.numel()].view(ids.shape)
        self.event = self._backend.download(kept, host, lane=self.index)

    def finish(self, *, timeout_s: float) -> Ids:
        """Wait for the event; returns a copy of the ids (B, T) int32. Blocks.

        Args:
            timeout_s: How long the batch may take beyond the length of its padded audio: no device
                worth measuring is slower than speech.

        Raises:
            DeviceLostError: the event has not passed by then.
        """
        batch, event = self.batch, self.event
        if batch is None or event is None:
            raise BucketOverflowError(f"slot {self.index} holds no batch")
        bucket = batch.bucket
        shape = (bucket.batch_size, bucket.num_frames)
        timeout_s += bucket.batch_size * bucket.num_samples / SAMPLE_RATE_HZ
        if not wait(event, timeout_s=timeout_s):
            raise DeviceLostError(
                f"the event of {self} has not passed within {timeout_s:.3g} s; the device or its "
                "driver has stopped: look at its logs, and start again in a new process",
                stacks=write_stacks(),
            )
        ids = self._host_ids[: shape[0] * shape[1]].view(shape).numpy()
        return np.array(ids, dtype=np.int32).reshape(shape)

    def clear(self) -> None:
        """Forget the batch and free its device tensors; the event must have passed."""
        self._device = ()
        self.batch = None
        self.event = None

    def __str__(self) -> str:
        """Name the slot, its lane and the run that it holds."""
        bucket = "no bucket"
        if self.batch is not None:
            bucket = f"bucket {self.batch.bucket.batch_size} x {self.batch.bucket.num_samples}"
        return f"slot {self.index} (copy lane {self.index}, run {self.run}, {bucket} samples)"

    @property
    def host_bytes(self) -> int:
        """Bytes of this slot's host buffers."""
        buffers = (self._host_waveforms, self._host_num_samples, self._host_ids)
        return sum(b.numel() * b.element_size() for b in buffers)


class SlotRing:
    """Hands out free slots and keeps those in flight in order."""

    def __init__(self, backend: Backend, *, num_slots: int, buckets: tuple[Bucket, ...]) -> None:
        self._backend = backend
        self._slots = [Slot(backend, index=i, buckets=buckets) for i in range(num_slots)]
        self.free: deque[Slot] = deque(self._slots)
        self.in_flight: deque[Slot] = deque()
        self.lost: DeviceLostError | None = None
        """Why the device cannot be used any more; None where it can."""

    @property
    def host_bytes(self) -> int:
        """Bytes of all host buffers; constant over the ring's life."""
        return sum(slot.host_bytes for slot in self._slots)

    def release(self, slot: Slot) -> None:
        """Give a slot back; its event must have passed."""
        slot.clear()
        self.free.append(slot)

    def recover(
        self, slots: Sequence[Slot], *, timeout_s: float, error: Exception | None = None
    ) -> Exception | None:
        """Give slots back after a failure, once nothing queued can reach their buffers; blocks.

        Where the device does not come to rest it is ``lost``: it is not waited for again, and the
        slots are kept until the process ends.

        Args:
            slots: Whose copies may still be in flight.
            timeout_s: How long each event may take.
            error: What failed; a ``DeviceLostError`` is taken at its word.

        Returns:
            The error of the device that surfaced meanwhile, or None.
        """
        surfaced = None
        if isinstance(error, DeviceLostError):
            self.lost = error
        for _ in range(DRAIN_ATTEMPTS):
            if self.lost is not None:
                break
            try:
                self._drain(slots, timeout_s=timeout_s)
            except DeviceLostError as lost:
                self.lost = lost
            except Exception as another:  # noqa: BLE001 - drained of it, the device may go on
                surfaced = another
            else:
                for slot in slots:
                    self.release(slot)
                return surfaced
        _kept.extend(slots)
        self.lost = self.lost or DeviceLostError(
            f"the device does not come to rest after {surfaced!r}; start again in a new process",
            stacks=write_stacks(),
        )
        return self.lost

    def _drain(self, slots: Sequence[Slot], *, timeout_s: float) -> None:
        """Wait until the device is idle; raises what surfaces."""
        for slot in slots:
            if slot.event is not None and not wait(slot.event, timeout_s=timeout_s):
                raise DeviceLostError(
                    f"the event of {slot} has not passed within {timeout_s:.3g} s after a failure; "
                    "start again in a new process",
                    stacks=write_stacks(),
                )
        settle(self._backend, timeout_s=timeout_s)


def _check_fits(batch: Batch) -> None:
    bucket = batch.bucket
    if len(batch.utterances) > bucket.batch_size:
        raise BucketOverflowError(
            f"batch has {len(batch.utterances)} utterances; its bucket holds {bucket.batch_size}"
        )
    for utterance in batch.utterances:
        if utterance.num_samples > bucket.capacity_samples:
            raise BucketOverflowError(
                f"utterance {utterance.utterance_id} has {utterance.num_samples} samples; "
                f"its bucket holds {bucket.capacity_samples}"
            )
