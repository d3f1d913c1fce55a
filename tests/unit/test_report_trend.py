"""Nights against the anchor: what the report draws is what the drift verdict judges."""

import pytest

from tests.helpers.records import CELLS, make_record, make_run
from w2v_core.records.history_table import Night
from w2v_core.records.store import StoredRun
from w2v_core.report.views.trend import joined, trends
from w2v_core.verdict.approve import approve
from w2v_core.verdict.drift import judge_drift


def history_of(nights, **changes):
    found = {}
    for night in nights:
        for record in make_run(night, **changes):
            found.setdefault(record.cell, []).append(Night.of(record))
    return found


@pytest.fixture(scope="module")
def baseline():
    return approve([StoredRun(source=str(i), records=make_run(i)) for i in range(6)])


def test_tonight_is_the_last_night_and_counts_once():
    history = history_of(range(5))
    tonight = make_run(4)

    assert [len(n) for n in joined(history, tonight).values()] == [5, 5, 5]
    assert joined(history, make_run(5))[CELLS[0]][-1] == Night.of(make_run(5)[0])


def test_invalid_and_unmeasured_nights_are_left_out():
    history = {CELLS[0]: [Night("a", "2026-01-01T00:00:00Z", 0.0)]}
    tonight = [make_record(cell=CELLS[0], valid=False)]

    assert joined(history, tonight) == {CELLS[0]: []}


def test_without_a_baseline_the_first_nights_are_the_level():
    history = history_of(range(5), sd=0.0)

    found = trends(history, make_run(6, sd=0.0, slowdown=0.1), None)

    assert [t.ratios[-1] for t in found] == pytest.approx([0.9] * 3)
    assert all(t.cusum == () for t in found)


def test_with_a_baseline_the_cusum_is_that_of_the_verdict(baseline):
    history = history_of(range(6, 20))
    tonight = make_run(20, slowdown=0.05)

    found = {t.cell: t for t in trends(history, tonight, baseline)}

    judged = judge_drift(joined(history, tonight), baseline)
    assert {c: t.cusum for c, t in found.items()} == {c: d.statistic for c, d in judged.items()}


def test_the_cell_in_most_trouble_comes_first(baseline):
    tonight = list(make_run(20))
    tonight[1] = make_record(cell=CELLS[1], run=20, rtfx=1800.0)

    assert trends(history_of(range(6, 20)), tonight, baseline)[0].cell == CELLS[1]


def test_a_cell_with_one_night_has_no_trend():
    assert trends({}, make_run(0), None) == []
