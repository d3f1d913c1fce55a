"""The rows of the Gaudi contract sheet, section 7, on graphs; the others are beside this file.

Each test names its row as *semantics / bug to catch*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests import hpusim
from tests.hpusim import Config, Runtime

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


def ht() -> Any:
    import habana_frameworks.torch as package

    return package


class Doubler(torch.nn.Module):
    """A forward whose runs in Python are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: torch.Tensor, scale: int = 2) -> torch.Tensor:
        self.runs += 1
        return x * scale


def graphed(**kwargs: Any) -> tuple[Doubler, Callable[..., torch.Tensor]]:
    module = Doubler()
    return module, ht().hpu.wrap_in_hpu_graph(module, **kwargs)


def test_output_object_is_shared_and_overwritten_by_replay(hpu: Runtime) -> None:
    """Row: one output object per key, overwritten / holding logits across a replay."""
    _, wrapped = graphed()
    first = wrapped(torch.ones(3).to("hpu"))
    assert first.cpu().tolist() == [2.0] * 3
    second = wrapped(torch.full((3,), 5.0).to("hpu"))
    assert second is first
    assert first.cpu().tolist() == [10.0] * 3


def test_first_inputs_are_kept_and_overwritten(hpu: Runtime) -> None:
    """Row: first-call inputs retained and overwritten / caller's tensor as ground truth."""
    _, wrapped = graphed()
    mine = torch.ones(3).to("hpu")
    wrapped(mine)
    wrapped(torch.full((3,), 7.0).to("hpu"))
    assert mine.cpu().tolist() == [7.0] * 3


def test_disabled_tensor_cache_leaves_the_first_inputs(hpu: Runtime) -> None:
    """Row: first-call inputs; with disable_tensor_cache the caller's inputs are read instead."""
    _, wrapped = graphed(disable_tensor_cache=True)
    mine = torch.ones(3).to("hpu")
    assert wrapped(mine).cpu().tolist() == [2.0] * 3
    assert wrapped(torch.full((3,), 7.0).to("hpu")).cpu().tolist() == [14.0] * 3
    assert mine.cpu().tolist() == [1.0] * 3


def test_key_ignores_dtype(hpu: Runtime) -> None:
    """Row: key ignores dtype / dtype mix-up: the second call's dtype is coerced silently."""
    module, wrapped = graphed()
    wrapped(torch.ones(3).to("hpu"))
    out = wrapped(torch.full((3,), 1.7, dtype=torch.bfloat16).to("hpu"))
    assert module.runs == 1
    assert out.dtype is torch.float32


def test_keyword_form_is_another_key(hpu: Runtime) -> None:
    """Row: kwarg form changes the key / duplicate captures."""
    module, wrapped = graphed()
    x = torch.ones(3).to("hpu")
    wrapped(x)
    wrapped(x=x)
    assert module.runs == 2
    assert hpu.stats["captures"] == 2


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda: torch.ones(6).to("hpu")[:3], id="slice"),
        pytest.param(lambda: torch.ones(1, 3).to("hpu").view(3), id="reshape"),
    ],
)
def test_view_chain_is_in_the_key(hpu: Runtime, view: Callable[[], torch.Tensor]) -> None:
    """Row: key; a view of a larger buffer is another key than the capture's tensor: un-graphed."""
    module, wrapped = graphed(max_graphs=1)
    wrapped(torch.ones(3).to("hpu"))
    wrapped(torch.ones(3).to("hpu"))
    assert module.runs == 1
    wrapped(view())
    assert module.runs == 2


def test_autocast_flag_is_in_the_key(hpu: Runtime) -> None:
    """Row: key holds the autocast flag / a replay outside the capture's autocast recaptures."""
    module, wrapped = graphed()
    x = torch.ones(3).to("hpu")
    wrapped(x)
    with torch.autocast("hpu", dtype=torch.bfloat16):
        wrapped(x)
    assert module.runs == 2


