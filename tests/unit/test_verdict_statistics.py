"""The gate's arithmetic against scipy and against its own definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from w2v_core.verdict.statistics import (
    lower_bound,
    moderate,
    p_below,
    paired_effects,
    upper_bound,
)


def test_one_cell_of_pairs_has_the_interval_of_the_paired_t_test():
    """Without other cells and without autocorrelation, the bounds are Student's."""
    values = np.asarray([[0.01, -0.02, 0.015, -0.01, 0.02, -0.03]])
    effects = paired_effects(values)
    expected = stats.ttest_1samp(values[0], 0.0).confidence_interval(0.96)

    assert lower_bound(effects, 0.02)[0] == pytest.approx(expected.low)
    assert upper_bound(effects, 0.02)[0] == pytest.approx(expected.high)


def test_one_cell_of_pairs_has_the_p_value_of_the_one_sample_t_test():
    """Without other cells and without autocorrelation, pairs are judged by the plain t test."""
    pairs = np.asarray([[0.4, -0.9, 0.8, -1.3, 0.1, -0.6]])
    expected = stats.ttest_1samp(pairs[0], 0.0, alternative="less").pvalue

    assert p_below(paired_effects(pairs), 0.0)[0] == pytest.approx(expected)


@pytest.mark.parametrize("prior_df", [4.0, 20.0])
def test_moderation_recovers_the_prior_it_was_drawn_from(prior_df):
    """Variances drawn around a common one give back its value and their spread."""
    generator = np.random.default_rng(2)
    cells, df, common = 20_000, 4, 2.5
    true = common * prior_df / generator.chisquare(prior_df, cells)
    observed = true * generator.chisquare(df, cells) / df
    posterior, total = moderate(observed, np.full(cells, float(df)))
    slope = df / (prior_df + df)
    mean = slope * observed.mean() + (1 - slope) * common

    assert total[0] == pytest.approx(prior_df + df, rel=0.1)
    assert np.polyfit(observed, posterior, 1)[0] == pytest.approx(slope, rel=0.1)
    assert posterior.mean() == pytest.approx(mean, rel=0.1)


def test_cells_that_vary_alike_share_their_variance():
    """Equal variances become one with the degrees of freedom of all cells, never more."""
    generator = np.random.default_rng(3)
    observed = generator.chisquare(4, 24) / 4
    posterior, total = moderate(observed, np.full(24, 4.0))

    assert np.ptp(posterior) < np.ptp(observed)
    assert total.max() <= 24 * 4


def test_two_cells_keep_their_own_variances():
    """Two variances say nothing about how variances are distributed."""
    posterior, total = moderate(np.asarray([1.0, 9.0]), np.asarray([4.0, 4.0]))

    assert posterior.tolist() == [1.0, 9.0]
    assert total.tolist() == [4.0, 4.0]


def test_a_noisy_cell_keeps_its_noise():
    """Among quiet cells one that varies ten times as much is not made quiet."""
    variances = np.ones(24)
    variances[3] = 100.0
    posterior, _ = moderate(variances, np.full(24, 7.0))

    assert posterior[3] > 40


def test_a_cell_of_unknown_variance_takes_the_common_one():
    """A cell that ran once borrows the spread of the others."""
    df = np.asarray([4.0, 4.0, 4.0, 4.0, 0.0])
    posterior, _ = moderate(np.asarray([1.0, 1.1, 0.9, 1.0, 0.0]), df)

    assert 0.5 < posterior[4] < 2.0


def test_constant_pairs_do_not_divide_by_zero():
    """Runs that are equal to the last bit give a zero error, not a NaN."""
    effects = paired_effects(np.full((5, 4), -0.01))

    assert np.allclose(effects.standard_error, 0.0)
    assert np.allclose(upper_bound(effects, 0.01), -0.01)


def test_correlated_pairs_widen_the_error():
    """A slow wave through all cells makes the error larger than independent noise would."""
    wave = np.sin(np.linspace(0, np.pi * 2, 8))
    shuffled = wave[[0, 4, 2, 6, 1, 5, 3, 7]]

    slow, fast = (paired_effects(np.tile(w, (6, 1))) for w in (wave, shuffled))

    assert slow.standard_error[0] > 1.15 * fast.standard_error[0]


def test_the_trigamma_inverse_is_one():
    """Moderation rests on it: checked where variances agree, and where they do not."""
    from w2v_core.verdict.statistics import _inverse_trigamma

    values = np.asarray([1e-6, 1e-3, 0.1, 1.0, 10.0])

    assert special.polygamma(1, _inverse_trigamma(values)) == pytest.approx(values, rel=1e-6)


def test_nights_are_independent_of_each_other():
    """A night among thousands is judged as it would be alone."""
    nights = np.random.default_rng(4).normal(0, 0.01, (5, 24, 6))
    together, alone = paired_effects(nights), paired_effects(nights[3])

    assert together.standard_error[3] == pytest.approx(alone.standard_error)
    assert together.df[3] == pytest.approx(alone.df)
