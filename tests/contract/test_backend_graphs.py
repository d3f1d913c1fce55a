"""What a capture and its replays are, on every backend that has graphs."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from tests.contract.backends import passed
from tests.contract.test_backend import PER_FRAME, STEADY, Lane, expected, step
from w2v_core.backends.base import Backend
from w2v_core.errors import GraphError
from w2v_core.types import DTYPES, Dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_graphs_of_a_dtype_have_a_maker_or_a_reason_why_not(backend: Backend, dtype: Dtype) -> None:
    support = backend.graph_support(dtype)
    assert bool(support.by) != bool(support.unsupported)


def test_capture_is_refused_where_graphs_are_unsupported(backend: Backend) -> None:
    lane = Lane(backend)
    refusal = pytest.raises(GraphError, match="graphs off")
    is_refused = backend.graph_support("float32").unsupported
    with backend.compute(), refusal if is_refused else nullcontext():
        backend.capture(step, *lane.upload(1))


@pytest.fixture
def graphs(backend: Backend) -> Backend:
    if (reason := backend.graph_support("float32").unsupported) is not None:
        pytest.skip(reason)
    return backend


def test_replay_computes_the_ids_of_its_own_inputs(graphs: Backend) -> None:
    lane = Lane(graphs)
    with graphs.compute():
        replay = graphs.capture(step, *lane.upload(1))
    for value in (5, 6):  # twice the same shape: a stale output would repeat
        with graphs.compute():
            event = lane.download(replay(*lane.upload(value)))
        passed(event)
        assert lane.host_ids.tolist() == expected(value)


def test_replay_for_another_lane_leaves_the_first_lanes_inputs(graphs: Backend) -> None:
    first, second = Lane(graphs, 0), Lane(graphs, 1)
    with graphs.compute():
        inputs = first.upload(1)
        replay = graphs.capture(step, *inputs)
        replay(*second.upload(2))
        event = first.download(step(*inputs))
    passed(event)
    assert first.host_ids.tolist() == expected(1)


def test_ids_copied_before_the_next_replay_survive_it(graphs: Backend) -> None:
    first, second = Lane(graphs, 0), Lane(graphs, 1)
    with graphs.compute():
        replay = graphs.capture(step, *first.upload(1))
        events = [
            first.download(replay(*first.upload(2))),
            second.download(replay(*second.upload(3))),
        ]
    for event in events:
        passed(event)
    assert first.host_ids.tolist() == expected(2)
    assert second.host_ids.tolist() == expected(3)


def test_captures_of_two_shapes_are_independent(graphs: Backend) -> None:
    lane = Lane(graphs)
    with graphs.compute():
        waveforms, counts = lane.upload(1)
        wide = graphs.capture(step, waveforms, counts)
        narrow = graphs.capture(step, waveforms[:, :PER_FRAME].contiguous(), counts)
        ids = narrow(waveforms[:, PER_FRAME : 2 * PER_FRAME].contiguous(), counts)
        event = lane.download(wide(waveforms, counts))
        narrow_ids = ids.cpu()
    passed(event)
    assert lane.host_ids.tolist() == expected(1)
    assert narrow_ids.flatten().tolist() == [14, 14]


def test_replays_compile_nothing(graphs: Backend) -> None:
    lane = Lane(graphs)
    with graphs.compute():
        replay = graphs.capture(step, *lane.upload(1))
        passed(lane.download(replay(*lane.upload(2))))
        before = graphs.counters()
        for value in range(5):
            passed(lane.download(replay(*lane.upload(value))))
    assert graphs.counters() - before in STEADY


def test_capture_works_after_one_that_failed_half_way(graphs: Backend) -> None:
    def fails(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        doubled = waveforms * 2
        return step(doubled @ doubled, num_samples)  # (2, 12) times (2, 12)

    lane = Lane(graphs)
    with graphs.compute():
        with pytest.raises(GraphError, match="capture of"):
            graphs.capture(fails, *lane.upload(1))
        replay = graphs.capture(step, *lane.upload(1))
        event = lane.download(replay(*lane.upload(4)))
    passed(event)
    assert lane.host_ids.tolist() == expected(4)
