"""What the host does beside the forward, in microseconds of one core per audio second."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.workload import corpus_lengths, make_utterances
from tests.canary.architecture import SYMBOLS
from w2v_core.backends.cpu import CpuBackend, keep_freed_memory
from w2v_core.config import BatchPlan
from w2v_core.data.audio import scaled
from w2v_core.engine.bucketing import form_batches, plan_buckets
from w2v_core.engine.ctc import decode_batch
from w2v_core.engine.slots import SlotRing
from w2v_core.types import Vocabulary, num_frames

NUM_UTTERANCES = 64
VOCABULARY = Vocabulary(tokens=tuple(SYMBOLS), blank_id=0, delimiter_id=4)


@pytest.fixture(scope="module")
def utterances():
    keep_freed_memory()
    return make_utterances(NUM_UTTERANCES)


@pytest.fixture(scope="module")
def batches(utterances):
    buckets = plan_buckets(corpus_lengths(), BatchPlan(kind="sorted"))
    return list(form_batches(map(scaled, utterances), buckets, window=NUM_UTTERANCES))


@pytest.fixture(scope="module")
def slot(batches):
    return SlotRing(CpuBackend(), num_slots=1, buckets=tuple({b.bucket for b in batches})).free[0]


def scale_all(utterances, batches, slot):
    for utterance in utterances:
        scaled(utterance)


def form_all(utterances, batches, slot):
    ready = [utterance for batch in batches for utterance in batch.utterances]
    buckets = {batch.bucket for batch in batches}
    for _ in form_batches(ready, tuple(buckets), window=NUM_UTTERANCES):
        pass


def stage_all(utterances, batches, slot):
    for batch in batches:
        slot.upload(batch)
        slot.clear()


def decode_all(utterances, batches, slot):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, len(SYMBOLS), 4_000, dtype=np.int32).repeat(2)[None]  # held two frames
    for batch in batches:
        frames = [num_frames(utterance.num_samples) for utterance in batch.utterances]
        decode_batch(ids[:, : max(frames)].repeat(len(frames), axis=0), frames, VOCABULARY)


@pytest.mark.benchmark(group="host side, one pass")
@pytest.mark.parametrize("stage", [scale_all, form_all, stage_all, decode_all])
def test_host_stage(benchmark, utterances, batches, slot, stage):
    audio_s = sum(utterance.audio_s for utterance in utterances)
    benchmark.pedantic(stage, args=(utterances, batches, slot), rounds=9, warmup_rounds=2)

    median_s = benchmark.stats.stats.median
    benchmark.extra_info["us_per_audio_s"] = 1e6 * median_s / audio_s
    assert sum(len(batch.utterances) for batch in batches) == NUM_UTTERANCES
