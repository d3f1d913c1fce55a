"""Where a fleet's speed bends: ``python -m tests.fleet.scaling --speed S --start S [--sets N]``.

Deals test-clean's lengths out to cards as the fleet does, forms the batches of each shard, and
takes a batch's time as its padded audio over the speed: a static shape costs the same whatever is
in it. Adds what a process takes before its first round, and the merging of so many records,
measured here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from tests.benchmarks.workload import corpus_lengths
from tests.helpers.records import make_record, make_scores
from tests.helpers.shards import cut
from w2v_core.config import BatchPlan
from w2v_core.data.sharding import assign
from w2v_core.engine.bucketing import form_batches, plan_buckets
from w2v_core.fleet.merge import merge_runs
from w2v_core.records.record import to_json
from w2v_core.records.store import StoredRun
from w2v_core.types import SAMPLE_RATE_HZ, Utterance

CARDS = (1, 2, 4, 8, 64, 512)
PLAN = BatchPlan(kind="optimal", at_most=True)
SILENCE = np.zeros(max(corpus_lengths()), np.float32)


def padded_s(lengths: list[int]) -> float:
    """Return the seconds of audio of all static shapes that a shard runs."""
    kinds = min(PLAN.num_buckets, len(lengths))
    buckets = plan_buckets(lengths, BatchPlan(kind="optimal", num_buckets=kinds))
    utterances = [
        Utterance(utterance_id=str(i), waveform=SILENCE[:n]) for i, n in enumerate(lengths)
    ]
    batches = form_batches(iter(utterances), buckets, window=512)
    return sum(b.bucket.num_samples * b.bucket.batch_size for b in batches) / SAMPLE_RATE_HZ


def merging(cards: int, utterances: int) -> tuple[float, int]:
    """Return the seconds of merging as many shards, and the bytes of their records."""
    whole = make_record(scores=make_scores(utterances=utterances, words=20))
    ids = [s.utterance_id for s in whole.scores]
    shards = cut(whole, [ids[n::cards] for n in range(cards)])
    size = sum(len(json.dumps(to_json(s))) for s in shards)
    runs = [StoredRun(source=str(i), records=(s,)) for i, s in enumerate(shards)]
    started_s = time.process_time()
    merge_runs(runs)
    return time.process_time() - started_s, size


def main() -> None:
    """Print a row for each number of cards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=float, required=True, help="padded audio s per s, one card")
    parser.add_argument("--start", type=float, required=True, help="s before a process measures")
    parser.add_argument("--sets", type=int, default=1, help="so many times test-clean")
    given = parser.parse_args()
    lengths = corpus_lengths() * given.sets
    samples = {str(i): n for i, n in enumerate(lengths)}
    alone = 0.0
    heads = ("cards", "utterances", "longest / mean", "padding eff.", "pass s", "pass ratio")
    rows = [" | ".join((*heads, "with start", "merge s", "records MB"))]
    for cards in CARDS:
        shards = [[samples[i] for i in shard] for shard in assign(samples, cards)]
        audio = [sum(s) / SAMPLE_RATE_HZ for s in shards]
        padded = [padded_s(s) for s in shards]
        slowest = max(padded) / given.speed
        alone = alone or slowest
        merge_s, size = merging(cards, len(lengths))
        total, first = slowest + given.start + merge_s, alone + given.start
        rows.append(
            f"{cards} | {len(lengths) // cards} | {max(audio) / np.mean(audio):.3f} | "
            f"{sum(audio) / sum(padded):.3f} | {slowest:.2f} | {alone / slowest:.1f} | "
            f"{first / total:.1f} | {merge_s:.2f} | {size / 1e6:.1f}"
        )
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
