"""Paired WER statistics against independent implementations, and their error rates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from w2v_core.errors import TranscriptError
from w2v_core.scoring import significance
from w2v_core.scoring.significance import (
    block_bootstrap,
    bounds,
    mapsswe,
    matched_pairs,
    non_inferiority,
)

SPEAKERS = 40
UTTERANCES = 2620
MARGIN = 0.001


def corpus(seed=0):
    """Word counts and speakers shaped like LibriSpeech test-clean: 2,620 utterances, 52k words."""
    generator = np.random.default_rng(seed)
    words = np.maximum(1, np.round(generator.lognormal(2.75, 0.75, UTTERANCES))).astype(float)
    return words, np.arange(UTTERANCES) % SPEAKERS


def draw_differences(generator, words, blocks, *, changed, extra, sims):
    """Draw error differences: ``changed`` words flip either way, ``extra`` get worse.

    Speakers differ in how often their words change (log-normal, sd 0.5).
    """
    rate = generator.lognormal(0.0, 0.5, (sims, SPEAKERS))[:, blocks] * words
    rate /= rate.sum(axis=1, keepdims=True)
    worse = generator.poisson(rate * (changed / 2 + extra))
    return (worse - generator.poisson(rate * changed / 2)).astype(float)


def test_mapsswe_is_the_matched_pairs_statistic_with_a_normal_p_value():
    """W equals the paired t statistic; its p value is that of the normal distribution."""
    differences = np.random.default_rng(0).poisson(0.3, 500) - np.random.default_rng(1).poisson(
        0.2, 500
    ).astype(float)
    statistic, p = mapsswe(differences)
    expected = stats.ttest_1samp(differences, 0.0).statistic

    assert statistic == pytest.approx(expected, rel=1e-12)
    assert p == pytest.approx(2 * (1 - stats.norm.cdf(abs(expected))), rel=1e-9)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        pytest.param([0.0] * 10, 1.0, id="nothing-changed"),
        pytest.param([1.0] * 10, 0.0, id="all-worse-alike"),
    ],
)
def test_mapsswe_of_constant_differences(differences, expected):
    """No spread is no division by zero: equal systems are equal, a constant loss is certain."""
    assert mapsswe(np.asarray(differences))[1] == expected


def test_matched_pairs_error_is_that_of_the_jackknife():
    """The ratio's standard error equals the delete-one jackknife's, a second derivation of it."""
    generator = np.random.default_rng(3)
    words = generator.integers(3, 60, 400).astype(float)
    differences = generator.poisson(0.02 * words) - generator.poisson(0.02 * words).astype(float)
    found = matched_pairs(differences, words)
    left_out = (differences.sum() - differences) / (words.sum() - words)
    n = len(words)
    jackknife = np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum())

    assert found.delta == pytest.approx(differences.sum() / words.sum())
    assert found.standard_error == pytest.approx(jackknife, rel=0.02)


def test_block_bootstrap_equals_resampling_speakers_one_by_one():
    """The matrix form draws what a loop over speakers, drawn with replacement, draws."""
    generator = np.random.default_rng(4)
    words = generator.integers(800, 1600, SPEAKERS).astype(float)
    differences = generator.normal(1.0, 4.0, SPEAKERS).round()
    found = block_bootstrap(differences, words, resamples=4000)
    drawn = []
    for _ in range(4000):
        chosen = [int(generator.integers(SPEAKERS)) for _ in range(SPEAKERS)]
        drawn.append(sum(differences[c] for c in chosen) / sum(words[c] for c in chosen))
    expected = float(np.std(drawn)) * (SPEAKERS / (SPEAKERS - 1)) ** 0.5

    assert found.standard_error == pytest.approx(expected, rel=0.05)


def test_block_bootstrap_is_wider_where_speakers_differ():
    """Errors that all fall on one speaker are less certain than the same errors spread out."""
    words = np.full(SPEAKERS, 1000.0)
    spread, heaped = np.full(SPEAKERS, 1.0), np.zeros(SPEAKERS)
    heaped[0] = SPEAKERS

    assert block_bootstrap(heaped, words).standard_error > 0.0005
    assert block_bootstrap(spread, words).standard_error < 1e-12


def test_differences_in_proportion_to_the_words_are_certain():
    """A system that errs on one word in ten more, everywhere, differs by 10 % without any doubt."""
    words = np.asarray([5.0, 10.0, 40.0, 80.0])
    found = matched_pairs(words / 10, words)

    assert found.delta == pytest.approx(0.1)
    assert found.standard_error == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param(np.where(np.arange(UTTERANCES) % SPEAKERS == 0, 1.0, 0.0), id="one-speaker"),
        pytest.param(np.where(np.arange(UTTERANCES) % 80 < SPEAKERS, 3.0, -2.9), id="within-each"),
    ],
)
def test_the_weaker_of_the_two_methods_decides(differences):
    """Errors of one speaker only, or ones that cancel within each: one method alone is sure."""
    words, blocks = np.full(UTTERANCES, 20.0), np.arange(UTTERANCES) % SPEAKERS
    member = (blocks[:, None] == np.arange(SPEAKERS)).astype(float)
    errors = [
        matched_pairs(differences, words).standard_error,
        block_bootstrap(differences @ member, words @ member).standard_error,
    ]
    lower, upper = bounds(differences, words, blocks, alpha=0.01)

    assert min(errors) < 0.5 * max(errors)
    assert upper - lower > 4.6 * max(errors)


def judge(differences, *, alpha=0.01):
    words, blocks = corpus()
    lower, upper = bounds(differences, words, blocks, alpha=alpha)
    passed = upper < MARGIN
    return passed, ~passed & (lower > 0)


def test_a_tenth_of_a_point_is_found_and_nothing_is_invented():
    """On 2,620 utterances with 40 words changed by chance: power >= 95 %, false alarms <= 1 %."""
    words, blocks = corpus()
    generator = np.random.default_rng(5)
    null = draw_differences(generator, words, blocks, changed=40, extra=0, sims=500)
    extra = MARGIN * words.sum()
    worse = draw_differences(generator, words, blocks, changed=40, extra=extra, sims=500)
    _, false_alarms = judge(null)
    _, found = judge(worse)

    assert false_alarms.mean() <= 0.01
    assert found.mean() >= 0.95


def test_a_noisy_comparison_is_not_called_equal():
    """With 300 words changed by chance, a rise of 0.1 points is missed as a PASS in under 2 %."""
    words, blocks = corpus()
    worse = draw_differences(
        np.random.default_rng(6), words, blocks, changed=300, extra=MARGIN * words.sum(), sims=500
    )

    assert judge(worse)[0].mean() < 0.02


def verdict(old, new, *, words=20, speakers=SPEAKERS, **limits):
    return non_inferiority(
        old, new, [words] * len(old), [f"s{i % speakers}" for i in range(len(old))], **limits
    )


def test_equal_errors_on_a_large_set_pass():
    """Nothing changed among 20,000 words: 0.1 points are excluded on other speech as well."""
    errors = [i % 3 == 0 for i in range(1000)]
    found = verdict(errors, errors)

    assert (found.outcome, found.delta, found.p_mapsswe) == ("PASS", 0.0, 1.0)
    assert 0 < found.upper < MARGIN
    assert "on other speech a rise of 0.1 points is excluded" in found.reason


@pytest.mark.parametrize(
    ("utterances", "said"),
    [
        pytest.param(230, "up to 0.1 points is not excluded", id="4600-words-one-too-few"),
        pytest.param(231, "0.1 points is excluded", id="4620-words"),
    ],
)
def test_what_a_set_says_about_other_speech_follows_from_its_size(utterances, said):
    """-ln(0.01) / 0.001 = 4,606 words are the least that can exclude 0.1 points elsewhere."""
    found = verdict([1] * utterances, [1] * utterances)

    assert found.words_needed == 4606
    assert found.outcome == "PASS"
    assert said in found.reason


def test_equal_transcripts_of_a_small_set_pass_and_say_what_that_is_worth():
    """On 73 utterances nothing changed, which is known; elsewhere 0.4 points are not excluded."""
    found = verdict([0] * 73, [0] * 73, words=16)

    assert found.outcome == "PASS"
    assert "on other speech a rise of up to 0.394 points is not excluded" in found.reason


def test_a_large_loss_on_a_small_set_fails():
    """A small set can still show a large loss."""
    assert verdict([0] * 73, [1] * 73, words=16).outcome == "FAIL"


def test_a_word_more_on_a_small_set_is_not_decided():
    """One word of 1,168 is 0.09 points, below the margin; two are above it and may be chance."""
    one, two = ([1] * n + [0] * (73 - n) for n in (1, 2))

    assert verdict([0] * 73, one, words=16).outcome == "PASS"
    assert verdict([0] * 73, two, words=16).outcome == "INCONCLUSIVE"


@pytest.mark.parametrize("lost", [1, 4])
def test_transcripts_of_a_few_speakers_gone_fail(lost):
    """All transcripts of 1 or 4 of 40 speakers are empty: a bootstrap over speakers has no veto."""
    old = [1 if i % 2 else 0 for i in range(UTTERANCES)]
    new = [20 if i % SPEAKERS < lost else errors for i, errors in enumerate(old)]

    assert verdict(old, new).outcome == "FAIL"


def test_a_gross_loss_of_few_utterances_fails():
    """Three of 73 transcripts gone are 4 points: exact on this set, whatever MAPSSWE says."""
    new = [16] * 3 + [0] * 70
    found = verdict([0] * 73, new, words=16)

    assert found.p_mapsswe > 0.05
    assert found.outcome == "FAIL"


def test_few_speakers_say_nothing_about_others():
    """Seven speakers say too little about speakers; on the set itself equal is equal."""
    found = verdict([0] * 1000, [0] * 1000, speakers=significance.MIN_SPEAKERS - 1)

    assert found.outcome == "PASS"
    assert "nothing about other speakers, from 7" in found.reason


def test_unknown_speakers_are_blocks_of_their_own():
    """Without speakers every utterance is a block, so nothing is merged into one."""
    errors = [0] * 1000
    found = non_inferiority(errors, errors, [20] * 1000, [None] * 1000)

    assert (found.num_speakers, found.outcome) == (1000, "PASS")


def test_better_is_a_pass():
    """Fewer errors are no regression."""
    assert verdict([1] * 1000, [1 if i % 2 else 0 for i in range(1000)]).outcome == "PASS"


def test_a_loss_within_the_margin_passes():
    """A certain loss of 0.02 points passes at a margin of 0.1, and fails at one of 0.01."""
    new = [1 if i < 40 else 0 for i in range(10_000)]

    assert verdict([0] * 10_000, new).outcome == "PASS"
    assert verdict([0] * 10_000, new, margin=0.0001).outcome == "FAIL"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param([1], [1, 2], [5], id="lengths"),
        pytest.param([0], [0], [0], id="no-words"),
        pytest.param([], [], [], id="empty"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(old, new, words):
    """Another number of utterances, or none, is an error and no verdict."""
    with pytest.raises(TranscriptError):
        non_inferiority(old, new, words, ["s"] * len(words))
