"""Charts as numbers: positions in percent, which a template draws with HTML and CSS.

A drawing's text shrinks with the drawing; a chart of boxes keeps its text at any width, on a phone
and on paper, and follows the page's colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LABEL_CHARS = 50
MOST_ROWS = 24
"""Rows in a chart; the tables have all."""
MOST_TICKS = 6
LEAST_LEVEL_RANGE = 2.0  # either side of a level, in the axis' unit
LEAST_RANGE = 0.05  # of the values; an axis shows no less
LOG_RANGE = 4.0  # values further apart than this go on a logarithmic axis
STEPS = (1.0, 2.0, 5.0, 10.0)


class Bar(NamedTuple):
    """One row of a chart: values along one axis, and how the row ends."""

    label: str
    values: tuple[float, ...]
    text: str
    is_bad: bool = False


class Tick(NamedTuple):
    """A place on an axis, and what stands there."""

    at: float
    """Percent of the axis."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Rows on one axis; every position is a percentage of it."""

    title: str
    axis: str
    rows: tuple[Bar, ...]
    """With positions in place of the values."""
    ticks: tuple[Tick, ...]
    parts: tuple[str, ...] = ()
    """What the values of a row are; empty where they are (value, lower, upper)."""
    is_stacked: bool = False
    level: float | None = None


class Series(NamedTuple):
    """A line over the nights; ``x`` counts nights from the first."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Polyline(NamedTuple):
    """A drawn line: ``x,y`` pairs in percent from the left and the top."""

    label: str
    points: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Lines over the nights, a level across them, and a band behind."""

    title: str
    axis: str
    lines: tuple[Polyline, ...]
    band: str
    """The outline of the range of all cells; empty where none is drawn."""
    level: Tick
    num_nights: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def intervals(
    rows: Sequence[Bar], *, title: str, axis: str, log: bool = False, level: float | None = None
) -> Chart | None:
    """Place (value, lower, upper) of the first rows: a point on its interval, and a level across.

    Args:
        rows: Values in the axis' unit; None is returned where there are none.
        title: What is shown, for those who cannot see it.
        axis: The axis' quantity and unit.
        log: Whether values far apart go on a logarithmic axis.
        level: Is in the middle of the axis.
    """
    if not (rows := rows[:MOST_ROWS]):
        return None
    scale = _around([value for row in rows for value in row.values], log=log, level=level)
    at = None if level is None else scale.at(level)
    return Chart(title=title, axis=axis, rows=scale.rows(rows), ticks=scale.ticks(), level=at)


def markers(rows: Sequence[Bar], *, parts: Sequence[str], title: str, axis: str) -> Chart | None:
    """Place a marker for each value of the first rows on an axis from zero; None without rows."""
    if not (rows := rows[:MOST_ROWS]):
        return None
    scale = _Scale(0.0, 1.05 * max(value for row in rows for value in row.values) or 1.0)
    placed, ticks = scale.rows(rows), scale.ticks()
    return Chart(title=title, axis=axis, rows=placed, ticks=ticks, parts=tuple(parts))


def shares(rows: Sequence[Bar], *, parts: Sequence[str], title: str, axis: str) -> Chart | None:
    """Place the percentages of the first rows end to end; None without rows."""
    if not (rows := rows[:MOST_ROWS]):
        return None
    return Chart(
        title=title,
        axis=axis,
        rows=tuple(row._replace(label=_label(row.label)) for row in rows),
        ticks=tuple(Tick(float(i), str(i)) for i in range(0, 101, 20)),
        parts=tuple(parts),
        is_stacked=True,
    )


def lines(
    series: Sequence[Series],
    *,
    title: str,
    axis: str,
    dates: Sequence[str],
    level: tuple[float, str],
    band: Sequence[tuple[float, float]] = (),
) -> LineChart:
    """Place lines over the nights, a level, and the (low, high) of every night behind them."""
    edges = [v for pair in band for v in pair]
    values = [level[0], *edges, *(y for line in series for y in line.y)]
    margin = 0.06 * (max(values) - min(values)) or 0.05
    scale = _Scale(min(values) - margin, max(values) + margin)
    across = max(1, len(dates) - 1)

    def point(x: float, y: float) -> str:
        return f"{x / across * 100:.2f},{100 - scale.at(y):.2f}"

    tops, bottoms = enumerate(h for _, h in band), enumerate(v for v, _ in band)
    outline = [*tops, *reversed(list(bottoms))]
    step = max(1, math.ceil(len(dates) / MOST_TICKS))
    return LineChart(
        title=title,
        axis=axis,
        lines=tuple(
            Polyline(_label(s.label), " ".join(point(x, y) for x, y in zip(s.x, s.y, strict=True)))
            for s in series
        ),
        band=" ".join(point(float(x), y) for x, y in outline),
        num_nights=len(dates),
        level=Tick(round(100 - scale.at(level[0]), 2), level[1]),
        x_ticks=tuple(Tick(i / across * 100, dates[i][:10]) for i in range(0, len(dates), step)),
        y_ticks=tuple(Tick(round(100 - t.at, 2), t.text) for t in scale.ticks()),
    )


class _Scale(NamedTuple):
    """From values to percentages of an axis."""

    low: float
    high: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value."""
        by: Callable[[float], float] = math.log if self.is_log else float
        share = (by(value) - by(self.low)) / (by(self.high) - by(self.low))
        return round(share * 100, 2)

    def rows(self, rows: Sequence[Bar]) -> tuple[Bar, ...]:
        """Return the rows with places for their values."""
        return tuple(
            row._replace(label=_label(row.label), values=tuple(map(self.at, row.values)))
            for row in rows
        )

    def ticks(self) -> tuple[Tick, ...]:
        """Return the places of round numbers."""
        values = self._powers() if self.is_log else self._steps()
        return tuple(Tick(self.at(value), text) for value, text in values)

    def _steps(self) -> list[tuple[float, str]]:
        raw = (self.high - self.low) / MOST_TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(s * power for s in STEPS if s * power >= raw * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(i * step, f"{i * step:.{decimals}f}") for i in range(first, last + 1)]

    def _powers(self) -> list[tuple[float, str]]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1.0,) if len(powers) > MOST_TICKS else STEPS[:3]
        values = [s * 10.0**p for p in powers for s in steps]
        return [(v, f"{v:g}") for v in values if self.low <= v <= self.high]


def _around(values: Sequence[float], *, log: bool, level: float | None) -> _Scale:
    """Choose an axis that holds all values, and does not blow up the noise among them."""
    lowest, highest = min(values), max(values)
    if log and highest > LOG_RANGE * lowest > 0:
        return _Scale(lowest / 1.1, highest * 1.1, is_log=True)
    if level is not None:
        reach = max(LEAST_LEVEL_RANGE, *(1.05 * abs(value - level) for value in values))
        return _Scale(level - reach, level + reach)
    margin = max(0.05 * (highest - lowest), LEAST_RANGE * max(abs(lowest), abs(highest))) or 1.0
    low = lowest - margin
    return _Scale(max(0.0, low) if lowest >= 0 else low, highest + margin)


def _label(text: str) -> str:
    return text if len(text) <= LABEL_CHARS else f"{text[: LABEL_CHARS - 1]}\u2026"
