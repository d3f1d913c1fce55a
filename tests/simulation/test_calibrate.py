"""The gate's error rates, by its own code, on simulated nights with fixed seeds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from tests.helpers.records import make_run
from w2v_core.config import MOST_RUNS
from w2v_core.errors import ConfigError
from w2v_core.records.history_table import Night
from w2v_core.records.store import StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.calibrate import draw_noise, simulate_nights
from w2v_core.verdict.calibrate_recorded import (
    calibrate_from_baseline,
    calibrate_from_nights,
    calibrate_from_pairs,
)
from w2v_core.verdict.decide import VERDICTS, Policy, decide_pairs
from w2v_core.verdict.paired import Pair, judge_pairs, log_ratios

SCENARIOS = [
    # noise, pairs per stage, sd of a pair, most false alarms, least power
    pytest.param("normal", 5, 0.007, 0.01, 0.95, id="normal-5+5-pairs-0.7%"),
    pytest.param("normal", 8, 0.014, 0.01, 0.95, id="normal-8+8-pairs-1.4%"),
    pytest.param("t3", 5, 0.007, 0.01, 0.90, id="t3-5+5-pairs-0.7%"),
    pytest.param("t3", 8, 0.014, 0.01, 0.90, id="t3-8+8-pairs-1.4%"),
    pytest.param("ar1", 5, 0.007, 0.03, 0.90, id="ar1-5+5-pairs-0.7%"),
    pytest.param("ar1", 8, 0.014, 0.03, 0.90, id="ar1-8+8-pairs-1.4%"),
]


@pytest.mark.parametrize(("noise", "pairs", "sd", "alarms", "power"), SCENARIOS)
def test_error_rates_of_24_cells(noise, pairs, sd, alarms, power):
    """1,000 nights: family-wise false alarms and the power for 3 % keep their promise."""
    found = simulate_nights(nights=1000, pairs=pairs, pair_sd=sd, noise=noise)

    assert found.family_false_alarm_rate <= alarms
    assert found.power_at_3_percent >= power


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "pairs", "sd", "alarms", "power"), SCENARIOS)
def test_error_rates_of_24_cells_in_full(noise, pairs, sd, alarms, power):
    """20,000 nights: the confidence bounds of the rates keep it as well."""
    found = simulate_nights(nights=20_000, pairs=pairs, pair_sd=sd, noise=noise, seed=1)

    assert found.family_false_alarm_upper <= alarms
    assert found.power_lower >= power


def test_the_calibration_notices_a_gate_without_a_confirmation(monkeypatch):
    """A gate that fails on its screen alone has its false alarms counted."""
    from w2v_core.verdict import calibrate

    def careless(screen, confirm, policy):
        means = screen.mean(axis=-1)
        return np.where(means < -0.005, 2, 0).astype(np.int8), np.zeros(len(screen), dtype=bool)

    monkeypatch.setattr(calibrate, "decide_night", careless)

    assert simulate_nights(nights=100).family_false_alarm_rate > 0.5


def test_a_night_of_records_is_judged_as_its_numbers_are():
    """judge_pairs on records and decide_pairs on their log ratios come to the same codes."""
    cells = tuple(f"m{i}-float32-test_clean-graphs-exact" for i in range(6))
    slow = [0.0, 0.03, 0.06, 0.0, 0.015, 0.0]

    def stage(first):
        sides = []
        for i in range(4):
            a = make_run(first + 2 * i, cells=cells, seed=1, sd=0.004)
            b = make_run(first + 2 * i + 1, cells=cells, seed=2, sd=0.004)
            sides.append(Pair(a=a, b=tuple(_slowed(r, s) for r, s in zip(b, slow, strict=True))))
        return sides

    screen, confirm = stage(0), stage(8)
    codes = decide_pairs(log_ratios(screen, cells), log_ratios(confirm, cells), Policy()).codes
    result = judge_pairs(screen, confirm)
    found = [
        next(f.verdict for f in result.cell(c).findings if f.kind == "throughput") for c in cells
    ]

    assert found == [VERDICTS[c] for c in codes]
    assert set(found) == {"PASS", "FAIL"} or "INCONCLUSIVE" in found


def _slowed(record, fraction):
    from dataclasses import replace

    return replace(
        record,
        rounds_s=tuple(r / (1 - fraction) for r in record.rounds_s),
        rtfx=record.rtfx * (1 - fraction),
    )


def test_the_figures_are_json():
    """`w2v calibrate --simulate --json` prints the two rates by name."""
    printed = json.loads(json.dumps(simulate_nights(nights=20, cells=3).to_json()))

    assert printed["nights"] == 20
    assert {"family_false_alarm_rate", "power_at_3_percent", "pair_sd"} <= set(printed)


def test_recorded_pairs_set_the_variance():
    """A/A pairs of a noisy machine give a calibration with its own, larger deviation."""
    pairs = [
        Pair(a=make_run(2 * i, seed=1, sd=0.02), b=make_run(2 * i + 1, seed=2, sd=0.02))
        for i in range(6)
    ]
    found = calibrate_from_pairs(pairs, nights=100)

    assert (found.cells, found.pairs, found.noise) == (3, 6, "recorded")
    assert 0.01 < np.mean(found.pair_sd) < 0.06
    assert found.power_at_3_percent < 0.9


def test_a_history_sets_the_variance():
    """Nights that vary by 1 % give pairs that vary by 1.4 %; cells with two runs do not count."""
    nights = {
        cell: [Night.of(make_run(i, sd=0.01)[c]) for i in range(40)] for c, cell in enumerate("ab")
    }
    nights["short"] = nights["a"][:2]
    found = calibrate_from_nights(nights, nights=20)

    assert found.cells == 2
    assert found.pair_sd == pytest.approx((0.014, 0.014), rel=0.4)
    with pytest.raises(ConfigError, match="3 valid runs"):
        calibrate_from_nights({"short": nights["short"]})


@pytest.mark.parametrize(
    ("sd", "least_power", "most_power"),
    [pytest.param(0.002, 0.95, 1.0, id="quiet"), pytest.param(0.05, 0.0, 0.05, id="noisy")],
)
def test_a_baseline_sets_the_rates_of_its_nights(sd, least_power, most_power):
    """A night against six runs: 3 % is found where runs vary by 0.2 %, hardly where by 5 %."""
    cells = tuple(f"m{i}-float32-test_clean-graphs-exact" for i in range(8))
    runs = [StoredRun(source=str(i), records=make_run(i, sd=sd, cells=cells)) for i in range(6)]
    found = calibrate_from_baseline(approve(runs))

    assert (found.cells, found.baseline_runs, found.pairs) == (8, 6, 1 + MOST_RUNS)
    # Cells of different noise that share their variances have up to 1.5 % instead of 1 %.
    assert found.family_false_alarm_rate <= 0.02
    assert least_power <= found.power_at_3_percent <= most_power


def test_the_bound_of_a_rate_is_clopper_and_pearsons():
    """The printed bound equals scipy's exact one."""
    found = simulate_nights(nights=200, cells=3, pairs=3, pair_sd=0.02)
    count = round(found.power_at_3_percent * 200)
    exact = stats.binomtest(count, 200, alternative="greater").proportion_ci(0.95).low

    assert 0 < count < 200
    assert found.power_lower == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(("noise", "lag_one"), [("normal", 0.0), ("t3", 0.0), ("ar1", 0.5)])
def test_noise_has_unit_variance_and_its_autocorrelation(noise, lag_one):
    """The scenarios are what they are called."""
    values = draw_noise(np.random.default_rng(0), noise, (20_000, 10))
    product = (values[:, 1:] * values[:, :-1]).mean() / np.square(values).mean()

    assert values.std() == pytest.approx(1.0, rel=0.1)
    assert product == pytest.approx(lag_one, abs=0.03)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"nights": 0}, id="no-night"),
        pytest.param({"pairs": 1}, id="one-pair"),
        pytest.param({"pair_sd": [0.01, 0.02]}, id="two-deviations-for-24-cells"),
        pytest.param({"pair_sd": float("nan")}, id="nan"),
        pytest.param({"noise": "recorded"}, id="nothing-recorded"),
    ],
)
def test_nonsense_is_refused(wrong):
    """Limits are checked before anything is simulated."""
    with pytest.raises(ConfigError):
        simulate_nights(**wrong)
