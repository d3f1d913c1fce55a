"""One night's sequential rule: what it asks for, what it passes and fails, and when."""

from __future__ import annotations

import numpy as np
import pytest

from w2v_core.verdict.decide import FAIL, INCONCLUSIVE, PASS, Policy
from w2v_core.verdict.night import Nights

POLICY = Policy()
CELLS = 12
SD = 0.003


def judge_night(baseline, runs, policy):
    """Judge one night: (cells, runs) of the baseline, (cells,) log throughputs of each run."""
    night = Nights(baseline[None], policy)
    for values in runs:
        night.add(values[None])
    return night.decide_only()


def runs(count, *, shift=0.0, cells=CELLS, seed=0, sd=SD):
    """Return (cells, runs) of log throughputs; cell 0 is shifted."""
    values = np.random.default_rng(seed).normal(0, sd, (cells, count))
    values[0] += shift
    return values + np.arange(cells)[:, None]


def judged(tonight, baseline=None):
    baseline = runs(8, cells=len(tonight)) if baseline is None else baseline
    cells, machine = judge_night(baseline, list(tonight.T), POLICY)
    return cells.codes.tolist(), None if machine is None else int(machine.codes[0])


def test_a_night_like_its_baseline_passes_on_its_first_run():
    """Nothing lost: every cell and the machine pass, and no fresh run is asked for."""
    nights = Nights(runs(8)[None], POLICY)
    nights.add(runs(1, seed=1).T)
    cells, machine = nights.decide()

    assert set(cells.codes[0]) == {PASS}
    assert machine.codes[0, 0] == PASS
    assert not nights.asked().any()


def test_what_does_not_pass_is_asked_for_with_controls():
    """A cell at -3 % wants a fresh run, in company of eight that passed."""
    nights = Nights(runs(8)[None], POLICY)
    nights.add(runs(1, shift=-0.03, seed=1).T)
    asked = nights.asked()[0]

    assert asked[0]
    assert asked.sum() == 9


def test_no_more_than_the_most_runs_are_asked_for():
    """With one fresh run at most, a second is not asked for, whatever is open."""
    nights = Nights(runs(8)[None], POLICY, most_runs=1)
    nights.add(runs(1, shift=-0.03, seed=1).T)
    nights.add(runs(1, shift=-0.03, seed=2).T)

    assert not nights.asked().any()


def test_a_lost_cell_fails_alone():
    """-5 % in one cell on nine runs: it fails, the others and the machine pass."""
    codes, machine = judged(runs(9, shift=-0.05, seed=1))

    assert codes == [FAIL, *[PASS] * (CELLS - 1)]
    assert machine == PASS


def test_a_slow_machine_is_not_held_against_its_cells():
    """All cells at -4 %: the machine fails, and no cell."""
    codes, machine = judged(runs(9, seed=1) - 0.04)

    assert machine == FAIL
    assert set(codes) == {PASS}


def test_a_slow_machine_does_not_hide_a_cell():
    """A cell that loses on top of what the machine lost fails beside it."""
    codes, _ = judged(runs(9, shift=-0.05, seed=1) - 0.02)

    assert codes[0] == FAIL


def test_a_first_run_that_was_cold_is_held_against_nobody():
    """The first process is 8 % slow in one cell, the fresh ones are not: PASS."""
    tonight = runs(9, seed=1)
    tonight[0, 0] -= 0.08

    assert judged(tonight)[0][0] == PASS


def test_a_single_run_fails_by_what_tails_cannot_explain_only():
    """One run is a single draw: 3 % is not decided by it, a quarter is."""
    assert judged(runs(1, shift=-0.03, seed=1))[0][0] == INCONCLUSIVE
    assert judged(runs(1, shift=-0.25, seed=1))[0][0] == FAIL


@pytest.mark.parametrize("stuck", [1, 2, 3, 4])
def test_stuck_runs_fail_nothing(stuck):
    """Up to four of eight fresh runs at -10 %, every other one as ever: no FAIL."""
    tonight = runs(9, seed=1)
    tonight[0, 0] -= 0.03  # so that it is measured again
    tonight[0, 1 : 2 * stuck : 2] -= 0.10

    assert judged(tonight)[0][0] != FAIL


def test_a_cold_run_in_the_baseline_does_not_hide_a_loss():
    """One of eight baseline runs is 5 % slow in all cells; -3 % in one is found all the same."""
    baseline = runs(8)
    baseline[:, 0] -= 0.05

    assert judged(runs(9, shift=-0.03, seed=1), baseline)[0][0] == FAIL


def test_few_cells_carry_the_machine_with_them():
    """Four cells cannot tell the machine's level: it has no verdict, and theirs hold it."""
    codes, machine = judged(runs(9, cells=4, seed=1) - 0.05)

    assert machine is None
    assert set(codes) == {FAIL}


def test_a_cell_without_a_run_is_not_judged():
    """NaN is neither a PASS nor a FAIL, and changes nothing for the others."""
    tonight = runs(9, seed=1)
    tonight[3] = np.nan
    codes, _ = judged(tonight)

    assert codes[3] == INCONCLUSIVE
    assert codes.count(PASS) == CELLS - 1


def test_replaying_a_night_says_what_was_said_while_it_ran():
    """Judging all runs at once is judging them one after another, in what was asked for."""
    baseline, tonight = runs(8, sd=0.01)[None], runs(9, shift=-0.04, sd=0.01, seed=3)
    live = Nights(baseline, POLICY)
    live.add(tonight[None, :, 0])
    kept = [tonight[:, 0]]
    for run in tonight.T[1:]:
        asked = live.asked()[0]
        if not asked.any():
            break
        kept.append(np.where(asked, run, np.nan))
        live.add(kept[-1][None])

    replayed, _ = judge_night(baseline[0], kept, POLICY)

    assert replayed.codes.tolist() == live.decide()[0].codes[0].tolist()


def test_more_cells_make_each_one_harder_to_fail():
    """The error rate is the family's: the same loss is bounded more widely among many."""
    few, many = (
        judge_night(runs(8, cells=n), list(runs(9, cells=n, seed=1).T), POLICY)[0] for n in (6, 300)
    )

    def reach(found):
        return float((found.upper - found.effects.mean)[1] / found.effects.standard_error[1])

    assert reach(few) < reach(many)


@pytest.mark.parametrize(("shift", "code"), [(-0.026, INCONCLUSIVE), (-0.034, FAIL)])
def test_one_cell_whose_runs_of_a_night_are_alike_is_not_held_to_them_soon(shift, code):
    """Beside a baseline that varies by 0.9 %, ten fresh runs that lost alike may be the night."""
    nights = Nights(runs(15, cells=1, sd=0.009)[None], POLICY)
    for values in runs(11, cells=1, shift=shift, seed=1, sd=0.006).T:
        nights.add(values[None])

    assert nights.decide()[0].codes[0, 0] == code
