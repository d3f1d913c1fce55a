"""Stages of a plan with many buckets are timed on some of them."""

import pytest

from w2v_core.bench import stages
from w2v_core.types import Batch, Bucket

BUCKETS = [Bucket.holding(16_000 * n, batch_size=2) for n in range(1, 12)]


@pytest.mark.parametrize("count", range(1, 12))
def test_the_smallest_and_the_largest_are_timed_and_no_more_than_the_stated_number(count):
    chosen = stages.sampled(BUCKETS[:count])

    assert {BUCKETS[0], BUCKETS[count - 1]} <= set(chosen)
    assert len(set(chosen)) == len(chosen) == min(count, stages.SAMPLED_BUCKETS)


def test_what_costs_in_proportion_to_its_frames_is_summed_exactly(monkeypatch):
    groups = {b: [Batch(bucket=b, utterances=())] * (i % 3 + 1) for i, b in enumerate(BUCKETS)}
    timed = []

    def cost(_engine, batch):
        timed.append(batch.bucket)
        return {stage: 1e-3 * 2 * batch.bucket.num_frames for stage in stages.SERIAL_STAGES}

    monkeypatch.setattr(stages, "_by_bucket", lambda *_: groups)
    monkeypatch.setattr(stages, "_time_stages", cost)

    totals = stages.measure_stages(None, ()).serial_stage_s

    frames = sum(2 * b.num_frames * len(batches) for b, batches in groups.items())
    assert totals == pytest.approx(dict.fromkeys(stages.SERIAL_STAGES, 1e-3 * frames))
    assert len(timed) == stages.SAMPLED_BUCKETS
