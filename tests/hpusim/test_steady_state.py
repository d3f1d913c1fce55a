"""Capture once, replay for ever: nothing is compiled, captured, allocated or opened on the way."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from importlib.resources import files

import pytest

from tests.hpusim import Runtime
from tests.hpusim.steady import canary_utterances, cheap_engine, short_utterances
from w2v_core.backends.base import Counters
from w2v_core.backends.cpu import CpuBackend
from w2v_core.backends.hpu import HpuBackend
from w2v_core.config import MAX_STREAMS, BatchPlan, EngineConfig
from w2v_core.engine.engine import Engine
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]

REPEATS = 50


@pytest.fixture(autouse=True)
def frozen_garbage() -> Iterator[None]:
    """A capture collects garbage; what the libraries hold is none."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_fifty_repeats_leave_streams_memory_and_slots_as_they_were(
    hpu: Runtime, hpu_backend: HpuBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = short_utterances()
    assert len(utterances) == 73
    engine = cheap_engine(hpu_backend, monkeypatch, graphs=True)
    state = resources(hpu, engine)
    captures = engine.runner.captures
    before = hpu_backend.counters()
    first = engine.transcribe(utterances)
    peak_bytes = hpu.peak_bytes
    last = first
    for _ in range(REPEATS):
        last = engine.transcribe(utterances)
        assert resources(hpu, engine) == state
    assert hpu.peak_bytes == peak_bytes
    assert last.texts == first.texts
    assert hpu_backend.counters() - before == Counters(compile_s=0.0)
    assert engine.runner.captures == captures == len(engine.buckets)
    assert hpu.num_streams_made <= MAX_STREAMS


def resources(hpu: Runtime, engine: Engine) -> dict[str, int]:
    return {
        "streams": hpu.num_streams_made,
        "pinned_bytes": hpu.pinned.reserved_bytes,
        "pinned_in_use_bytes": hpu.pinned.in_use_bytes,
        "device_bytes": hpu.in_use_bytes,
        "free_slots": len(engine.ring.free),
        "slot_host_bytes": engine.ring.host_bytes,
        "captures": hpu.stats["captures"],
    }


def test_cheap_forward_agrees_with_the_cpu(
    hpu_backend: HpuBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = short_utterances()
    on_hpu = cheap_engine(hpu_backend, monkeypatch, graphs=True).transcribe(utterances)
    on_cpu = cheap_engine(CpuBackend(), monkeypatch).transcribe(utterances)
    assert on_hpu.texts == on_cpu.texts
    assert len(set(on_cpu.texts.values())) > 70  # a mix-up would be seen


def test_canary_transcripts_in_replay_equal_the_stored_ones(hpu_backend: HpuBackend) -> None:
    """All 73 utterances, float32, against the plain Hugging Face forward's transcripts."""
    golden = json.loads((files("w2v_core.model.canary") / "base" / "goldens.json").read_text())
    engine = Engine(
        load_checkpoint(parse_model("canary-base")),
        hpu_backend,
        EngineConfig(graphs=True, plan=BatchPlan(kind="optimal", num_buckets=5, batch_size=2)),
    )
    utterances = canary_utterances()
    engine.warm_up([u.num_samples for u in utterances])
    before = hpu_backend.counters()
    found = engine.transcribe(utterances)
    assert hpu_backend.counters() - before == Counters(compile_s=0.0)
    assert found.texts == {i: golden["goldens"][i]["hypothesis"] for i in found.texts}
    assert len(found.texts) == len(utterances)
