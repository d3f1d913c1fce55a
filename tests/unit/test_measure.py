"""A record is valid only where everything that makes its figures true holds."""

import hashlib
import json

import pytest
import torch

from tests.helpers.engines import make_engine, make_utterance
from w2v_core.backends.base import Counters
from w2v_core.backends.cpu import CpuBackend
from w2v_core.bench import stages
from w2v_core.bench.cell_record import Provenance
from w2v_core.bench.measure import measure_cell
from w2v_core.bench.rounds import Round, time_rounds
from w2v_core.bench.stages import measure_stages
from w2v_core.config import BatchPlan
from w2v_core.data.catalog import Corpus, parse_dataset
from w2v_core.errors import RecordError
from w2v_core.records.cell import form_cells
from w2v_core.records.record import _SINCE, from_json, to_json
from w2v_core.types import FRAME_STRIDE, Exclusion, num_frames

PLAN = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)
PROVENANCE = Provenance(
    run_id="night", created_utc="2026-01-01T00:00:00Z", release="dev", command="", environment={}
)
LENGTHS = [4_000, 8_000, 5_000]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_corpus(*, expected=None, exclusions=()):
    utterances = tuple(
        make_utterance(f"7-1-{i}", n, reference="A WORD") for i, n in enumerate(LENGTHS)
    )
    ids = tuple(u.utterance_id for u in utterances)
    return Corpus(
        spec=parse_dataset("librispeech:."),
        utterances=utterances,
        exclusions=exclusions,
        expected=ids if expected is None else expected,
    )


def measure(*, corpus=None, timer=None, engine=None):
    cell = form_cells(
        models=[("tiny", "tiny")],
        dtypes=["float32"],
        datasets=[("librispeech:.", "here")],
        graphs=[False],
        forwards=["exact"],
        plan=PLAN,
    )[0]
    return measure_cell(
        engine or make_engine(plan=PLAN),
        corpus or make_corpus(),
        cell,
        timer=timer or time_rounds(2),
        provenance=PROVENANCE,
    )


def test_a_sound_cell_is_valid():
    record = measure()

    assert record.valid, record.invalid_reasons


def test_rtfx_is_measured_audio_over_the_median_round():
    def timer(run):
        return [Round(transcription=run(), wall_s=s) for s in (4.0, 1.0, 2.0)]

    record = measure(timer=timer)

    assert record.rtfx == pytest.approx(sum(LENGTHS) / 16_000 / 2.0)


def test_a_record_survives_json():
    record = measure()

    assert from_json(to_json(record)) == record


def test_an_excluded_utterance_is_accounted_for():
    exclusion = Exclusion(utterance_id="7-1-9", reason="longer than 60 s")
    ids = ("7-1-0", "7-1-1", "7-1-2", "7-1-9")

    record = measure(corpus=make_corpus(expected=ids, exclusions=(exclusion,)))

    assert record.valid
    assert record.excluded == {"7-1-9": "longer than 60 s"}


def test_a_lost_utterance_makes_the_record_invalid():
    record = measure(corpus=make_corpus(expected=("7-1-0", "7-1-1", "7-1-2", "7-1-9")))

    assert not record.valid
    assert "lost ['7-1-9']" in record.invalid_reasons[0]


def test_a_failed_utterance_makes_the_record_invalid_and_counts_as_deletions(monkeypatch):
    engine = make_engine(plan=PLAN)
    engine.runner.step.model.register_forward_hook(
        lambda module, inputs, logits: logits * float("nan")
    )

    record = measure(engine=engine)

    assert set(record.failed) == {"7-1-0", "7-1-1", "7-1-2"}
    assert record.deletions == record.reference_words == 6
    assert not record.valid


def test_a_round_with_other_transcripts_makes_the_record_invalid():
    engine = make_engine(plan=PLAN, seed=1)

    def timer(run):
        good = Round(transcription=run(), wall_s=1.0)
        with torch.no_grad():
            engine.runner.step.model.register_forward_hook(lambda module, inputs, logits: -logits)
        return [good, Round(transcription=run(), wall_s=1.0)]

    record = measure(engine=engine, timer=timer)

    assert not record.valid
    assert "round 1 returned other transcripts" in record.invalid_reasons[0]


def test_no_round_makes_the_record_invalid():
    record = measure(timer=lambda run: [])

    assert not record.valid
    assert "steady state: no timed round" in record.invalid_reasons


