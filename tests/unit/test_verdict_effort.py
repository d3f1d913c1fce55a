"""How w2v pair spends its minutes: by the variances and costs of a pilot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.records import make_record
from w2v_core.errors import ConfigError
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.effort import Pilot, allocate, learn
from w2v_core.verdict.paired import Pair

POLICY = Policy()


def pilot(*, process_s=4.0, round_s=1.0, between=0.01, within=0.01):
    return Pilot(
        process_s=process_s,
        round_s=round_s,
        between=np.asarray([between**2]),
        within=np.asarray([within**2]),
    )


@pytest.mark.parametrize("process_s", [0.5, 4.0, 20.0])
@pytest.mark.parametrize("within", [0.001, 0.05])
def test_at_least_half_of_the_time_is_in_rounds(process_s, within):
    """However quiet the rounds are: what a process costs is spent on rounds as well."""
    plan = allocate(pilot(process_s=process_s, within=within), minutes=20, policy=POLICY)

    assert plan.share_in_rounds >= 0.5 - 1e-9


def test_the_minutes_are_kept():
    """Both stages with their warm-up pairs fit, and another pair a stage would not."""
    chosen = pilot()
    plan = allocate(chosen, minutes=10, policy=POLICY)
    pair_s = 2 * (chosen.process_s + plan.rounds * chosen.round_s)

    assert 2 * plan.minutes <= 10
    assert 2 * (plan.minutes * 60 + pair_s) > 600


def test_noisy_rounds_get_more_of_them_and_noisy_processes_more_pairs():
    """Kalibera and Jones: repetitions go where the variance is."""
    rounds = allocate(pilot(between=0.001, within=0.05), minutes=30, policy=POLICY)
    pairs = allocate(pilot(between=0.05, within=0.001), minutes=30, policy=POLICY)

    assert rounds.rounds > pairs.rounds
    assert pairs.pairs > rounds.pairs
    assert (
        "between rounds" in allocate(pilot(within=0.5, between=1e-4), minutes=30, policy=POLICY).why
    )
    assert "between processes" in pairs.why


def test_the_rounds_are_the_best_for_a_given_time():
    """No other number of rounds has a smaller variance in the same time, where half is no limit."""
    chosen = pilot(process_s=1.0, between=0.003, within=0.02)
    best = allocate(chosen, minutes=600, policy=POLICY).rounds

    def variance(rounds):
        pairs = 1 / (chosen.process_s + rounds * chosen.round_s)
        return (chosen.between[0] + np.pi * chosen.within[0] / rounds) / pairs

    assert variance(best) <= min(variance(r) for r in range(1, 60)) * 1.05


def test_too_few_minutes_say_how_many_are_needed():
    with pytest.raises(ConfigError, match=r"give 1\.\d or more"):
        allocate(pilot(), minutes=0.5, policy=POLICY)


def drawn(*, pairs=200, between=0.01, within=0.02, rounds=5):
    rng = np.random.default_rng(3)

    def side(run):
        record = make_record(run=run)
        level = between / np.sqrt(2) * rng.standard_normal()
        seconds = 0.1 * np.exp(level + within * rng.standard_normal(rounds))
        return (
            replace(
                record, rounds_s=tuple(seconds), rtfx=record.audio_s / float(np.median(seconds))
            ),
        )

    return [Pair(a=side(2 * i), b=side(2 * i + 1)) for i in range(pairs)]


def test_a_pilot_tells_processes_from_rounds():
    """Both deviations and both times are found again in pairs that were drawn with them."""
    found = learn(drawn(), wall_s=400 * 2.0, runs=400)

    assert np.sqrt(found.between[0]) == pytest.approx(0.01, rel=0.25)
    assert np.sqrt(found.within[0]) == pytest.approx(0.02, rel=0.1)
    assert found.round_s == pytest.approx(0.1, rel=0.05)
    assert found.process_s == pytest.approx(1.5, rel=0.05)


def test_a_pilot_of_single_rounds_is_refused():
    with pytest.raises(ConfigError, match=r"\{rounds\}"):
        learn(drawn(pairs=3, rounds=1), wall_s=1.0, runs=8)


def test_the_plan_says_its_minutes_before_it_starts():
    told = allocate(pilot(), minutes=10, policy=POLICY).told()

    assert told.startswith("plan: ")
    assert "min, twice that where the screen does not pass" in told
    assert "expected interval +-" in told
