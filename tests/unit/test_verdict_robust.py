"""What odd runs, groups of cells and modes of a machine do not move."""

from __future__ import annotations

import numpy as np
import pytest

from w2v_core.verdict.robust import lowest_mode, pooled_ratio, stands_together, without_far


def baseline(cells=8, runs=8, sd=0.005, seed=0):
    return sd * np.random.default_rng(seed).standard_normal((1, cells, runs))


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