def test_unseen_key_captures_compiles_and_takes_time() -> None:
    """Row: unseen key = capture, delay and graph_compilation / recompiles after warm-up."""
    with hpusim.fresh(Config(compile_s=2.0)) as rt:
        metric = ht().hpu.metrics.metric_global("graph_compilation")
        _, wrapped = graphed()
        wrapped(torch.ones(3).to("hpu"))
        assert dict(metric.stats())["TotalNumber"] == 1
        assert rt.clock.now >= 2.0
        wrapped(torch.ones(3).to("hpu"))
        torch.hpu.synchronize()
        warm = dict(metric.stats())["TotalNumber"]
        wrapped(torch.ones(3).to("hpu"))
        torch.hpu.synchronize()
        assert dict(metric.stats())["TotalNumber"] == warm
        wrapped(torch.ones(4).to("hpu"))
        assert dict(metric.stats())["TotalNumber"] == warm + 1


def test_full_cache_runs_the_plain_forward_silently(hpu: Runtime) -> None:
    """Row: max_graphs full = silent plain forward / lost graph coverage."""
    module, wrapped = graphed(max_graphs=1)
    wrapped(torch.ones(3).to("hpu"))
    assert wrapped(torch.ones(4).to("hpu")).cpu().tolist() == [2.0] * 4
    wrapped(torch.ones(4).to("hpu"))
    assert module.runs == 3
    assert hpu.stats["captures"] == 1


def test_eager_mode_has_no_wrap_in_hpu_graph() -> None:
    """Row: eager mode lacks wrap_in_hpu_graph / the default flip of 1.21."""
    with hpusim.fresh(Config(lazy=False)), pytest.raises(AttributeError, match="wrap_in_hpu_graph"):
        _ = ht().hpu.wrap_in_hpu_graph


def test_eager_mode_through_the_graphs_module_is_stale() -> None:
    """Row: eager via the graphs module = stale output / found by varying the input per shape."""
    from habana_frameworks.torch.hpu import graphs

    with hpusim.fresh(Config(lazy=False)):
        wrapped = graphs.wrap_in_hpu_graph(Doubler())
        assert wrapped(torch.ones(3).to("hpu")).cpu().tolist() == [2.0] * 3
        assert wrapped(torch.full((3,), 5.0).to("hpu")).cpu().tolist() == [2.0] * 3


def test_async_replay_error_is_raised_at_a_later_join(hpu: Runtime) -> None:
    """Row: async replay error raised later / swallowed exceptions, attribution."""
    _, wrapped = graphed(asynchronous=True)
    x = torch.ones(3).to("hpu")
    wrapped(x)
    hpu.faults.failing_replays[1] = RuntimeError("recipe failed")
    wrapped(x)  # returns as if all were well
    with pytest.raises(RuntimeError, match=r"Exception in Launch thread.*Check \$HABANA_LOGS/"):
        torch.hpu.synchronize()


def test_cpu_fallback_in_a_capture_is_an_error(hpu: Runtime) -> None:
    """Row: CPU fallback: error inside a capture."""
    hpu.faults.fallback_ops.add("mul")
    _, wrapped = graphed()
    with pytest.raises(RuntimeError, match="cpu fallback is not supported during hpu graph captur"):
        wrapped(torch.ones(3).to("hpu"))


def test_failed_capture_poisons_the_device_until_its_graph_is_freed(hpu: Runtime) -> None:
    """Row: failed capture poisons capture state / missing cleanup."""
    graph = ht().hpu.HPUGraph()
    x = torch.ones(2).to("hpu")
    graph.capture_begin()
    with pytest.raises(RuntimeError, match="is not supported during HPU Graph capturing"):
        (x + 1).sum().item()
    with pytest.raises(RuntimeError, match="graph Capture already in progress"):
        ht().hpu.HPUGraph.capture_begin(other := ht().hpu.HPUGraph())
    del graph
    other.capture_begin()
    other.capture_end()
