"""The HPU pipeline with one rule removed at a time: the simulated leg must turn red.

``MUTANTS`` is the table: what is removed (``tests/hpusim/rules.py`` and ``graph_rules.py``), and
the check (``tests/hpusim/leg.py``) that catches it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.hpusim import graph_rules, rules
from tests.hpusim.leg import CHECKS, Leg

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


@dataclass(frozen=True)
class Mutant:
    """A rule that is removed, how, and the check that must catch it."""

    rule: str
    remove: Callable[[pytest.MonkeyPatch], None]
    caught_by: str
    leg: dict[str, Any] = field(default_factory=dict)


LAX = {"config": {"strict": False}}
TENSOR_CACHE = {"disable_tensor_cache": False}  # PT_HPUGRAPH_DISABLE_TENSOR_CACHE=0
MUTANTS = [
    Mutant("the copy stream waits for compute", rules.download_that(wait="never"), "hazard"),
    Mutant("it waits before its context is entered", rules.download_that(wait="inside"), "hazard"),
    Mutant("the event is recorded", rules.download_that(record="never"), "transcripts"),
    Mutant(
        "it is recorded inside the context", rules.download_that(record="outside"), "transcripts"
    ),
    Mutant(
        "it is recorded after the copy",
        rules.download_that(record="before the copy"),
        "transcripts",
    ),
    Mutant("the host waits for the event", rules.no_wait_for_the_event, "transcripts"),
    Mutant("query() tells the truth", rules.query_that_guesses, "transcripts"),
    Mutant("warm-up waits for each batch", graph_rules.warm_up_without_waiting, "hazard"),
    Mutant("a slot is handed back after its event", rules.slot_back_at_launch, "hazard"),
    Mutant("ids leave the static output first", rules.no_copy_out_of_the_static_output, "hazard"),
    Mutant("ids leave it on the compute stream", rules.ids_cloned_on_the_copy_stream, "hazard"),
    Mutant(
        "device tensors are kept until the batch's own event",
        rules.tensors_freed_when_a_neighbour_retires,
        "hazard",
    ),
    Mutant("batches overlap", rules.one_batch_in_flight, "in flight"),
    Mutant("batches have slots to overlap in", rules.one_slot, "in flight"),
    Mutant("replays are asynchronous", graph_rules.replays_that_wait, "replays"),
    Mutant("warm-up ends in the steady state", graph_rules.backend_not_asynchronous, "warm-up"),
    Mutant("a step compiles as a whole", graph_rules.compiled_in_parts, "whole", {"lazy": False}),
    Mutant("device tensors are kept until the event", rules.device_tensors_not_kept, "hazard"),
    Mutant(
        "a batch is uploaded into a tensor of its own", rules.upload_into_a_flat_buffer, "failure"
    ),
    Mutant(
        "a batch is uploaded into a tensor of its own, without graphs",
        rules.upload_into_a_flat_buffer,
        "views",
        {"graphs": False},
    ),
    Mutant("ids are kept in a tensor of their own", rules.ids_kept_in_a_flat_buffer, "views"),
    Mutant("each slot has its host id buffer", rules.shared("_host_ids"), "hazard"),
    Mutant("each slot has its host input buffer", rules.shared("_host_waveforms"), "hazard"),
    Mutant("workers get a copy of the ids", rules.ids_not_copied_for_the_worker, "transcripts"),
    Mutant("ids are int32", rules.ids_of_64_bits, "failure"),
    Mutant("ids are int32, unguarded", rules.unguarded(rules.ids_of_64_bits), "host syncs"),
    Mutant("host buffers are pinned", rules.pageable_buffers, "failure"),
    Mutant(
        "host buffers are pinned, unguarded", rules.unguarded(rules.pageable_buffers), "transcripts"
    ),
    Mutant("a destination begins its block", rules.buffers_inside_a_block, "failure"),
    Mutant(
        "a destination begins its block, unguarded",
        rules.unguarded(rules.buffers_inside_a_block),
        "transcripts",
    ),
    Mutant("H2D copies do not block", rules.blocking("upload"), "host syncs"),
    Mutant("D2H copies do not block", rules.blocking("download"), "host syncs"),
    Mutant("copy streams come from a pool", rules.stream_per_batch, "streams"),
    Mutant("pinned buffers are allocated once", rules.pinned_memory_per_batch, "pinned bytes"),
    Mutant(
        "a capture has inputs of its own",
        graph_rules.capture_over_the_slots_inputs,
        "inputs",
        {"device": TENSOR_CACHE},
    ),
    Mutant("one wrapper per bucket", graph_rules.one_wrapper_for_all_buckets, "replays"),
    Mutant("calls have the capture's form", graph_rules.keywords_at_replay, "failure"),
    Mutant(
        "HPU graphs in lazy mode only",
        graph_rules.hpu_graphs_in_eager_mode,
        "transcripts",
        {"lazy": False},
    ),
    Mutant(
        "a failed capture is cleaned up", graph_rules.failed_capture_not_cleaned_up, "recapture"
    ),
    Mutant("no float64 on the device", graph_rules.statistics_in_float64, "failure"),
    Mutant(
        "warm-up collects as a run does", graph_rules.warm_up_without_collecting, "compilations"
    ),
    Mutant("warm-up covers every bucket", graph_rules.warm_up_of_one_bucket_only, "failure"),
    Mutant(
        "warm-up covers every bucket, not strict",
        graph_rules.warm_up_of_one_bucket_only,
        "compilations",
        LAX,
    ),
]


@pytest.mark.parametrize(
    "leg",
    [
        pytest.param({}, id="graphs"),
        pytest.param({"device": TENSOR_CACHE}, id="graphs-with-tensor-cache"),
        pytest.param({"family": "layer"}, id="graphs-with-attention-mask"),
        pytest.param({"graphs": False}, id="lazy-without-graphs"),
        pytest.param({"lazy": False, "graphs": False}, id="eager"),
        pytest.param({"lazy": False}, id="compile"),
        pytest.param({"config": {"dtype": "bfloat16"}}, id="bfloat16"),
        pytest.param({"config": {"dtype": "bfloat16", "autocast": True}}, id="autocast"),
        pytest.param(
            {"lazy": False, "config": {"dtype": "bfloat16", "autocast": True}},
            id="compile-autocast",
        ),
    ],
)
def test_whole_pipeline_passes_every_check(
    leg: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Leg(**leg).run(monkeypatch)
    if "dtype" in leg.get("config", {}):
        found.pop("transcripts", None)  # the reference is float32
    assert found == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.rule.replace(" ", "-"))
def test_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.remove(monkeypatch)
    found = Leg(**mutant.leg).run(monkeypatch)
    assert mutant.caught_by in found


def test_every_check_is_needed() -> None:
    """A check that catches no mutant would be a check that was never seen red."""
    assert {m.caught_by for m in MUTANTS} == set(CHECKS) - {"captures"}
