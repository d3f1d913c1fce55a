"""The rule of PASS, FAIL and INCONCLUSIVE, at its boundaries."""

from __future__ import annotations

import numpy as np
import pytest

from w2v_core.errors import ConfigError
from w2v_core.verdict.decide import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    Policy,
    decide_night,
    decide_pairs,
    decide_runs,
    worst,
)

POLICY = Policy()
WOBBLE = np.asarray([-1.0, 1.0, -1.0, 1.0, 0.0])


def pairs(*slowdowns, spread=0.001):
    """Five pairs a cell, each cell slower by its fraction."""
    return np.stack([np.log1p(-s) + spread * WOBBLE for s in slowdowns])


@pytest.mark.parametrize(
    ("slowdown", "expected"),
    [
        pytest.param(-0.05, PASS, id="faster"),
        pytest.param(0.0, PASS, id="equal"),
        pytest.param(0.02, PASS, id="slower-within-the-margin"),
        pytest.param(0.03, FAIL, id="slower-by-the-margin"),
        pytest.param(0.2, FAIL, id="much-slower"),
    ],
)
def test_confirmed_pairs(slowdown, expected):
    """Precise pairs pass below the margin and fail from it on."""
    values = pairs(slowdown, 0.0, 0.0, 0.0)

    assert decide_pairs(values, values, POLICY).codes[0] == expected


def test_a_screen_alone_never_fails():
    """What looks slower waits for fresh pairs."""
    decision = decide_pairs(pairs(0.1, 0.0, 0.0, 0.0), None, POLICY)

    assert decision.codes.tolist() == [INCONCLUSIVE, PASS, PASS, PASS]
    assert decision.suspicious.tolist() == [True, False, False, False]


def test_fresh_pairs_that_do_not_confirm_clear_a_cell():
    """A slow screen and a fast confirmation are no regression."""
    slow, fast = pairs(0.04, 0.0, 0.0, spread=0.004), pairs(0.0, 0.0, 0.0, spread=0.004)

    assert decide_pairs(slow, fast, POLICY).codes[0] != FAIL


def test_noise_that_hides_the_margin_is_inconclusive():
    """Pairs that vary by 5 % cannot exclude 3 %; the plan says how many could."""
    decision = decide_pairs(pairs(0.0, 0.0, 0.0, spread=0.05), None, POLICY)

    assert decision.codes.tolist() == [INCONCLUSIVE] * 3
    assert np.all((decision.runs_needed > 20) & np.isfinite(decision.runs_needed))


def test_the_planned_number_of_pairs_decides():
    """As many pairs as the plan says decide nearly every night; a third of them do not."""
    generator = np.random.default_rng(0)
    pilot = decide_pairs(generator.normal(0, 0.03, (8, 300)), None, POLICY)
    needed = int(np.median(pilot.runs_needed))
    enough, few = (
        decide_pairs(generator.normal(0, 0.03, (200, 8, n)), None, POLICY).codes
        for n in (needed, needed // 3)
    )

    assert (enough == PASS).mean() > 0.93
    assert (few == PASS).mean() < 0.6


def test_runs_need_a_baseline_that_is_wide_enough():
    """Where the baseline's own error exceeds the margin, more candidate runs do not help."""
    baseline = np.log1p(0.04 * WOBBLE)[None].repeat(24, axis=0)
    decision = decide_runs(baseline, np.zeros((24, 1)), POLICY)

    assert np.isinf(decision.runs_needed).all()
    assert (decision.codes == INCONCLUSIVE).all()


def test_the_planned_number_of_runs_on_both_sides_decides():
    """As many runs on either side as the plan says decide nearly every night; a third do not."""
    generator = np.random.default_rng(0)
    pilot = decide_runs(*generator.normal(0, 0.03, (2, 8, 20)), POLICY)
    needed = int(np.median(pilot.runs_on_both))
    enough, few = (
        decide_runs(*generator.normal(0, 0.03, (2, 200, 8, n)), POLICY).codes
        for n in (needed, needed // 3)
    )

    assert (enough == PASS).mean() > 0.93
    assert (few == PASS).mean() < 0.6


def test_runs_against_a_baseline():
    """One stage: equal passes, the margin's double fails, a cell without a run does neither."""
    baseline = (0.001 * WOBBLE)[None].repeat(3, axis=0)
    candidate = np.asarray([[0.0], [np.log1p(-0.06)], [np.nan]])

    assert decide_runs(baseline, candidate, POLICY).codes.tolist() == [PASS, FAIL, INCONCLUSIVE]


def test_more_cells_make_each_one_harder_to_fail():
    """The error rate is the family's: the same pairs are judged more carefully among many."""
    few, many = (
        decide_runs(
            (0.004 * WOBBLE)[None].repeat(n, axis=0), np.full((n, 1), np.log1p(-0.04)), POLICY
        )
        for n in (3, 300)
    )
    per_df = (many.upper - many.effects.mean)[0] / (few.upper - few.effects.mean)[0]

    assert few.codes[0] == INCONCLUSIVE or few.upper[0] < many.upper[0]
    assert per_df > 1.0


def test_a_night_asks_for_a_confirmation_only_where_the_screen_did_not_pass():
    """Quiet nights stay with their screen; the confirmation of another night does not matter."""
    quiet, slow = pairs(0.0, 0.0, 0.0), pairs(0.0, 0.05, 0.0)
    codes, asked = decide_night(np.stack([quiet, slow]), np.stack([slow, slow]), POLICY)

    assert asked.tolist() == [False, True]
    assert codes.tolist() == [[PASS, PASS, PASS], [PASS, FAIL, PASS]]


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"margin": 0.0}, id="no-margin"),
        pytest.param({"margin": 3.0}, id="percent-for-fraction"),
        pytest.param({"tolerance": 0.03}, id="tolerance-as-wide-as-the-margin"),
        pytest.param({"tolerance": -0.1}, id="negative-tolerance"),
        pytest.param({"family_alpha": 0.0}, id="no-error-rate"),
        pytest.param({"family_alpha": 0.5}, id="a-coin"),
        pytest.param({"wer_margin": 0.0}, id="no-wer-margin"),
    ],
)
def test_contradicting_limits_are_refused(limits):
    """A policy that cannot judge is refused when it is made."""
    with pytest.raises(ConfigError):
        Policy(**limits)


def test_nothing_judged_is_not_a_pass():
    """The worst of no verdicts is INCONCLUSIVE."""
    assert worst() == "INCONCLUSIVE"
    assert worst("PASS", "FAIL", "INCONCLUSIVE") == "FAIL"
