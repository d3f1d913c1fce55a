"""The rules of copies, slots and buffers, each with a way to remove it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.hpusim import torch_hpu
from w2v_core.backends import hpu as hpu_module
from w2v_core.backends.hpu import HpuBackend
from w2v_core.engine import pipeline, slots
from w2v_core.engine.slots import Slot, SlotRing

Patch = pytest.MonkeyPatch


def nothing(*_args: Any, **_kwargs: Any) -> None: ...


def download_that(*, wait: str = "before", record: str = "inside") -> Callable[[Patch], None]:
    """HpuBackend.download with its wait or its record elsewhere."""

    def download(
        self: HpuBackend, source: torch.Tensor, destination: torch.Tensor, *, lane: int
    ) -> Any:
        stream = self._copies[lane]
        event = self._hpu.Event()
        if wait == "before":
            stream.wait_stream(self._compute)
        with self._hpu.stream(stream):
            if wait == "inside":
                stream.wait_stream(self._compute)
            if record == "before the copy":
                event.record(stream)
            destination.copy_(source, non_blocking=True)
            if record == "inside":
                event.record(stream)
        if record == "outside":
            event.record(stream)
        return event

    return lambda patch: patch.setattr(HpuBackend, "download", download)


def no_wait_for_the_event(patch: Patch) -> None:
    patch.setattr(slots, "wait", lambda _event, *, timeout_s: True)


def query_that_guesses(patch: Patch) -> None:
    patch.setattr(torch_hpu.Event, "query", lambda _self: True)


def slot_back_at_launch(patch: Patch) -> None:
    launch = pipeline.Pipeline._launch

    def launch_and_release(self: pipeline.Pipeline, batch: Any) -> None:
        launch(self, batch)
        self._ring.free.appendleft(self._ring.in_flight[-1])

    patch.setattr(pipeline.Pipeline, "_launch", launch_and_release)


def no_copy_out_of_the_static_output(patch: Patch) -> None:
    def collect(self: Slot, ids: torch.Tensor) -> None:
        host = self._host_ids[: ids.numel()].view(ids.shape)
        self.event = self._backend.download(ids, host, lane=self.index)

    patch.setattr(Slot, "download", collect)


def ids_cloned_on_the_copy_stream(patch: Patch) -> None:
    """The clone is then unordered with the next replay, which overwrites what it reads."""

    def download(self: Slot, ids: torch.Tensor) -> None:
        backend: Any = self._backend
        stream = backend._copies[self.index]
        stream.wait_stream(backend._compute)
        with backend._hpu.stream(stream):
            kept = ids.clone()
        self._device += (kept,)
        host = self._host_ids[: ids.numel()].view(ids.shape)
        self.event = backend.download(kept, host, lane=self.index)

    patch.setattr(Slot, "download", download)


def tensors_freed_when_a_neighbour_retires(patch: Patch) -> None:
    release = SlotRing.release

    def release_and_free_the_next(self: SlotRing, slot: Slot) -> None:
        release(self, slot)
        for neighbour in self.in_flight:
            neighbour._device = ()

    patch.setattr(SlotRing, "release", release_and_free_the_next)


def one_batch_in_flight(patch: Patch) -> None:
    launch = pipeline.Pipeline._launch

    def launch_and_wait(self: pipeline.Pipeline, batch: Any) -> None:
        launch(self, batch)
        slots.wait(self._ring.in_flight[-1].event, timeout_s=60)  # type: ignore[arg-type]

    patch.setattr(pipeline.Pipeline, "_launch", launch_and_wait)


def one_slot(patch: Patch) -> None:
    make = SlotRing.__init__
    patch.setattr(
        SlotRing, "__init__", lambda self, *a, num_slots, **kw: make(self, *a, num_slots=1, **kw)
    )


def flat_copy(source: torch.Tensor) -> torch.Tensor:
    """A device buffer for all buckets, and the batch in its beginning: a view, in lazy mode."""
    flat = torch.zeros(2 * source.numel(), dtype=source.dtype, device="hpu")
    return flat[: source.numel()].view(source.shape).copy_(source, non_blocking=True)


def upload_into_a_flat_buffer(patch: Patch) -> None:
    patch.setattr(HpuBackend, "upload", lambda _self, source: flat_copy(source))


def ids_kept_in_a_flat_buffer(patch: Patch) -> None:
    collect = Slot.download

    def collect_flat(self: Slot, ids: torch.Tensor) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(torch.Tensor, "clone", flat_copy)
            collect(self, ids)

    patch.setattr(Slot, "download", collect_flat)


def device_tensors_not_kept(patch: Patch) -> None:
    collect = Slot.download

    def collect_and_forget(self: Slot, ids: torch.Tensor) -> None:
        collect(self, ids)
        self._device = ()

    patch.setattr(Slot, "download", collect_and_forget)


def shared(buffer: str) -> Callable[[Patch], None]:
    """All slots use the first one's buffer."""
    make = SlotRing.__init__

    def remove(patch: Patch) -> None:
        def make_shared(self: SlotRing, *args: Any, **kwargs: Any) -> None:
            make(self, *args, **kwargs)
            for slot in self._slots:
                setattr(slot, buffer, getattr(self._slots[0], buffer))

        patch.setattr(SlotRing, "__init__", make_shared)

    return remove


