"""Static shapes and batches: every utterance exactly once, nothing larger than its bucket."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2v_core.backends.cpu import CpuBackend
from w2v_core.config import BatchPlan, EngineConfig, form_plan
from w2v_core.engine.bucketing import (
    PACKED_PARAMETERS,
    form_batches,
    padding_efficiency,
    plan_buckets,
    resolve_plan,
)
from w2v_core.errors import BucketOverflowError, ConfigError
from w2v_core.types import Bucket, Utterance, num_frames, stepped_frames

SILENCE = np.zeros(600_000, dtype=np.float32)
KINDS = ("quantile", "optimal", "sorted", "packed")
lengths_of_corpora = st.lists(st.integers(400, 560_000), min_size=1, max_size=60)


def corpus(lengths) -> list[Utterance]:
    """Utterances of these lengths that share one buffer."""
    return [
        Utterance(utterance_id=f"u{index}", waveform=SILENCE[:length])
        for index, length in enumerate(lengths)
    ]


def padded_frames(lengths, buckets) -> int:
    """Frames that utterances cost in their smallest buckets, padding rows left out."""
    edges = sorted(bucket.num_frames for bucket in buckets)
    return sum(
        next(edge for edge in edges if num_frames(320 * edge + 79) >= num_frames(length))
        for length in lengths
    )


@given(
    lengths=lengths_of_corpora,
    kind=st.sampled_from(KINDS),
    num_buckets=st.integers(1, 12),
    batch_size=st.integers(1, 9),
    window=st.integers(1, 70),
)
def test_every_utterance_is_in_exactly_one_batch(lengths, kind, num_buckets, batch_size, window):
    plan = BatchPlan(kind=kind, num_buckets=min(num_buckets, len(lengths)), batch_size=batch_size)
    utterances = corpus(lengths)

    batches = list(form_batches(utterances, plan_buckets(lengths, plan), window=window))

    ids = [utterance_id for batch in batches for utterance_id in batch.utterance_ids]
    assert sorted(ids) == sorted(utterance.utterance_id for utterance in utterances)


@given(lengths=lengths_of_corpora, kind=st.sampled_from(KINDS), window=st.integers(1, 70))
def test_every_batch_fits_one_of_the_planned_buckets(lengths, kind, window):
    buckets = plan_buckets(lengths, BatchPlan(kind=kind, num_buckets=1, batch_size=4))

    for batch in form_batches(corpus(lengths), buckets, window=window):
        assert batch.bucket in buckets
        assert 1 <= len(batch.utterances) <= batch.bucket.batch_size
        assert max(u.num_samples for u in batch.utterances) <= batch.bucket.capacity_samples


@given(lengths=lengths_of_corpora, kind=st.sampled_from(KINDS), data=st.data())
def test_the_plan_does_not_depend_on_the_order_of_the_lengths(lengths, kind, data):
    plan = BatchPlan(kind=kind, num_buckets=min(3, len(lengths)))

    shuffled = data.draw(st.permutations(lengths))

    assert plan_buckets(shuffled, plan) == plan_buckets(lengths, plan)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_deterministic(kind):
    lengths = np.random.default_rng(0).integers(400, 500_000, size=100).tolist()
    buckets = plan_buckets(lengths, BatchPlan(kind=kind))

    first, second = (
        [batch.utterance_ids for batch in form_batches(corpus(lengths), buckets, window=32)]
        for _ in range(2)
    )

    assert first == second


@given(lengths=st.lists(st.integers(400, 12_000), min_size=3, max_size=12), k=st.integers(1, 3))
@settings(max_examples=50)
def test_optimal_edges_are_the_best_of_all_partitions(lengths, k):
    """Against brute force over every choice of edges among the lengths that occur."""
    levels = sorted({Bucket.holding(n, batch_size=1).num_frames for n in lengths})
    costs = []
    for size in range(1, min(k, len(levels)) + 1):
        for inner in itertools.combinations(levels[:-1], size - 1):
            edges = [*inner, levels[-1]]
            frames = [Bucket.holding(n, batch_size=1).num_frames for n in lengths]
            costs.append(sum(min(e for e in edges if e >= f) for f in frames))

    found = plan_buckets(lengths, BatchPlan(kind="optimal", num_buckets=k))

    assert padded_frames(lengths, found) == min(costs)


def test_optimal_pads_less_than_quantile():
    lengths = np.random.default_rng(0).lognormal(11.4, 0.6, size=2_620).astype(int) + 400
    clipped = lengths.clip(max=560_000).tolist()

    optimal, quantile = (
        padded_frames(clipped, plan_buckets(clipped, BatchPlan(kind=kind, num_buckets=8)))
        for kind in ("optimal", "quantile")
    )

    assert optimal < 0.9 * quantile


def test_optimal_takes_a_large_corpus_of_long_utterances():
    """28,000 lengths up to 35 minutes: more levels than are told apart, still every one fits."""
    lengths = np.random.default_rng(0).integers(400, 35 * 60 * 16_000, size=28_000).tolist()

    buckets = plan_buckets(lengths, BatchPlan(kind="optimal", num_buckets=16))

    assert len(buckets) == 16
    assert buckets[-1].capacity_samples >= max(lengths)


def test_quantile_edges_are_numpys():
    lengths = [1_000, 2_000, 3_000, 4_000, 100_000]

    buckets = plan_buckets(lengths, BatchPlan(kind="quantile", num_buckets=2, batch_size=3))

    assert buckets == (
        Bucket.holding(3_000, batch_size=3),
        Bucket.holding(100_000, batch_size=3),
    )


@pytest.mark.parametrize("kind", ["quantile", "optimal", "sorted"])
def test_buckets_have_a_multiple_of_the_frames_that_a_device_asks_for_and_hold_everything(kind):
    lengths = np.random.default_rng(0).integers(400, 560_000, size=300).tolist()

    buckets = plan_buckets(lengths, BatchPlan(kind=kind), frame_step=8)

    assert all(bucket.num_frames % 8 == 0 for bucket in buckets)
    assert buckets[-1].capacity_samples >= max(lengths)
    assert len({bucket.num_samples for bucket in buckets}) == len(buckets)


def test_a_sorted_plan_has_few_shapes_of_nearly_equal_cost():
    lengths = np.random.default_rng(0).integers(20_000, 560_000, size=2_620).tolist()

    buckets = plan_buckets(lengths, BatchPlan(kind="sorted", batch_size=8))

    budget = 8 * Bucket.holding(int(np.median(lengths)), batch_size=1).num_frames
    assert len(buckets) <= 40
    assert all(b.batch_size * b.num_frames <= budget for b in buckets)
    assert all((b.batch_size + 1) * b.num_frames > budget for b in buckets)


def test_sorted_batches_pad_little():
    lengths = np.random.default_rng(0).integers(20_000, 560_000, size=600).tolist()
    utterances = corpus(lengths)

    def efficiency(kind):
        buckets = plan_buckets(lengths, BatchPlan(kind=kind))
        return padding_efficiency(form_batches(utterances, buckets, window=512))

    assert efficiency("sorted") > 0.9
    assert efficiency("sorted") > efficiency("quantile")


@pytest.mark.parametrize("kind", ["quantile", "optimal"])
def test_more_buckets_than_utterances_is_refused_with_both_numbers(kind):
    with pytest.raises(ConfigError, match=r"buckets is 4 but there are only 3 utterances"):
        plan_buckets([400, 500, 600, 399], BatchPlan(kind=kind, num_buckets=4))


@pytest.mark.parametrize("kind", ["quantile", "optimal"])
def test_equal_lengths_share_one_bucket(kind):
    buckets = plan_buckets([8_000] * 9, BatchPlan(kind=kind, num_buckets=5))

    assert buckets == (Bucket.holding(8_000, batch_size=8),)


@pytest.mark.parametrize("kind", KINDS)
def test_utterances_below_one_frame_need_no_bucket(kind):
    assert plan_buckets([0, 1, 399], BatchPlan(kind=kind)) == ()


def test_an_unresolved_plan_is_refused():
    with pytest.raises(ConfigError, match="'auto' has no shapes"):
        plan_buckets([400], BatchPlan(kind="auto"))


@pytest.mark.parametrize(
    ("num_samples", "entered"),
    [pytest.param(399, False, id="below-one-frame"), pytest.param(400, True, id="one-frame")],
)
def test_utterances_below_one_frame_never_enter_a_batch(num_samples, entered):
    bucket = Bucket.holding(16_000, batch_size=2)

    batches = list(form_batches(corpus([num_samples]), [bucket], window=8))

    assert bool(batches) == entered


def test_the_last_batch_keeps_its_padding_rows():
    bucket = Bucket.holding(16_000, batch_size=4)

    batches = list(form_batches(corpus([16_000] * 6), [bucket], window=8))

    assert [len(batch.utterances) for batch in batches] == [4, 2]
    assert {batch.bucket for batch in batches} == {bucket}
    assert padding_efficiency(batches) == pytest.approx(6 * 16_000 / (8 * bucket.num_samples))


@pytest.mark.parametrize(
    ("over", "refused"),
    [pytest.param(0, False, id="edge"), pytest.param(1, True, id="one-over")],
)
def test_an_utterance_over_the_largest_bucket_is_named(over, refused):
    bucket = Bucket.holding(16_000, batch_size=1)
    utterances = corpus([bucket.capacity_samples + over])

    if not refused:
        assert len(list(form_batches(utterances, [bucket], window=1))) == 1
        return
    message = rf"'u0' has {bucket.num_samples} samples; .* holds {bucket.capacity_samples};"
    with pytest.raises(BucketOverflowError, match=message):
        list(form_batches(utterances, [bucket], window=1))


def test_look_ahead_is_bounded_by_the_window():
    """Memory must not grow with the corpus: no more than the window is read ahead of a batch."""
    lengths = np.random.default_rng(0).integers(400, 560_000, size=500).tolist()
    buckets = plan_buckets(lengths, BatchPlan(kind="sorted", batch_size=8))
    read = 0

    def stream():
        nonlocal read
        for utterance in corpus(lengths):
            read += 1
            yield utterance

    left = 0
    for batch in form_batches(stream(), buckets, window=20):
        assert read - left <= 20
        left += len(batch.utterances)
    assert left == 500


def test_a_window_below_one_is_refused_before_reading():
    with pytest.raises(ConfigError, match="window is 0"):
        form_batches(iter(()), [], window=0)


def test_no_batches_pad_nothing():
    assert padding_efficiency([]) == 1.0


@pytest.mark.parametrize(
    ("frames", "stepped"),
    [(1, 16), (16, 16), (17, 32), (256, 256), (257, 288), (512, 512), (513, 576), (1024, 1024)],
)
def test_steps_grow_with_the_octave(frames, stepped):
    assert stepped_frames(frames) == stepped


@pytest.mark.parametrize(
    ("forward", "num_parameters", "num_buckets", "chosen"),
    [
        pytest.param("exact", PACKED_PARAMETERS, None, "packed", id="large-model"),
        pytest.param("exact", PACKED_PARAMETERS - 1, None, "sorted", id="small-model"),
        pytest.param("stock", PACKED_PARAMETERS, None, "sorted", id="stock-cannot-pack"),
        pytest.param("exact", PACKED_PARAMETERS, 4, "optimal", id="buckets-asked-for"),
    ],
)
def test_auto_on_a_host_goes_by_the_size_of_the_model(forward, num_parameters, num_buckets, chosen):
    plan = form_plan("auto", num_buckets=num_buckets, batch_size=8)
    config = EngineConfig(forward=forward, plan=plan)

    assert resolve_plan(config, CpuBackend(), num_parameters=num_parameters).kind == chosen
