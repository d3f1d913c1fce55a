"""The simulator's face against the vendor's documented names, spelled as the vendor spells them.

Sources: contract sheet, sections 1 to 3, 6 and 9 (bridge 1.19 and the documents since).
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import hpusim

ht: Any = pytest.importorskip("habana_frameworks.torch", reason="only where there is a bridge")
pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]

HPU = """is_available device_count current_device get_device_name get_device_capability synchronize
init is_initialized Stream Event stream set_stream current_stream default_stream get_stream_info
memory_stats memory_allocated max_memory_allocated reset_peak_memory_stats mem_get_info
is_bf16_supported manual_seed manual_seed_all wrap_in_hpu_graph HPUGraph graph ModuleCacher
make_graphed_callables metrics graphs"""
STREAM = "query synchronize wait_event wait_stream record_event id device device_index priority"
EVENT = "record wait query synchronize elapsed_time"
GRAPH = """capture_begin capture_end replay replayV2 replayV3 mark_user_inputs mark_user_outputs
clear_inputs reset"""
METRICS = "metric_global metric_localcontext MetricNotFound metrics_dump"


def missing(owner: object, names: str) -> list[str]:
    return [name for name in names.split() if not hasattr(owner, name)]


def test_every_documented_name_is_there(hpu: hpusim.Runtime) -> None:
    assert missing(ht.hpu, HPU) == []
    assert missing(ht.hpu.Stream(), STREAM) == []
    assert missing(ht.hpu.Event(), EVENT) == []
    assert missing(ht.hpu.HPUGraph(), GRAPH) == []
    assert missing(ht.hpu.metrics, METRICS) == []


def test_wrap_in_hpu_graph_has_the_vendors_arguments(hpu: hpusim.Runtime) -> None:
    parameters = inspect.signature(ht.hpu.wrap_in_hpu_graph).parameters
    names = ["module", "asynchronous", "disable_tensor_cache", "dry_run", "max_graphs"]
    assert list(parameters) == names


def test_ids_of_a_stream_give_its_handle(hpu: hpusim.Runtime) -> None:
    made = ht.hpu.Stream()
    names = ("stream_id", "device_index", "device_type")
    ids: dict[str, Any] = dict(zip(names, ht.hpu.get_stream_info(made), strict=True))
    assert ht.hpu.Stream(**ids) == made
    assert hpu.num_streams_made == 1


def test_metrics_have_the_vendors_keys() -> None:
    with hpusim.fresh(hpusim.Config(cache_metrics=True)):
        expected = {
            "graph_compilation": ["TotalNumber", "TotalTime", "AvgTime"],
            "cpu_fallback": ["TotalNumber", "FallbackOps"],
            "recipe_cache": ["RecipeHit", "RecipeMiss"],
        }
        for name, keys in expected.items():
            metric = ht.hpu.metrics.metric_global(name)
            assert metric.name() == name
            assert [key for key, _ in metric.stats()] == keys


def test_local_metric_counts_its_context_only(hpu: hpusim.Runtime) -> None:
    x = torch.empty(2, device="hpu")
    x.add(1)
    torch.hpu.synchronize()
    with ht.hpu.metrics.metric_localcontext("graph_compilation") as local:
        x.mul(2)
        torch.hpu.synchronize()
    x.sub(3)
    torch.hpu.synchronize()
    assert dict(local.stats())["TotalNumber"] == 1
    with pytest.raises(ht.hpu.metrics.MetricNotFound):
        ht.hpu.metrics.metric_localcontext("nothing").__enter__()


def test_metrics_are_dumped_where_the_flag_says(
    hpu: hpusim.Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PT_HPU_METRICS_FILE", str(tmp_path / "metrics.json"))
    ht.hpu.metrics.metrics_dump()
    assert "graph_compilation" in json.loads((tmp_path / "metrics.json").read_text())


@pytest.mark.parametrize("recorded", [True, False])
def test_record_stream_lets_a_buffer_be_freed_early(recorded: bool) -> None:
    with hpusim.fresh(hpusim.Config(hazards="record")) as runtime:
        side, x = torch.hpu.Stream(), torch.empty(4, device="hpu").add(1)
        side.wait_stream(torch.hpu.current_stream())
        with torch.hpu.stream(side):
            y = x.add(1)
        torch.hpu.Event().record()  # launches what lazy mode has pending
        if recorded:
            x.record_stream(side)
        del x
        torch.hpu.synchronize()
        assert bool(runtime.hazards) is not recorded
        assert y.shape == (4,)


def test_module_cacher_runs_the_plain_forward_in_eval_mode(hpu: hpusim.Runtime) -> None:
    module = torch.nn.Linear(2, 2).eval().to("hpu")
    x = torch.ones(1, 2).to("hpu")
    with torch.inference_mode():
        expected = module(x).cpu()
        cached = ht.hpu.ModuleCacher(max_graphs=1)(module)
        assert torch.equal(cached(x).cpu(), expected)
    assert hpu.stats["captures"] == 0
    with pytest.raises(hpusim.SimError, match="training is not simulated"):
        cached.train()(x)
