"""Charts: every value at its place on an axis of round numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2v_core.report.charts import Bar, Series, intervals, lines, markers

POSITIVE = st.floats(1e-3, 1e7)


def bar(*values, is_bad=False):
    return Bar("cell", values, "", is_bad)


def value_at(chart, at):
    """Read a place back by the axis' first and last number, as an eye would."""
    first, last = chart.ticks[0], chart.ticks[-1]
    low, high = float(first.text), float(last.text)
    return low + (at - first.at) / (last.at - first.at) * (high - low)


@pytest.mark.parametrize("value", [12.0, 15.0, 18.5])
def test_a_value_stands_where_the_axis_says(value):
    chart = intervals([bar(value, 10.0, 20.0)], title="t", axis="a")

    assert value_at(chart, chart.rows[0].values[0]) == pytest.approx(value, abs=0.02)


@given(st.lists(st.tuples(POSITIVE, POSITIVE, POSITIVE), min_size=1, max_size=5), st.booleans())
def test_every_value_and_every_number_lies_on_the_axis(rows, log):
    chart = intervals([bar(*values) for values in rows], title="t", axis="a", log=log)

    places = [at for row in chart.rows for at in row.values] + [tick.at for tick in chart.ticks]
    assert all(0 <= at <= 100 for at in places)
    assert 1 <= len(chart.ticks) <= 20


def test_an_axis_does_not_blow_up_the_noise_of_rounds():
    chart = intervals([bar(1000.0, 999.0, 1001.0)], title="t", axis="a")

    _, low, high = chart.rows[0].values
    assert high - low < 5  # percent of the axis


def test_a_level_is_in_the_middle():
    chart = intervals([bar(-5.0, -7.0, -3.0)], title="t", axis="a", level=0.0)

    assert chart.level == 50.0
    assert chart.rows[0].values[0] < 50.0


def test_values_far_apart_go_on_a_logarithmic_axis():
    rows = [bar(v, v, v) for v in (10.0, 100.0, 1000.0)]
    chart = intervals(rows, title="t", axis="a", log=True)

    low, middle, high = (row.values[0] for row in chart.rows)
    assert middle - low == pytest.approx(high - middle, abs=0.05)
    assert {"10", "100", "1000"} <= {tick.text for tick in chart.ticks}


def test_markers_start_at_zero():
    chart = markers([bar(10.0, 15.0, 20.0)], parts=("p50", "p90", "p99"), title="t", axis="a")

    assert (chart.ticks[0].at, chart.ticks[0].text) == (0.0, "0")


def test_a_line_falls_where_its_values_fall():
    chart = lines(
        [Series("cell", (0.0, 1.0), (1.0, 0.9))],
        title="t",
        axis="a",
        dates=["2026-01-01T00", "2026-01-02T00"],
        level=(1.0, "anchor"),
    )

    (first, last) = [[float(v) for v in p.split(",")] for p in chart.lines[0].points.split()]
    assert (first[0], last[0]) == (0.0, 100.0)
    assert first[1] == pytest.approx(chart.level.at)
    assert last[1] > first[1]  # downwards
