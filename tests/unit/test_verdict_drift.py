"""The drift alarm: against a second form of the sum, and its error rates."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.records import CELLS, START, make_run
from w2v_core.errors import RecordError
from w2v_core.records.history_table import Night
from w2v_core.records.store import StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.cusum import LIMIT, cusum
from w2v_core.verdict.drift import (
    Anchor,
    anchors,
    detect_drift,
    judge_drift,
)
from w2v_core.verdict.statistics import moderate

ANCHOR = Anchor(mean=np.log(1000.0), sd=0.01, df=1e6, signature="s")
NIGHTS = [f"night-{i}" for i in range(60)]


def test_the_sum_is_the_largest_over_all_starts():
    """S equals the largest sum of (z - k) over every stretch that ends tonight, or 0."""
    scores = np.random.default_rng(0).normal(0.5, 1.5, 50)
    expected = [
        max(0.0, *(float(np.sum(scores[start : n + 1] - 1.0)) for start in range(n + 1)))
        for n in range(50)
    ]

    assert cusum(scores - 1.0) == pytest.approx(expected)


def follow(losses):
    return detect_drift(NIGHTS[: len(losses)], 1000.0 * np.exp(-np.asarray(losses)), ANCHOR)


def test_the_change_point_is_the_night_on_which_the_loss_began():
    """A step of 3 % on the 20th night is dated to it and alarms a few nights later."""
    found = follow([0.0] * 20 + [0.03] * 10)

    assert found.change_night == "night-20"
    assert found.alarm_night == "night-23"
    assert found.loss == pytest.approx(1 - np.exp(-0.03))


def test_a_loss_below_the_slack_never_alarms():
    """One standard deviation of loss is noise, for as long as it lasts."""
    assert follow([0.0099] * 60).alarm_night is None


def test_the_limit_itself_is_no_alarm():
    """The alarm needs a sum above h."""
    scores = [1.0 + LIMIT / 7] * 7
    at_limit = cusum(np.asarray(scores) - 1.0)[-1]

    assert at_limit == pytest.approx(LIMIT)
    assert follow([0.02 - 1e-9] * 7).alarm_night is None
    assert follow([0.02 + 1e-6] * 8).alarm_night is not None


def test_getting_faster_is_no_alarm():
    """The sum looks one way."""
    assert follow([-0.05] * 60).alarm_night is None


def simulate(*, sd, nights, drift, cells=24, runs=5, series=9600, seed=0):
    """Share of series that alarm; the anchor is estimated from ``runs`` runs of 24 cells."""
    generator = np.random.default_rng(seed)
    base = generator.normal(0, sd, (series // cells, cells, runs))
    variance, df = moderate(base.var(axis=-1, ddof=1), np.full(base.shape[:2], runs - 1.0))
    spread = np.sqrt(variance * (1 + 1 / runs))
    tonight = generator.normal(0, sd, (*base.shape[:2], nights))
    tonight += np.log1p(-drift) * np.minimum(np.arange(1, nights + 1), 10)
    anchor = Anchor(
        mean=base.mean(axis=-1)[..., None], sd=spread[..., None], df=df[..., None], signature=""
    )
    return float((cusum(anchor.scores(tonight) - 1.0) > LIMIT).any(axis=-1).mean())


def test_slow_drift_is_found_within_ten_nights():
    """0.3 % a night at a deviation of 0.5 %: found in 95 % of the series or more."""
    assert simulate(sd=0.005, nights=10, drift=0.003) >= 0.95


def test_no_drift_alarms_on_less_than_one_series_in_a_hundred():
    """30 nights without drift: at most 1 % of the cells alarm."""
    assert simulate(sd=0.005, nights=30, drift=0.0) <= 0.01


def test_noisier_nights_take_two_weeks():
    """0.3 % a night at a deviation of 1 %: found within 14 nights in 95 %, with ten runs."""
    assert simulate(sd=0.01, nights=14, drift=0.003, runs=10) >= 0.95


def baseline():
    return approve([StoredRun(source=f"run {i}", records=make_run(i)) for i in range(6)])


def test_anchors_are_the_baselines_and_carry_its_signature():
    """The anchor is the mean of the approved runs, signed by the approval."""
    approved = baseline()
    found = anchors(approved)

    assert set(found) == set(CELLS)
    assert found[CELLS[0]].mean == pytest.approx(np.mean(approved.log_rtfx(CELLS[0])))
    assert {a.signature for a in found.values()} == {approved.signature}


def test_nights_before_the_approval_do_not_count():
    """The baseline's own runs, and older ones, are not held against it."""
    old = [r for i in range(6) for r in make_run(i, slowdown=0.1)]
    found = judge_drift({c: [Night.of(r) for r in old if r.cell == c] for c in CELLS}, baseline())

    assert found == {}


def test_a_drifting_history_names_its_night():
    """A cell that loses 0.5 % a night alarms with the night on which it began."""
    approved = baseline()
    nights = [make_run(10 + i, slowdown=max(0, i - 4) * 0.005, seed=7) for i in range(15)]
    cell = CELLS[1]
    series = [Night.of(r) for night in nights for r in night if r.cell == cell]
    found = judge_drift({cell: series}, approved)[cell]
    began = (np.datetime64(found.change_night[:10]) - np.datetime64(START.date())).astype(int)

    assert found.alarm_night is not None
    assert 13 <= began <= 17


@pytest.mark.parametrize(
    ("nights", "values"),
    [
        pytest.param(["a"], [float("nan")], id="nan"),
        pytest.param(["a"], [0.0], id="zero"),
        pytest.param(["a", "b"], [1.0], id="lengths"),
    ],
)
def test_a_series_that_is_none_is_refused(nights, values):
    """A throughput that cannot be is an error, not a calm night."""
    with pytest.raises(RecordError):
        detect_drift(nights, values, ANCHOR)
