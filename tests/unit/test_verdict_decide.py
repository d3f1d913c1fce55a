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
        pytest.param({"undecided_loss": 0.02}, id="undecided-below-the-margin"),
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
