"""The engine accounts for every utterance, exactly once, whatever goes wrong."""

import threading

import numpy as np
import pytest
import torch

from tests.helpers import compilers
from tests.helpers.engines import (
    make_engine,
    make_utterance,
    make_utterances,
    warm_engine,
)
from w2v_core.backends.cpu import CpuBackend
from w2v_core.config import BatchPlan
from w2v_core.engine import ctc
from w2v_core.engine.slots import Slot
from w2v_core.errors import ConfigError, EngineError, GraphError
from w2v_core.types import Batch, Bucket

LENGTHS = [400, 4_000, 7_999, 16_000, 720, 9_000, 12_345]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_hypotheses_follow_the_order_of_the_input():
    utterances = make_utterances(LENGTHS)

    transcription = warm_engine(utterances).transcribe(utterances)

    assert [h.utterance_id for h in transcription.hypotheses] == [
        u.utterance_id for u in utterances
    ]


@pytest.mark.parametrize("num_slots", [1, 2, 4])
@pytest.mark.parametrize("decode_workers", [0, 1, 3])
def test_transcripts_do_not_depend_on_slots_or_workers(num_slots, decode_workers):
    utterances = make_utterances(LENGTHS)
    expected = warm_engine(utterances).transcribe(utterances).texts

    engine = warm_engine(utterances, num_slots=num_slots, decode_workers=decode_workers)

    assert engine.transcribe(utterances).texts == expected


def test_transcripts_do_not_depend_on_order():
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances)

    assert engine.transcribe(utterances).texts == engine.transcribe(utterances[::-1]).texts


def test_an_utterance_below_one_frame_gets_the_empty_hypothesis():
    utterances = [*make_utterances(LENGTHS), make_utterance("short", 399)]

    hypothesis = warm_engine(utterances).transcribe(utterances).hypotheses[-1]

    assert (hypothesis.utterance_id, hypothesis.text, hypothesis.num_frames) == ("short", "", 0)


def test_a_set_of_short_utterances_only_is_transcribed():
    utterances = [make_utterance("short", 100)]

    assert warm_engine(utterances).transcribe(utterances).texts == {"short": ""}


def test_padding_efficiency_counts_padding_rows():
    utterances = make_utterances([4_000] * 3)
    engine = warm_engine(utterances, plan=BatchPlan(kind="optimal", num_buckets=1, batch_size=2))

    transcription = engine.transcribe(utterances)

    assert transcription.padded_samples == 2 * 2 * engine.buckets[0].num_samples
    assert transcription.real_samples == 3 * 4_000


def test_memory_of_the_ring_does_not_grow_with_the_corpus():
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances)
    before = (engine.ring.host_bytes, len(engine.ring.free))

    for _ in range(5):
        engine.transcribe(utterances)

    assert (engine.ring.host_bytes, len(engine.ring.free)) == before


def test_a_failing_forward_names_the_utterances_of_its_batch_and_loses_no_other():
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances)
    victim = max(engine.buckets)
    step = engine.runner._replays[victim]

    def fail(waveforms, num_samples):
        raise RuntimeError("device lost")

    engine.runner._replays[victim] = fail
    transcription = engine.transcribe(utterances, record_failures=True)
    engine.runner._replays[victim] = step

    failed = {f.utterance_id for f in transcription.failures}
    assert failed
    assert failed | set(transcription.texts) == {u.utterance_id for u in utterances}
    assert not failed & set(transcription.texts)
    assert all(f.stage == "compute" for f in transcription.failures)
    assert "device lost" in transcription.failures[0].error


def test_a_failing_decoder_is_raised_with_the_ids(monkeypatch):
    utterances = make_utterances([4_000, 5_000])
    engine = warm_engine(utterances)

    def fail(*arguments):
        raise ValueError("cannot spell")

    monkeypatch.setattr(ctc, "decode_batch", fail)
    with pytest.raises(EngineError, match="cannot spell") as raised:
        engine.transcribe(utterances)

    assert set(raised.value.utterance_ids) == {"u0", "u1"}
    assert raised.value.stage == "decode"


def test_the_engine_works_again_after_a_failure(monkeypatch):
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances)
    expected = engine.transcribe(utterances).texts
    with monkeypatch.context() as patch:
        patch.setattr(CpuBackend, "download", lambda *a, **k: 1 / 0)
        failures = engine.transcribe(utterances, record_failures=True).failures

    assert len(failures) == len(utterances)
    assert engine.transcribe(utterances).texts == expected


def test_nan_logits_fail_the_utterance_by_name():
    utterances = make_utterances([4_000, 5_000])
    engine = warm_engine(utterances)
    engine.runner.step.model.register_forward_hook(
        lambda module, inputs, logits: logits.index_fill(0, torch.tensor([0]), float("nan"))
    )

    transcription = engine.transcribe(utterances, record_failures=True)

    assert [f.utterance_id for f in transcription.failures] == ["u1"]  # sorted by length
    assert "NaN" in transcription.failures[0].error


