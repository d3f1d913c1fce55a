"""Injected faults reach the caller, late where the device is late, and never as a transcript."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests import hpusim
from tests.helpers.engines import make_utterances
from tests.hpusim.leg import LENGTHS, PLAN, checkpoint, reference
from w2v_core.backends.hpu import HpuBackend
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.config import EngineConfig
from w2v_core.engine.engine import Engine
from w2v_core.errors import BucketOverflowError
from w2v_core.types import Batch, Transcription

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


@pytest.fixture
def engine(hpu: hpusim.Runtime) -> Iterator[Engine]:
    """A warm engine with graphs on the simulated device."""
    gc.freeze()
    config = EngineConfig(plan=PLAN, graphs=True, event_timeout_s=0.05)
    made = Engine(checkpoint(), HpuBackend(load_bridge()), config)
    made.warm_up(LENGTHS)
    yield made
    gc.unfreeze()


def transcribe(engine: Engine) -> Transcription:
    return engine.transcribe(make_utterances(LENGTHS), record_failures=True, keep_frame_ids=True)


def wrong(found: Transcription) -> list[str]:
    """Utterances with a hypothesis that is not the reference's."""
    expected: dict[str, Any] = reference()
    return [
        h.utterance_id
        for h in found.hypotheses
        if h.frame_ids is None or h.frame_ids.tolist() != expected[h.utterance_id]
    ]


def test_op_that_fails_on_the_device_fails_utterances_by_id(
    hpu: hpusim.Runtime, engine: Engine
) -> None:
    hpu.faults.fail_at["linear"] = (3, RuntimeError("ECC error"))
    found = transcribe(engine)
    assert found.failures
    assert any("ECC error" in failure.error for failure in found.failures)
    assert len(found.failures) + len(found.hypotheses) == len(LENGTHS)


def test_no_transcript_of_a_failed_batch_is_returned(hpu: hpusim.Runtime, engine: Engine) -> None:
    """Buffers after a failure are poison; what is returned is right or is a failure."""
    hpu.faults.fail_at["linear"] = (3, RuntimeError("ECC error"))
    found = transcribe(engine)
    assert 0 < len(found.hypotheses) < len(LENGTHS)
    assert wrong(found) == []


def test_failed_launch_fails_utterances_by_id(hpu: hpusim.Runtime, engine: Engine) -> None:
    hpu.faults.failing_replays[hpu.stats["replays"] + 2] = RuntimeError("recipe")
    found = transcribe(engine)
    assert any("Exception in Launch thread" in failure.error for failure in found.failures)
    assert wrong(found) == []


def test_engine_works_again_after_a_failure(hpu: hpusim.Runtime, engine: Engine) -> None:
    hpu.faults.fail_at["linear"] = (3, RuntimeError("ECC error"))
    assert transcribe(engine).failures
    again = transcribe(engine)
    assert not again.failures
    assert wrong(again) == []


def test_lost_event_is_a_failure_not_a_hang(
    hpu: hpusim.Runtime, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch fails with its slot, lane and run; the device is not waited for again."""
    waits: list[None] = []
    monkeypatch.setattr(HpuBackend, "synchronize", lambda _self: waits.append(None))
    hpu.faults.lost_events.add(hpu.stats["events"] + 2)
    found = transcribe(engine)
    assert len(found.failures) + len(found.hypotheses) == len(LENGTHS)
    assert wrong(found) == []
    first = found.failures[0].error
    assert re.search(r"the event of slot \d \(copy lane \d, run \d+, bucket 2 x \d+", first)
    assert waits == []
    assert engine.ring.lost is not None
    assert "_retire_" in engine.ring.lost.stacks
    again = transcribe(engine)
    assert len(again.failures) == len(LENGTHS)
    assert all("not begun" in failure.error for failure in again.failures)


def test_slow_copy_stream_changes_no_transcript(hpu: hpusim.Runtime, engine: Engine) -> None:
    hpu.faults.slow_streams.update({sid: 1000.0 for sid in range(1, 9)})
    found = transcribe(engine)
    assert not found.failures
    assert wrong(found) == []


def test_recompilation_is_counted(hpu: hpusim.Runtime, engine: Engine) -> None:
    before = engine.backend.counters()
    hpu.faults.recompile_replays = 1
    transcribe(engine)
    assert (engine.backend.counters() - before).compilations == 1


def test_fallback_in_a_capture_is_an_error(hpu: hpusim.Runtime) -> None:
    hpu.faults.fallback_ops.add("gelu")
    cold = Engine(checkpoint(), HpuBackend(load_bridge()), EngineConfig(plan=PLAN, graphs=True))
    with pytest.raises(RuntimeError, match="cpu fallback is not supported"):
        cold.warm_up(LENGTHS)


def test_fallback_without_graphs_is_counted(hpu: hpusim.Runtime) -> None:
    hpu.faults.fallback_ops.add("gelu")
    backend = HpuBackend(load_bridge())
    plain = Engine(checkpoint(), backend, EngineConfig(plan=PLAN))
    plain.warm_up(LENGTHS)
    before = backend.counters()
    found = transcribe(plain)
    assert (backend.counters() - before).cpu_fallbacks > 0
    assert wrong(found) == []


def test_exhausted_device_memory_is_an_error_in_warm_up(hpu: hpusim.Runtime) -> None:
    backend = HpuBackend(load_bridge())
    cold = Engine(checkpoint(), backend, EngineConfig(plan=PLAN, graphs=True))
    hpu.faults.memory_limit_bytes = hpu.in_use_bytes + 1000
    with pytest.raises(RuntimeError, match="out of device memory"):
        cold.warm_up(LENGTHS)


def test_exhausted_device_memory_in_a_run_fails_utterances_by_id(
    hpu: hpusim.Runtime, engine: Engine
) -> None:
    hpu.faults.memory_limit_bytes = hpu.in_use_bytes + 2 * 4 * 6_000  # a batch of short ones
    found = transcribe(engine)
    assert all("out of device memory" in failure.error for failure in found.failures)
    assert min(len(found.failures), len(found.hypotheses)) > 0
    assert len(found.failures) + len(found.hypotheses) == len(LENGTHS)
    assert wrong(found) == []
    hpu.faults.memory_limit_bytes = None
    assert not transcribe(engine).failures


def test_batch_larger_than_its_bucket_is_refused(hpu: hpusim.Runtime, engine: Engine) -> None:
    bucket = engine.buckets[0]
    too_many = tuple(make_utterances([4000] * (bucket.batch_size + 1)))
    with pytest.raises(BucketOverflowError, match="batch has 3 utterances; its bucket holds 2"):
        engine.ring.free[0].upload(Batch(bucket=bucket, utterances=too_many))


def test_utterance_longer_than_every_bucket_is_refused(hpu: hpusim.Runtime, engine: Engine) -> None:
    with pytest.raises(BucketOverflowError, match="20000"):
        engine.transcribe(make_utterances([4000, 20_000]))
    assert not transcribe(engine).failures


def test_lost_driver_fails_every_utterance(hpu: hpusim.Runtime, engine: Engine) -> None:
    hpu.faults.device_lost = True
    found = transcribe(engine)
    assert len(found.failures) == len(LENGTHS)
    assert "device lost" in found.failures[0].error
    hpu.faults.device_lost = False


def test_unwarmed_bucket_is_refused_in_a_strict_run(hpu: hpusim.Runtime, engine: Engine) -> None:
    engine.runner._replays.clear()
    found = transcribe(engine)
    assert all("never warmed up" in failure.error for failure in found.failures)
    assert len(found.failures) == len(LENGTHS)
    torch.hpu.synchronize()
