"""A fixed ring of slots: memory, streams and pinned buffers are bounded whatever the corpus is.

A slot owns its host buffers for ever and its device tensors while its batch is in flight.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch

from w2v_core.backends.base import Backend, Event
from w2v_core.errors import BucketOverflowError
from w2v_core.types import Batch, Bucket

__all__ = ["Slot", "SlotRing"]


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
        self.staged_at_s = 0.0

    def stage(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
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
        staged = self._backend.upload(waveforms), self._backend.upload(counts)
        self._device = staged
        self.batch = batch
        return staged

    def collect(self, ids: torch.Tensor) -> None:
        """Keep the step's ids and enqueue their D2H copy; sets the slot's event.

        The device copy comes first: a replay's output is a static buffer that the next replay of
        the same bucket overwrites.
        """
        kept = ids.clone()
        self._device += (kept,)
        host = self._host_ids[: ids.numel()].view(ids.shape)
        self.event = self._backend.download(kept, host, lane=self.index)

    def take_ids(self) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        """Return a copy of the finished ids (B, T) int32; the event must have passed."""
        batch = self.batch
        if batch is None:
            raise BucketOverflowError(f"slot {self.index} holds no batch")
        shape = (batch.bucket.batch_size, batch.bucket.num_frames)
        ids = self._host_ids[: shape[0] * shape[1]].view(shape).numpy()
        return np.array(ids, dtype=np.int32).reshape(shape)

    def clear(self) -> None:
        """Forget the batch and free its device tensors; the event must have passed."""
        self._device = ()
        self.batch = None
        self.event = None

    @property
    def host_bytes(self) -> int:
        """Bytes of this slot's host buffers."""
        buffers = (self._host_waveforms, self._host_num_samples, self._host_ids)
        return sum(b.numel() * b.element_size() for b in buffers)


class SlotRing:
    """Hands out free slots and keeps those in flight in order."""

    def __init__(self, backend: Backend, *, num_slots: int, buckets: tuple[Bucket, ...]) -> None:
        self._slots = [Slot(backend, index=i, buckets=buckets) for i in range(num_slots)]
        self.free: deque[Slot] = deque(self._slots)
        self.in_flight: deque[Slot] = deque()

    @property
    def host_bytes(self) -> int:
        """Bytes of all host buffers; constant over the ring's life."""
        return sum(slot.host_bytes for slot in self._slots)

    def release(self, slot: Slot) -> None:
        """Give a slot back."""
        slot.clear()
        self.free.append(slot)


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