def test_an_error_of_the_stream_itself_is_raised_and_frees_the_slots():
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances)

    def broken():
        yield from utterances[:3]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        engine.transcribe(broken())

    assert len(engine.ring.free) == engine.config.num_slots


def test_no_worker_thread_outlives_a_pass():
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances, decode_workers=3)
    engine.transcribe(utterances)

    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_a_cold_engine_says_so():
    with pytest.raises(ConfigError, match="warm_up"):
        make_engine().transcribe(make_utterances([4_000]))


def test_a_bucket_that_was_never_warmed_up_is_refused_in_a_strict_run():
    utterances = make_utterances([4_000])
    engine = warm_engine(utterances)
    engine.runner._replays.clear()

    failure = engine.transcribe(utterances, record_failures=True).failures[0]

    assert "never warmed up" in failure.error


def test_graphs_on_a_device_without_graphs_are_refused(monkeypatch):
    compilers.use(monkeypatch, compilers.NONE)

    with pytest.raises(GraphError, match="graphs off"):
        make_engine(graphs=True)


def test_logits_have_the_utterances_own_frames():
    utterances = make_utterances(LENGTHS)

    logits = warm_engine(utterances).logits(utterances)

    assert {i: v.shape[0] for i, v in logits.items()} == {
        u.utterance_id: (u.num_samples - 400) // 320 + 1 for u in utterances
    }


def test_frame_ids_are_the_arg_max_of_the_logits():
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances)
    logits = engine.logits(utterances)

    hypotheses = engine.transcribe(utterances, keep_frame_ids=True).hypotheses

    assert all(np.array_equal(h.frame_ids, logits[h.utterance_id].argmax(-1)) for h in hypotheses)


def test_a_pass_that_hands_its_logits_over_computes_the_same():
    utterances, kept = make_utterances(LENGTHS), {}
    engine = warm_engine(utterances)
    plain = engine.transcribe(utterances, keep_frame_ids=True).hypotheses

    watched = engine.transcribe(utterances, keep_frame_ids=True, on_logits=kept.update).hypotheses

    logits = engine.logits(utterances)
    assert [h.text for h in watched] == [h.text for h in plain]
    assert all(
        np.array_equal(a.frame_ids, b.frame_ids) for a, b in zip(watched, plain, strict=True)
    )
    assert logits.keys() == kept.keys()
    assert all(np.array_equal(values, kept[i]) for i, values in logits.items())


class _FailingEvent:
    """An event that reports an asynchronous device error at the host's nth look."""

    def __init__(self, looks):
        self._looks = looks

    def query(self):
        self._looks -= 1
        if self._looks == 0:
            raise RuntimeError("Exception in Launch thread")
        return self._looks < 0


@pytest.mark.parametrize("look", [1, 2, 3])
def test_an_asynchronous_device_error_names_the_utterances_of_its_batch(monkeypatch, look):
    utterances = make_utterances(LENGTHS)
    engine = warm_engine(utterances)
    monkeypatch.setattr(CpuBackend, "download", lambda *a, **k: _FailingEvent(look))

    transcription = engine.transcribe(utterances, record_failures=True)

    assert {f.utterance_id for f in transcription.failures} == {u.utterance_id for u in utterances}
    assert {f.stage for f in transcription.failures} <= {"d2h", "compute"}
    assert len(engine.ring.free) == engine.config.num_slots


def test_ids_outside_the_vocabulary_fail_the_utterance_by_name(monkeypatch):
    utterances = make_utterances([4_000, 5_000])
    engine = warm_engine(utterances)
    download = CpuBackend.download

    def torn(self, source, destination, *, lane):
        event = download(self, source, destination, lane=lane)
        destination[0, 3] = 99
        return event

    monkeypatch.setattr(CpuBackend, "download", torn)
    failures = engine.transcribe(utterances, record_failures=True).failures

    assert len(failures) == 1
    assert "id 99 at frame 3 is outside the vocabulary" in failures[0].error


def test_a_slot_keeps_nothing_of_its_earlier_batch():
    """The exact forward masks padding; the stock one reads it."""
    bucket = Bucket.holding(8_000, batch_size=2)
    slot = Slot(CpuBackend(), index=0, buckets=(bucket,))
    slot.upload(Batch(bucket=bucket, utterances=tuple(make_utterances([8_000, 8_000]))))

    waveforms, num_samples = slot.upload(
        Batch(bucket=bucket, utterances=(make_utterance("short", 500),))
    )

    assert num_samples.tolist() == [500, 0]
    assert not waveforms[0, 500:].any()
    assert not waveforms[1].any()
