"""Graphs on a host: each bucket is one whole graph, of its dtype, compiled before the clock."""

from functools import partial

import pytest
import torch

from tests.helpers import compilers
from tests.helpers.engines import make_engine, make_utterances, warm_engine
from tests.unit.test_measure import PROVENANCE, measure
from w2v_core.backends import cpu, cpu_compilers
from w2v_core.backends.cpu import CpuBackend
from w2v_core.backends.cpu_compilers import HostCompiler, OpenVino
from w2v_core.bench.measure import measure_cell, time_rounds
from w2v_core.config import EngineConfig, form_plan
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.engine.engine import Engine
from w2v_core.engine.graphs import CtcStep
from w2v_core.engine.slots import Slot
from w2v_core.errors import GraphError
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint
from w2v_core.records.cell import form_cells


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    compilers.use(monkeypatch, compilers.as_traced)


def test_a_compiled_pass_has_the_transcripts_of_an_eager_one_and_compiles_nothing():
    utterances = make_utterances([4_000, 8_000, 5_000])
    engine, eager = warm_engine(utterances, graphs=True), warm_engine(utterances)
    before = engine.backend.counters()

    found = engine.transcribe(utterances)

    assert found.texts == eager.transcribe(utterances).texts
    assert engine.backend.counters().compilations == before.compilations
    assert engine.runner.captures == len(engine.buckets) == 2


def test_warm_up_counts_a_compilation_for_each_bucket_and_its_seconds():
    engine = make_engine(graphs=True)
    before = engine.backend.counters()

    engine.warm_up([4_000, 8_000])

    made = engine.backend.counters() - before
    assert made.compilations == 2
    assert 0 < made.compile_s < 600


def test_a_compilation_in_a_timed_round_makes_the_record_invalid(monkeypatch):
    """dynamo compiles anew, and says nothing, where an input is no longer what it was."""
    upload = Slot.upload

    def timer(run):
        def other_dtype(self, batch):
            waveforms, counts = upload(self, batch)
            return waveforms, counts.to(torch.int64)

        monkeypatch.setattr(Slot, "upload", other_dtype)
        rounds = time_rounds(1)(run)
        monkeypatch.setattr(Slot, "upload", upload)
        return rounds

    record = measure(engine=make_engine(graphs=True), timer=timer)

    assert record.graph_captures == 2
    assert "steady state: 2 compilations in the timed region" in record.invalid_reasons


def test_a_graph_break_is_an_error(monkeypatch):
    """A step of two graphs would run what lies between them uncompiled."""
    logits = CtcStep.logits

    def broken(self, waveforms, num_samples):
        torch._dynamo.graph_break()
        return logits(self, waveforms, num_samples)

    monkeypatch.setattr(CtcStep, "logits", broken)

    with pytest.raises(GraphError, match="capture of"):
        make_engine(graphs=True).warm_up([4_000])


def test_a_step_that_ran_uncompiled_is_an_error():
    refusal = pytest.raises(GraphError, match="uncompiled; unset TORCHDYNAMO_DISABLE")
    with torch._dynamo.config.patch(disable=True), refusal:
        make_engine(graphs=True).warm_up([4_000])


def test_a_compiler_that_computes_float32_in_bfloat16_is_caught_by_parity(monkeypatch):
    compilers.use(monkeypatch, compilers.in_bfloat16)

    record = measure_canary()

    assert not record.valid
    assert "goldens: logits of" in " ".join(record.invalid_reasons)


def test_openvino_that_takes_another_precision_is_refused(monkeypatch):
    """Without the instructions it computes in float32, and the cell would say bfloat16."""
    pytest.importorskip("openvino")
    if "BF16" in cpu_compilers._openvino_capabilities():
        pytest.skip("this processor computes bfloat16")
    wrong = HostCompiler(name="", of=partial(OpenVino, "bf16"), is_quick=True)
    compilers.use_found(monkeypatch, wrong)

    with pytest.raises(GraphError, match="computes in f32 where bf16 was asked for"):
        make_engine(graphs=True).warm_up([4_000])


@pytest.mark.parametrize("name", ["", "openvino", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_canary_meets_its_goldens(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "host_compiler", cpu_compilers.host_compiler)
        compilers.choose(patch, name)
        record = measure_canary()

    assert record.valid, record.invalid_reasons
    assert record.changed_vs_golden == ()
    assert record.environment["graphs_by"].startswith(name or "stand-in")


def measure_canary():
    """Measure canary-base in float32 with graphs on four utterances."""
    plan = form_plan("auto", num_buckets=1, batch_size=None)
    engine = Engine(
        load_checkpoint(parse_model("canary-base")),
        CpuBackend(),
        EngineConfig(graphs=True, plan=plan),
    )
    (cell,) = form_cells(
        models=[("canary-base", "canary_base")],
        dtypes=["float32"],
        datasets=[("canary-speech", "canary_speech")],
        graphs=[True],
        forwards=["exact"],
        plan=plan,
    )
    return measure_cell(
        engine,
        load(parse_dataset("canary-speech"), limit=4),
        cell,
        timer=time_rounds(1),
        provenance=PROVENANCE,
        limit=4,
    )
