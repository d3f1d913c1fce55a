"""How a pass uses its buckets, and where its time goes when no two stages overlap."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from w2v_core.backends.watchdog import settle
from w2v_core.engine.ctc import transcripts
from w2v_core.engine.engine import Engine
from w2v_core.records.record import SERIAL_STAGES, BucketUse
from w2v_core.types import Batch, Bucket, Utterance, num_frames

SAMPLED_BUCKETS = 4
"""A plan by sorting has a bucket a batch: timing each would be a further pass over the set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePass:
    """A pass taken apart."""

    buckets: tuple[BucketUse, ...]
    serial_stage_s: dict[str, float]


def measure_stages(engine: Engine, utterances: Sequence[Utterance]) -> StagePass:
    """Time one batch of every bucket stage by stage; blocks, and overlaps nothing.

    The host waits for the device after every stage, so each is timed alone: *h2d* is scaling
    into the slot's host buffer and the copy from there to the device, *compute* the forward with
    its arg-max, *d2h* the copy of the ids to the host, *decode* the CTC decoding. A bucket's
    fullest batch stands for all of its batches: a static shape costs the same whatever is in it,
    and packed batches of a bucket cost nearly the same. Of more than ``SAMPLED_BUCKETS`` buckets,
    that many are timed, from the smallest to the largest, and each other one is taken to cost what
    the nearest of them does, by frame.

    Args:
        engine: Warmed up, with no pass under way.
        utterances: The set, as ``Engine.transcribe`` takes it.
    """
    groups = _by_bucket(engine, utterances)
    timed = {
        bucket: _time_stages(engine, max(groups[bucket], key=lambda b: len(b.utterances)))
        for bucket in sampled(sorted(groups))
    }
    totals = dict.fromkeys(SERIAL_STAGES, 0.0)
    for bucket, batches in groups.items():
        nearest = min(timed, key=lambda other: abs(_frames(other) - _frames(bucket)))
        times = len(batches) * _frames(bucket) / _frames(nearest)
        for stage, seconds in timed[nearest].items():
            totals[stage] += seconds * times
    return StagePass(buckets=bucket_uses(groups), serial_stage_s=totals)


def sampled(buckets: Sequence[Bucket]) -> list[Bucket]:
    """Take ``SAMPLED_BUCKETS`` of the buckets, evenly spread, the first and the last among them."""
    last, steps = len(buckets) - 1, SAMPLED_BUCKETS - 1
    return [buckets[i] for i in sorted({round(last * k / steps) for k in range(steps + 1)})]


def _frames(bucket: Bucket) -> int:
    return bucket.batch_size * bucket.num_frames


def bucket_uses(groups: dict[Bucket, list[Batch]]) -> tuple[BucketUse, ...]:
    """Count batches, utterances and frames by bucket, smallest first."""
    return tuple(
        BucketUse(
            num_frames=bucket.num_frames,
            batch_size=bucket.batch_size,
            num_batches=len(batches),
            num_utterances=sum(len(batch.utterances) for batch in batches),
            real_frames=sum(num_frames(u.num_samples) for b in batches for u in b.utterances),
            padded_frames=len(batches) * bucket.batch_size * bucket.num_frames,
        )
        for bucket, batches in sorted(groups.items())
    )


def _by_bucket(engine: Engine, utterances: Sequence[Utterance]) -> dict[Bucket, list[Batch]]:
    """Form the batches that ``Engine.transcribe`` forms."""
    groups: dict[Bucket, list[Batch]] = {}
    for batch in engine.batches(utterances):
        groups.setdefault(batch.bucket, []).append(batch)
    return groups


def _time_stages(engine: Engine, batch: Batch) -> dict[str, float]:
    """Return the seconds of h2d, compute, d2h and decode for one batch."""
    marks: list[float] = []

    def mark(_stage: object = None) -> None:
        engine.backend.mark_step()
        settle(engine.backend, timeout_s=engine.config.event_timeout_s)
        marks.append(time.perf_counter())

    ids = engine.run_alone(batch, enter=mark)
    mark()
    transcripts(batch, ids, engine.checkpoint.vocabulary)
    mark()
    seconds = [end - start for start, end in pairwise(marks)]
    return dict(zip(SERIAL_STAGES, seconds, strict=True))