@pytest.mark.parametrize(
    ("counters", "reason"),
    [
        (Counters(compilations=1), "1 compilations in the timed region"),
        (Counters(cpu_fallbacks=2), "2 cpu fallbacks in the timed region"),
    ],
)
def test_an_unsteady_timed_region_makes_the_record_invalid(monkeypatch, counters, reason):
    readings = iter([Counters()] * 3 + [counters])  # around the warm-up, then around the rounds
    monkeypatch.setattr(CpuBackend, "counters", lambda self: next(readings))

    record = measure()

    assert f"steady state: {reason}" in record.invalid_reasons


def test_every_utterance_and_every_padded_sample_is_in_its_bucket():
    passes = []

    def timer(run):
        passes.append(run())
        return [Round(transcription=passes[0], wall_s=1.0)]

    buckets = measure(timer=timer).buckets

    assert sum(b.num_utterances for b in buckets) == len(LENGTHS)
    assert sum(b.real_frames for b in buckets) == sum(num_frames(n) for n in LENGTHS)
    assert passes[0].padded_samples == sum(
        b.num_batches * b.batch_size * (FRAME_STRIDE * b.num_frames + 80) for b in buckets
    )


def test_a_buckets_efficiency_counts_padding_rows():
    (short, long) = measure().buckets

    assert (short.num_batches, short.batch_size, short.num_utterances) == (1, 2, 2)
    assert (long.num_batches, long.batch_size, long.num_utterances) == (1, 2, 1)
    assert long.padding_efficiency == pytest.approx(24 / (2 * long.num_frames))


def test_each_stage_is_timed_alone_even_where_the_device_works_behind_the_hosts_back(monkeypatch):
    """A clock that only moves with work: enqueued work costs at the next synchronisation."""
    engine = make_engine(plan=PLAN)
    engine.warm_up(LENGTHS)
    clock = SimulatedClock(engine, monkeypatch)

    found = measure_stages(engine, make_corpus().utterances)

    batches = sum(b.num_batches for b in found.buckets)
    assert found.serial_stage_s == {
        "h2d": batches * 2 * clock.UPLOAD_S,  # waveforms and lengths
        "compute": batches * clock.COMPUTE_S,
        "d2h": batches * clock.DOWNLOAD_S,
        "decode": batches * clock.DECODE_S,
    }


class SimulatedClock:
    UPLOAD_S, COMPUTE_S, DOWNLOAD_S, DECODE_S = 1.0, 100.0, 10_000.0, 1_000_000.0

    def __init__(self, engine, monkeypatch):
        self.now_s = self.pending_s = 0.0
        monkeypatch.setattr(stages.time, "perf_counter", lambda: self.now_s)
        for name, cost_s in (("upload", self.UPLOAD_S), ("download", self.DOWNLOAD_S)):
            call = getattr(engine.backend, name)
            monkeypatch.setattr(engine.backend, name, self.enqueue(call, cost_s))
        replays = engine.runner._replays
        replays.update({b: self.enqueue(r, self.COMPUTE_S) for b, r in replays.items()})
        monkeypatch.setattr(engine.backend, "synchronize", self.wait)
        monkeypatch.setattr(stages, "transcripts", self.decode)

    def enqueue(self, call, cost_s):
        def enqueued(*arguments, **options):
            self.pending_s += cost_s
            return call(*arguments, **options)

        return enqueued

    def wait(self):
        self.now_s += self.pending_s
        self.pending_s = 0.0

    def decode(self, ids, frames, vocabulary):
        self.now_s += self.DECODE_S


def test_a_failed_utterance_leaves_no_stages(monkeypatch):
    engine = make_engine(plan=PLAN)
    engine.runner.step.model.register_forward_hook(
        lambda module, inputs, logits: logits * float("nan")
    )

    assert measure(engine=engine).serial_stage_s is None


def test_a_record_of_the_first_schema_version_is_read_without_what_came_later():
    stored = to_json(measure())
    stored["record"].update(schema_version=1)
    for name in _SINCE:
        del stored["record"][name]
    text = json.dumps(stored["record"], sort_keys=True, separators=(",", ":"))
    stored["sha256"] = hashlib.sha256(text.encode()).hexdigest()

    record = from_json(stored)

    assert (record.buckets, record.serial_stage_s, record.energy_j) == (None, None, None)
    assert record.notes == ()
    assert from_json(to_json(record)) == record


def test_a_field_cannot_go_missing_under_the_current_schema_version():
    stored = to_json(measure())
    del stored["record"]["buckets"]
    text = json.dumps(stored["record"], sort_keys=True, separators=(",", ":"))
    stored["sha256"] = hashlib.sha256(text.encode()).hexdigest()

    with pytest.raises(RecordError, match="buckets"):
        from_json(stored)
