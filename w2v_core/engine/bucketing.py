"""Which static shapes a corpus needs, and which utterances share a batch. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from w2v_core.config import BatchPlan, EngineConfig, PlanKind, parse_count
from w2v_core.errors import BucketOverflowError, ConfigError
from w2v_core.types import FRAME_STRIDE, RECEPTIVE_FIELD, Batch, Bucket, Utterance, stepped_frames

# On a host, packing pays from here on: base (94 M) is faster packed, the canary (4 M) sorted.
PACKED_PARAMETERS = 50_000_000
MAX_LEVELS = 2048  # distinct lengths the optimal plan distinguishes; 41 s at one frame each

if TYPE_CHECKING:
    from w2v_core.backends.base import Backend

Lengths = npt.NDArray[np.int64]


def resolve_plan(config: EngineConfig, backend: Backend, *, num_parameters: int) -> BatchPlan:
    """Return the plan with ``auto`` replaced by what the backend and the model's size prefer.

    A number of buckets that was asked for is kept: ``optimal`` is then the plan that uses it, and
    so it is where a host compiles each shape.

    Raises:
        ConfigError: packed batches with graphs: their shapes depend on the lengths.
    """
    plan = config.plan
    if plan.packed and config.graphs:
        raise ConfigError(
            "packed batches have no static shape, so that no graph can hold them; "
            "{use:batch_plan optimal}, or {use:graphs off}",
            field="batch_plan",
            value="packed",
        )
    is_compiled = backend.is_host and config.graphs
    if is_compiled and plan.any_rows:
        plan = replace(plan, batch_size=1)
    if plan.kind != "auto":
        return plan
    kind = backend.default_plan if plan.at_most and not is_compiled else "optimal"
    packs = backend.is_host and config.forward == "exact" and num_parameters >= PACKED_PARAMETERS
    if kind == "sorted" and packs:
        kind = "packed"
    return replace(plan, kind=cast("PlanKind", kind))


def plan_buckets(
    lengths: Sequence[int], plan: BatchPlan, *, frame_step: int = 1
) -> tuple[Bucket, ...]:
    """Choose the static shapes for utterances of these lengths; deterministic, smallest first.

    * ``quantile``: the seed's edges, ``np.quantile`` at 1/k, 2/k ... 1; ``batch_size`` rows each.
    * ``optimal``: the edges of least padding (dynamic programming); ``batch_size`` rows each.
    * ``sorted`` and ``packed``: a step of 16 frames (coarser for longer utterances) between shapes;
      as many rows each as fit a budget of ``batch_size`` utterances of median length.

    Edges that round to the same number of frames become one bucket, so there may be fewer than
    ``num_buckets``; sorted and packed plans ignore that number. Lengths below one frame (400
    samples) are ignored: the engine gives such utterances the empty hypothesis, see
    ``form_batches``.

    Args:
        lengths: Of all utterances to come, in samples, in any order.
        plan: ``kind`` must not be ``auto``, which only a backend can resolve.
        frame_step: Frames of a bucket are a multiple of it.

    Returns:
        Buckets of distinct ``num_samples``; none where no utterance has a frame.

    Raises:
        ConfigError: ``auto``, or a quantile or optimal plan with more buckets than utterances.
    """
    usable = np.sort(np.asarray([n for n in lengths if n >= RECEPTIVE_FIELD], dtype=np.int64))
    if plan.kind == "auto":
        raise ConfigError("batch plan 'auto' has no shapes; ask the backend's default_plan first")
    if not len(usable):
        return ()
    if plan.kind in ("sorted", "packed"):
        return _budget_buckets(usable, batch_size=plan.batch_size, step=frame_step)
    if plan.num_buckets > len(usable):
        raise ConfigError(
            f"{{flag:buckets}} is {plan.num_buckets} but there are only {len(usable)} utterances "
            f"of at least one frame; {{use:buckets {len(usable)}}} or fewer, or "
            "{use:batch_plan sorted}",
            field="buckets",
            value=plan.num_buckets,
        )
    choose = _quantile_edges if plan.kind == "quantile" else _optimal_edges
    edges = choose(usable, plan.num_buckets)
    return _distinct(edges, [plan.batch_size] * plan.num_buckets, step=frame_step)


def form_batches(
    utterances: Iterable[Utterance], buckets: Sequence[Bucket], *, window: int
) -> Iterator[Batch]:
    """Put every utterance into exactly one batch; lazy, deterministic, bounded look-ahead.

    Each utterance waits for its smallest bucket to fill. Once ``window`` of them wait, or the
    stream ends, the longest leave first, sorted by length: a batch's rows are filled with shorter
    utterances before padding rows, which a static shape computes anyway. The last batches may be
    partial; nothing is dropped to fill or empty one.

    Utterances below one frame (400 samples) never enter a batch, because no frame could be decoded:
    they are passed over here, and the engine gives them the empty hypothesis.

    Args:
        utterances: Read one at a time; at most ``window`` are held.
        buckets: Of distinct ``num_samples``, as ``plan_buckets`` returns them.
        window: Utterances that may wait, at least 1. A larger one pads less.

    Raises:
        BucketOverflowError: an utterance is longer than the largest bucket holds.
        ConfigError: ``window`` is below 1.
    """
    parse_count("window", window)
    return _form_batches(utterances, sorted(buckets), window=window)


def padding_efficiency(batches: Iterable[Batch]) -> float:
    """Return real samples over padded samples, padding rows counted; 1 without batches."""
    real = padded = 0
    for batch in batches:
        real += sum(utterance.num_samples for utterance in batch.utterances)
        padded += batch.bucket.num_samples * batch.bucket.batch_size
    return real / padded if padded else 1.0


def _form_batches(
    utterances: Iterable[Utterance], buckets: list[Bucket], *, window: int
) -> Iterator[Batch]:
    waiting: dict[Bucket, list[Utterance]] = {bucket: [] for bucket in buckets}
    num_waiting = 0
    for utterance in utterances:
        if utterance.num_samples < RECEPTIVE_FIELD:
            continue
        bucket = _smallest_bucket(utterance, buckets)
        queue = waiting[bucket]
        queue.append(utterance)
        num_waiting += 1
        if len(queue) == bucket.batch_size:
            yield Batch(bucket=bucket, utterances=tuple(queue))
            num_waiting -= len(queue)
            queue.clear()
        elif num_waiting == window:
            yield from _flush(waiting, buckets)
            num_waiting = 0
    yield from _flush(waiting, buckets)


def _flush(waiting: dict[Bucket, list[Utterance]], buckets: list[Bucket]) -> Iterator[Batch]:
    """Batch all that wait, longest first; equal lengths keep their order."""
    rest = [utterance for queue in waiting.values() for utterance in queue]
    rest.sort(key=lambda utterance: utterance.num_samples, reverse=True)
    for queue in waiting.values():
        queue.clear()
    start = 0
    while start < len(rest):
        bucket = _smallest_bucket(rest[start], buckets)
        yield Batch(bucket=bucket, utterances=tuple(rest[start : start + bucket.batch_size]))
        start += bucket.batch_size


def _smallest_bucket(utterance: Utterance, buckets: list[Bucket]) -> Bucket:
    for bucket in buckets:
        if utterance.num_samples <= bucket.capacity_samples:
            return bucket
    limit = buckets[-1].capacity_samples if buckets else 0
    raise BucketOverflowError(
        f"utterance {utterance.utterance_id!r} has {utterance.num_samples} samples; the largest "
        f"bucket holds {limit}; plan the buckets with its length"
    )


def _quantile_edges(lengths: Lengths, num_buckets: int) -> list[int]:
    quantiles = np.quantile(lengths, np.arange(1, num_buckets + 1) / num_buckets)
    return [ceil(edge) for edge in quantiles]


def _optimal_edges(lengths: Lengths, num_buckets: int) -> list[int]:
    """Choose edges that minimise the sum over utterances of their bucket's frames.

    The classic partition of a sorted list into k intervals, each paying its largest element times
    its size: ``best[k][j] = min over i < j of best[k-1][i] + level[j] * (count[j] - count[i])``.
    O(k levels^2), in numpy; levels are whole frames, coarser where there are over 2,048.
    """
    frames = np.asarray([Bucket.holding(int(n), batch_size=1).num_frames for n in lengths])
    step = ceil(int(frames[-1]) / MAX_LEVELS)
    levels, counts = np.unique(-(-frames // step) * step, return_counts=True)
    ends = np.cumsum(counts)  # utterances up to and with each level
    starts = np.concatenate(([0], ends[:-1]))
    # cost[j, i]: one bucket for levels i..j
    cost = levels[:, None] * (ends[:, None] - starts[None, :]).astype(np.float64)
    cost[np.triu_indices(len(levels), 1)] = np.inf
    best = cost[:, 0]
    cuts: list[npt.NDArray[np.intp]] = []
    for _ in range(min(num_buckets, len(levels)) - 1):
        before = np.concatenate(([np.inf], best[:-1]))  # all levels below i in one bucket fewer
        total = cost + before[None, :]
        cuts.append(total.argmin(axis=1))
        best = total.min(axis=1)
    last = len(levels) - 1
    edges = [last]
    for cut in reversed(cuts):
        last = int(cut[last]) - 1
        edges.append(last)
    return [_longest_with(int(levels[edge])) for edge in reversed(edges)]


def _longest_with(frames: int) -> int:
    """Return the most samples that a bucket of ``frames`` frames holds."""
    return FRAME_STRIDE * frames + 79


def _budget_buckets(lengths: Lengths, *, batch_size: int, step: int) -> tuple[Bucket, ...]:
    """Return the shapes of a sorted plan with their rows."""
    median = Bucket.holding(int(np.median(lengths)), batch_size=1).num_frames
    edges, rows = [], []
    for length in lengths.tolist():
        frames = Bucket.holding(length, batch_size=1).num_frames
        frames = stepped_frames(frames)
        edges.append(_longest_with(frames))
        rows.append(max(1, batch_size * median // frames))
    return _distinct(edges, rows, step=step)


def _distinct(edges: Sequence[int], rows: Sequence[int], *, step: int) -> tuple[Bucket, ...]:
    """Return one bucket per number of frames, a multiple of ``step``; smallest first."""
    chosen: dict[int, Bucket] = {}
    for edge, batch_size in zip(edges, rows, strict=False):
        frames = Bucket.holding(edge, batch_size=batch_size).num_frames
        bucket = Bucket.of(frames + -frames % step, batch_size=batch_size)
        chosen[bucket.num_samples] = bucket
    return tuple(sorted(chosen.values()))
