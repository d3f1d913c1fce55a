"""What odd runs, groups of cells and modes of a machine do not move."""

from __future__ import annotations

import numpy as np
import pytest

from w2v_core.verdict.robust import (
    common_share,
    level_variance,
    lowest_mode,
    polish,
    pooled_ratio,
    run_variance,
    stands_together,
    tail_df,
    without_far,
)


def baseline(cells=8, runs=8, sd=0.005, seed=0):
    return sd * np.random.default_rng(seed).standard_normal((1, cells, runs))


def test_what_all_cells_share_is_the_machines_and_no_cells():
    """Cells apart, runs apart, and nothing else: the polish leaves nothing of either."""
    cells, runs = np.linspace(1.0, 3.0, 8), np.asarray([0.0, -0.1, 0.02, 0.0, 0.05, 0.0, 0.3, 0.0])
    table = (cells[:, None] + runs)[None]

    centre, levels = polish(table, separates=True)
    alone, none = polish(table, separates=False)

    np.testing.assert_allclose(table - centre[..., None] - levels[:, None, :], 0.0, atol=1e-12)
    np.testing.assert_allclose(alone[0], cells)
    assert not none.any()


def test_a_winsorised_variance_is_unbiased_and_one_odd_run_hardly_moves_it():
    """Over many nights of 8 runs the mean variance is the noise's; one run 3 % off adds little."""
    base = 0.005 * np.random.default_rng(1).standard_normal((400, 8, 8))
    odd = base.copy()
    odd[:, :, 0] -= 0.03
    counts = np.full(base.shape[:2], 8.0)

    plain, df = run_variance(base, counts, separates=True)
    bent, _ = run_variance(odd, counts, separates=True)

    # Taking a level out of 8 cells has taken an eighth of the noise in what is really judged.
    assert plain.mean() == pytest.approx(0.005**2 * 8 / 7, rel=0.03)
    assert bent.mean() < 2.5 * plain.mean()  # the ordinary variance is 5 times as large
    assert (df > 3).all()


def test_one_disturbed_run_is_no_part_of_how_levels_vary():
    levels = 0.002 * np.random.default_rng(2).standard_normal((1, 10))
    disturbed = levels.copy()
    disturbed[0, 4] -= 0.2

    assert level_variance(disturbed)[0] == pytest.approx(np.delete(levels, 4).var(ddof=1))


def test_cells_that_share_an_effect_have_most_of_their_variance_in_common():
    base = baseline(cells=12, runs=12, sd=0.001, seed=3)
    base[0, :5] += 0.01 * np.random.default_rng(4).standard_normal(12)
    variance = base.var(axis=-1, ddof=1)

    share = common_share(base, variance, np.full(variance.shape, 12.0))[0]

    assert (share[:5] > 0.7).all()
    assert share[:5].min() > share[5:].max()
    assert not common_share(base[:, 5:], variance[:, 5:], np.full((1, 7), 12.0)).any()


def test_one_or_two_runs_of_a_night_deserve_heavy_tails():
    found = tail_df(np.asarray([1.0, 2.0, 3.0]))

    assert found[0] < found[1] < found[2]
    assert found[0] == 3.0


def test_a_run_half_as_fast_is_no_part_of_a_cells_noise():
    """It is left out, and no other; with too few runs or cells to tell nothing is."""
    base = baseline()
    base[0, 3, 2] = np.log(0.5)
    found = np.isnan(without_far(base, separates=True))

    assert list(zip(*np.nonzero(found), strict=True)) == [(0, 3, 2)]
    assert not np.isnan(without_far(base, separates=False)).any()
    assert not np.isnan(without_far(base[..., :4], separates=True)).any()


@pytest.mark.parametrize(("alone", "stands"), [(2, True), (3, False)])
def test_cells_that_move_together_are_one_sample(alone, stands):
    """Cells that moved by 1 % together in the baseline do not stand by -2 %; two are no group."""
    base = baseline(sd=0.001)
    base[0, :alone] += np.asarray([0.01, -0.01] * 4)
    shift, lost = np.zeros((1, 8)), np.zeros((1, 8), dtype=bool)
    shift[0, :alone], lost[0, 0] = -0.02, True

    assert stands_together(base, shift, lost)[0] == stands


def test_a_group_that_never_moved_together_stands():
    """-2 % in half of the cells, whose noise is their own: as real as in one."""
    shift = np.where(np.arange(8) < 4, -0.02, 0.0)[None]

    assert stands_together(baseline(sd=0.003), shift, shift < 0)[0]


@pytest.mark.parametrize(
    ("levels", "lowest"),
    [
        pytest.param([0, 0, -0.03, 0, 0], -0.03, id="mode"),
        pytest.param([-0.05, 0, 0.001, 0, 0], 0.0, id="cold-first"),
        pytest.param([0, 0, -0.7, 0, 0], 0.0, id="disturbed"),
    ],
)
def test_a_level_that_was_seen_before_is_a_mode(levels, lowest):
    assert lowest_mode(np.asarray([levels], dtype=float))[0, 0] == pytest.approx(lowest)


def test_few_runs_leave_the_ratio_near_one():
    """Twenty degrees of freedom stand for "as the baseline's"."""
    assert pooled_ratio(np.asarray([[0.0, 0.0]]), np.asarray([[0.0, 0.0]]))[0] == 1.0
    assert pooled_ratio(np.asarray([[0.0]]), np.asarray([[20.0]]))[0] == pytest.approx(0.5)


def test_of_few_cells_fewer_runs_show_that_a_night_is_alike():
    """Their own runs are all that can show it."""
    alone = pooled_ratio(np.asarray([[0.0]]), np.asarray([[8.0]]), separates=False)

    assert alone[0] == pytest.approx(0.5)