def ids_not_copied_for_the_worker(patch: Patch) -> None:
    finish = Slot.finish

    def finish_without_copy(self: Slot, *, timeout_s: float) -> np.ndarray[Any, Any]:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(np, "array", np.asarray)
            return finish(self, timeout_s=timeout_s)

    patch.setattr(Slot, "finish", finish_without_copy)


def unguarded(remove: Callable[[Patch], None]) -> Callable[[Patch], None]:
    def both(patch: Patch) -> None:
        patch.setattr(hpu_module, "check_asynchronous", nothing)
        remove(patch)

    return both


def ids_of_64_bits(patch: Patch) -> None:
    make, collect = HpuBackend.host_buffer, Slot.download

    def allocate(self: HpuBackend, num_elements: int, dtype: torch.dtype) -> torch.Tensor:
        is_ids = dtype is torch.int32 and num_elements > 2  # the counts have 2
        return make(self, num_elements, torch.int64 if is_ids else dtype)

    patch.setattr(HpuBackend, "host_buffer", allocate)
    patch.setattr(Slot, "download", lambda self, ids: collect(self, ids.to(torch.int64)))


def pageable_buffers(patch: Patch) -> None:
    patch.setattr(HpuBackend, "host_buffer", lambda _self, n, dtype: torch.zeros(n, dtype=dtype))


def buffers_inside_a_block(patch: Patch) -> None:
    make = HpuBackend.host_buffer
    patch.setattr(HpuBackend, "host_buffer", lambda self, n, dtype: make(self, n + 1, dtype)[1:])


def blocking(method: str) -> Callable[[Patch], None]:
    """upload or download without ``non_blocking``."""

    def remove(patch: Patch) -> None:
        copy, to = torch.Tensor.copy_, torch.Tensor.to
        original = getattr(HpuBackend, method)

        def call(self: HpuBackend, *args: Any, **kwargs: Any) -> Any:
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(torch.Tensor, "copy_", lambda a, b, non_blocking=False: copy(a, b))
                inner.setattr(torch.Tensor, "to", lambda a, b, non_blocking=False: to(a, b))
                return original(self, *args, **kwargs)

        patch.setattr(HpuBackend, method, call)

    return remove


def stream_per_batch(patch: Patch) -> None:
    download = HpuBackend.download

    def download_on_a_new_one(self: HpuBackend, *args: Any, lane: int) -> Any:
        self._copies = (self._hpu.Stream(),) * hpu_module.MAX_STREAMS
        return download(self, *args, lane=lane)

    patch.setattr(HpuBackend, "download", download_on_a_new_one)


def pinned_memory_per_batch(patch: Patch) -> None:
    stage, kept = Slot.upload, []

    def stage_anew(self: Slot, batch: Any) -> Any:
        kept.append(self._host_waveforms)
        self._host_waveforms = self._backend.host_buffer(kept[0].numel(), torch.float32)
        return stage(self, batch)

    patch.setattr(Slot, "upload", stage_anew)
