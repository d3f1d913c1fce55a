"""What a Backend is. Every backend passes the same tests; the engine relies on nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from tests.contract.backends import passed
from w2v_core.backends.base import Backend, Counters
from w2v_core.config import MAX_STREAMS, PLAN_KINDS
from w2v_core.types import DTYPES

BATCH, SAMPLES, PER_FRAME = 2, 12, 4
SHAPE = (BATCH, SAMPLES)
_TOLD = Counters(compile_s=0.0)
STEADY = (Counters(), _TOLD, replace(_TOLD, recipe_hits=0, recipe_misses=0))
"""Nothing grew, on devices that tell their compiler's seconds and their cache, or do not."""


def step(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
    """(B, S) and (B,) -> ids (B, S / 4) int32, exact in float32."""
    sums = waveforms.view(waveforms.shape[0], -1, PER_FRAME).sum(dim=-1)
    return (sums + num_samples[:, None]).to(torch.int32)


class Lane:
    """The buffers of one slot."""

    def __init__(self, backend: Backend, number: int = 0) -> None:
        self.backend, self.number = backend, number
        # Larger than a batch: a slot's buffers are those of the largest bucket.
        self.host_waveforms = backend.host_buffer(2 * BATCH * SAMPLES, torch.float32)
        self.host_counts = backend.host_buffer(2 * BATCH, torch.int32)
        self.host_ids = backend.host_buffer(BATCH * SAMPLES // PER_FRAME, torch.int32)
        self.in_flight: tuple[torch.Tensor, ...] = ()

    def upload(self, value: int) -> tuple[torch.Tensor, torch.Tensor]:
        waveforms = self.host_waveforms[: BATCH * SAMPLES].view(SHAPE)
        counts = self.host_counts[:BATCH]
        waveforms.fill_(value)
        counts.fill_(10 * value)
        inputs = self.backend.upload(waveforms), self.backend.upload(counts)
        self.in_flight = inputs
        return inputs

    def download(self, ids: torch.Tensor):  # type: ignore[no-untyped-def]
        kept = ids.clone()
        self.in_flight += (kept,)
        return self.backend.download(kept, self.host_ids.view(ids.shape), lane=self.number)


def expected(value: int) -> list[int]:
    return [PER_FRAME * value + 10 * value] * (BATCH * SAMPLES // PER_FRAME)


def test_device_matches_name(backend: Backend) -> None:
    assert backend.device.type == backend.name
    assert backend.device_name


def test_default_plan_is_a_plan(backend: Backend) -> None:
    assert backend.default_plan in PLAN_KINDS


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_host_buffer_is_flat_and_on_the_host(backend: Backend, dtype: torch.dtype) -> None:
    buffer = backend.host_buffer(7, dtype)
    assert (buffer.shape, buffer.dtype, buffer.device.type) == ((7,), dtype, "cpu")


def test_host_buffer_is_pinned_where_copies_are_asynchronous(backend: Backend) -> None:
    assert backend.host_buffer(7, torch.int32).is_pinned() or not backend.asynchronous


def test_uploaded_tensor_is_on_the_device_and_of_the_sources_shape(backend: Backend) -> None:
    waveforms, counts = Lane(backend).upload(1)
    assert (waveforms.shape, waveforms.dtype) == (SHAPE, torch.float32)
    assert (counts.shape, counts.dtype) == ((BATCH,), torch.int32)
    assert waveforms.device.type == counts.device.type == backend.name


def test_uploaded_tensor_is_no_part_of_a_larger_one(backend: Backend) -> None:
    waveforms, _ = Lane(backend).upload(1)
    nbytes = waveforms.numel() * waveforms.element_size()
    assert waveforms.is_contiguous()
    assert backend.is_host or waveforms.untyped_storage().nbytes() == nbytes


def test_ids_of_an_uploaded_batch_arrive(backend: Backend) -> None:
    lane = Lane(backend)
    with backend.compute():
        event = lane.download(step(*lane.upload(3)))
    passed(event)
    assert lane.host_ids.tolist() == expected(3)


def test_synchronize_finishes_a_download(backend: Backend) -> None:
    lane = Lane(backend)
    with backend.compute():
        lane.download(step(*lane.upload(3)))
    backend.synchronize()
    assert lane.host_ids.tolist() == expected(3)


def test_query_turns_true_and_then_the_ids_are_there(backend: Backend) -> None:
    lane = Lane(backend)
    with backend.compute():
        event = lane.download(step(*lane.upload(3)))
    for _ in range(10_000_000):
        if event.query():
            break
    assert event.query()
    assert lane.host_ids.tolist() == expected(3)


def test_lanes_past_the_stream_pool_keep_their_own_ids(backend: Backend) -> None:
    lanes = [Lane(backend, number) for number in range(MAX_STREAMS + 3)]
    with backend.compute():
        events = [lane.download(step(*lane.upload(lane.number))) for lane in lanes]
    for event in reversed(events):
        passed(event)
    assert [lane.host_ids.tolist() for lane in lanes] == [expected(lane.number) for lane in lanes]


def test_lane_is_reusable_after_its_event(backend: Backend) -> None:
    lane = Lane(backend)
    for value in range(4):
        with backend.compute():
            event = lane.download(step(*lane.upload(value)))
        passed(event)
        assert lane.host_ids.tolist() == expected(value)


def test_compute_is_inference_mode(backend: Backend) -> None:
    with backend.compute():
        assert torch.is_inference_mode_enabled()


def test_autocast_computes_in_bfloat16(backend: Backend) -> None:
    x = torch.ones(2, 2).to(backend.device)
    with backend.compute(), backend.autocast():
        assert (x @ x).dtype is torch.bfloat16


def test_float64_is_computed_on_the_device_or_disowned(backend: Backend) -> None:
    before = backend.counters()
    if backend.supports_float64:
        torch.sqrt(torch.ones(2, dtype=torch.float64).to(backend.device))
    backend.synchronize()
    assert (backend.counters() - before).cpu_fallbacks == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_dtypes_are_accepted(backend: Backend, dtype: str) -> None:
    backend.check_dtype(dtype)  # type: ignore[arg-type]


def test_mark_step_changes_no_result(backend: Backend) -> None:
    lane = Lane(backend)
    with backend.compute():
        ids = step(*lane.upload(3))
        backend.mark_step()
        event = lane.download(ids)
    passed(event)
    assert lane.host_ids.tolist() == expected(3)


def test_counters_only_grow(backend: Backend) -> None:
    before = backend.counters()
    with backend.compute():
        step(*Lane(backend).upload(1))
    backend.synchronize()
    grown = backend.counters() - before
    assert grown.compilations >= 0
    assert grown.cpu_fallbacks == 0


def test_steady_state_compiles_nothing(backend: Backend) -> None:
    lane = Lane(backend)
    backend.synchronize()

    def one_pass() -> None:
        with backend.compute():
            passed(lane.download(step(*lane.upload(1))))

    one_pass()
    before = backend.counters()
    one_pass()
    assert backend.counters() - before in STEADY


def test_peak_memory_covers_a_new_buffer(backend: Backend) -> None:
    backend.reset_peak_memory()
    buffer = torch.zeros(1 << 20, device=backend.device)
    backend.synchronize()
    assert backend.peak_memory_bytes() >= buffer.numel() * 4


def test_fingerprint_is_flat_json(backend: Backend) -> None:
    values = backend.fingerprint()
    assert json.loads(json.dumps(values)) == dict(values)
    assert all(isinstance(v, (str, int, float, type(None))) for v in values.values())
