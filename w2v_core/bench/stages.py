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
    and packed batches of a bucket cost nearly the same.

    Args:
        engine: Warmed up, with no pass under way.
        utterances: The set, as ``Engine.transcribe`` takes it.
    """
    groups = _by_bucket(engine, utterances)
    totals = dict.fromkeys(SERIAL_STAGES, 0.0)
    for batches in groups.values():
        fullest = max(batches, key=lambda batch: len(batch.utterances))
        for stage, seconds in _time_stages(engine, fullest).items():
            totals[stage] += seconds * len(batches)
    return StagePass(buckets=bucket_uses(groups), serial_stage_s=totals)


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
