"""The graph interface beyond the contract sheet's rows: raw HPUGraph, hidden keywords, errors."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from tests import hpusim
from tests.hpusim import CaptureError, Config, Runtime, SimError

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


def api() -> Any:
    import habana_frameworks.torch as package

    return package.hpu


def captured(
    x: torch.Tensor, *, dry_run: bool = False, marked: bool = False
) -> tuple[Any, torch.Tensor]:
    graph = api().HPUGraph()
    graph.capture_begin(dry_run)
    if marked:
        graph.mark_user_inputs([x])
    out = x * 2
    graph.capture_end()
    return graph, out


def test_replay_reads_what_the_static_input_holds_then(hpu: Runtime) -> None:
    x = torch.ones(2).to("hpu")
    graph, out = captured(x)
    assert out.cpu().tolist() == [2.0, 2.0]
    x.fill_(5.0)
    graph.replay()
    assert out.cpu().tolist() == [10.0, 10.0]


def test_dry_run_records_without_running(hpu: Runtime) -> None:
    graph, out = captured(torch.ones(2).to("hpu"), dry_run=True)
    assert out.isnan().cpu().all()
    graph.replay()
    assert out.cpu().tolist() == [2.0, 2.0]


def test_graph_context_captures_on_a_stream_of_its_own(hpu: Runtime) -> None:
    x, graph = torch.ones(2).to("hpu"), api().HPUGraph()
    with api().graph(graph):
        out = x * 2
    torch.hpu.synchronize()
    x.fill_(3.0)
    graph.replay()
    assert out.cpu().tolist() == [6.0, 6.0]
    assert hpu.num_streams_made == 1


def test_other_inputs_of_the_same_size_can_be_given(hpu: Runtime) -> None:
    x = torch.ones(2).to("hpu")
    graph, out = captured(x, marked=True)
    graph.replayV3([torch.full((2,), 4.0).to("hpu")])
    assert out.cpu().tolist() == [8.0, 8.0]
    assert x.cpu().tolist() == [1.0, 1.0]


def test_inputs_can_be_named_at_the_replay(hpu: Runtime) -> None:
    x = torch.ones(2).to("hpu")
    graph, out = captured(x)
    graph.replayV2([x], [torch.full((2,), 4.0).to("hpu")])
    assert out.cpu().tolist() == [8.0, 8.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: torch.ones(3).to("hpu"),
            "Mark User Input Sizes is not same Replay Input Sizes",
            id="size",
        ),
        pytest.param(
            lambda: torch.ones(2, dtype=torch.bfloat16).to("hpu"),
            "given torch.bfloat16",
            id="dtype",
        ),
        pytest.param(lambda: torch.ones(3).to("hpu")[1:], "a view", id="view"),
    ],
)
def test_other_inputs_that_do_not_fit_are_fatal(  # type: ignore[no-untyped-def]
    hpu: Runtime, make, message: str
) -> None:
    graph, _ = captured(torch.ones(2).to("hpu"), marked=True)
    with pytest.raises(SimError, match=message):
        graph.replayV3([make()])


def test_inputs_are_marked_in_a_capture_only(hpu: Runtime) -> None:
    with pytest.raises(SimError, match="mark_user_inputs must be while capturing"):
        api().HPUGraph().mark_user_inputs([torch.ones(2).to("hpu")])


@pytest.mark.parametrize("name", ["make_graphed_callables"])
def test_what_is_for_training_is_not_simulated(hpu: Runtime, name: str) -> None:
    with pytest.raises(SimError, match=f"{name} is not simulated.*use wrap_in_hpu_graph"):
        getattr(api(), name)(torch.nn.Linear(1, 1))


def test_exception_in_the_graph_context_closes_its_capture(hpu: Runtime) -> None:
    x = torch.ones(2).to("hpu")
    with pytest.raises(LookupError), api().graph(api().HPUGraph()):
        raise LookupError
    captured(x)


def test_replay_runs_on_the_stream_that_is_current(hpu: Runtime) -> None:
    wrapped = api().wrap_in_hpu_graph(Module(), disable_tensor_cache=True)
    x, side = torch.ones(2).to("hpu"), torch.hpu.Stream()
    wrapped(x)
    torch.hpu.synchronize()
    busy = hpu.streams[side.stream_id].seq
    with torch.hpu.stream(side):
        wrapped(x)
    torch.hpu.synchronize()
    assert hpu.streams[side.stream_id].seq == busy + 1


@pytest.mark.parametrize(
    ("forbidden", "message"),
    [
        pytest.param(lambda x: x.sum().item(), "item() is not supported", id="item"),
        pytest.param(lambda x: x.cpu(), "copy between host and device", id="d2h"),
        pytest.param(lambda x: x.copy_(torch.ones(2)), "copy between host and device", id="h2d"),
        pytest.param(lambda x: x[x > 0], "data-dependent shape", id="mask-index"),
        pytest.param(lambda x: bool(x.any()), "is not supported", id="bool"),
        pytest.param(lambda _x: torch.hpu.synchronize(), "device synchronize", id="synchronize"),
        pytest.param(
            lambda _x: api().HPUGraph().capture_begin(), "already in progress", id="nested"
        ),
    ],
)
def test_capture_refuses_what_needs_the_host(  # type: ignore[no-untyped-def]
    hpu: Runtime, forbidden, message: str
) -> None:
    x, graph = torch.ones(2).to("hpu"), api().HPUGraph()
    graph.capture_begin()
    with pytest.raises(CaptureError, match=re.escape(message)):
        forbidden(x)
    graph.reset()


def test_replay_in_a_capture_is_refused(hpu: Runtime) -> None:
    done, _ = captured(torch.ones(2).to("hpu"))
    graph = api().HPUGraph()
    graph.capture_begin()
    with pytest.raises(CaptureError, match="GRAPH:: Capture in progress"):
        done.replay()
    graph.reset()


def test_capture_must_end_on_its_stream(hpu: Runtime) -> None:
    graph, side = api().HPUGraph(), torch.hpu.Stream()
    graph.capture_begin()
    with torch.hpu.stream(side), pytest.raises(CaptureError, match="same stream it began on"):
        graph.capture_end()
    graph.reset()


def test_destroying_any_graph_clears_the_capture_flag(hpu: Runtime) -> None:
    other, _ = captured(torch.ones(2).to("hpu"))
    graph = api().HPUGraph()
    graph.capture_begin()
    del other
    with pytest.raises(CaptureError, match="no capture of this graph"):
        graph.capture_end()


def test_baked_host_value_is_frozen_silently() -> None:
    """What the bridge does with .item() in a capture, where the simulator is told to follow."""
    with hpusim.fresh(Config(capture_host_sync="bake")):
        x, graph = torch.ones(2).to("hpu"), api().HPUGraph()
        graph.capture_begin()
        out = x * x.sum().item()
        graph.capture_end()
        x.fill_(3.0)
        graph.replay()
        assert out.cpu().tolist() == [6.0, 6.0]  # 3 times the 2 of the capture, not times 6


def test_inner_buffers_are_free_between_replays(hpu: Runtime) -> None:
    graph = api().HPUGraph()
    x = torch.ones(1000).to("hpu")
    graph.capture_begin()
    out = (x + 1) * 2
    graph.capture_end()
    torch.hpu.synchronize()
    before = hpu.in_use_bytes
    for _ in range(5):
        graph.replay()
    assert out.cpu()[0] == 4.0
    assert hpu.in_use_bytes == before


def test_replay_that_reads_an_unordered_input_is_found(simulator: None) -> None:
    with hpusim.fresh(Config()):
        x, side = torch.ones(2).to("hpu"), torch.hpu.Stream()
        graph, _ = captured(x)
        side.wait_stream(torch.hpu.current_stream())
        with torch.hpu.stream(side):
            x.fill_(5.0)
        with pytest.raises(hpusim.HazardError, match=r"read-after-write.*graph_replay"):
            graph.replay()


class Module(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def test_bypass_runs_the_plain_forward(hpu: Runtime) -> None:
    wrapped = api().wrap_in_hpu_graph(Module())
    wrapped(torch.ones(2).to("hpu"), bypass_hpu_graphs=True)
    assert hpu.stats["captures"] == 0


def test_warm_up_mode_returns_cached_outputs_without_a_replay(hpu: Runtime) -> None:
    wrapped = api().wrap_in_hpu_graph(Module())
    wrapped(torch.ones(2).to("hpu"))
    out = wrapped(torch.full((2,), 9.0).to("hpu"), warmup_mode=True)
    assert out.cpu().tolist() == [2.0, 2.0]
    assert hpu.stats["replays"] == 0


def test_cleared_cache_captures_again(hpu: Runtime) -> None:
    wrapped = api().wrap_in_hpu_graph(Module())
    wrapped(torch.ones(2).to("hpu"))
    wrapped.clear_cache()
    wrapped(torch.ones(2).to("hpu"))
    assert hpu.stats["captures"] == 2


def test_environment_overrides_the_tensor_cache_keyword() -> None:
    with hpusim.fresh(Config(disable_tensor_cache=True)):
        wrapped = api().wrap_in_hpu_graph(Module(), disable_tensor_cache=False)
        mine = torch.ones(2).to("hpu")
        wrapped(mine)
        wrapped(torch.full((2,), 9.0).to("hpu"))
        assert mine.cpu().tolist() == [1.0, 1.0]


def test_hpu_backend_of_torch_compile_needs_eager_mode(hpu: Runtime) -> None:
    from tests.hpusim import compiler

    with pytest.raises(SimError, match="PT_HPU_LAZY_MODE=0"):
        compiler._hpu_backend(torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph()), [])
