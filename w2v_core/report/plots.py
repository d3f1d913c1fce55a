"""Charts as inline SVG that follows the page's colours. matplotlib is imported when one is drawn.

The same values give the same bytes: the ids come from a fixed salt, the file carries no date, and
the text stays text (the browser sets it), so no font of the machine gets in.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from w2v_core.report.text import html_safe, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Bar", "Series", "bars", "can_draw", "lines", "points"]

WIDTH_IN = 10.5
ROW_IN = 0.26
MARGIN_IN = 0.75  # axis and its label
LABEL_CHARS = 50
CHAR_IN = 0.072  # mean width of a character of a label
LEAST_LEVEL_RANGE = 2.0  # either side of a level, in the axis' unit
LEAST_RANGE = 0.05  # of the values; an axis shows no less
LOG_RANGE = 4.0  # values further apart than this go on a logarithmic axis
COLOURS = {  # stand-ins that matplotlib takes, and what the page has in their place
    "#000001": "currentColor",
    "#000002": "var(--muted)",
    "#000003": "var(--grid)",
    "#000004": "var(--series-1)",
    "#000005": "var(--series-2)",
    "#000006": "var(--series-3)",
    "#000007": "var(--series-4)",
    "#000008": "var(--bad)",
    "#000009": "var(--series-5)",
}
TEXT, MUTED, GRID = list(COLOURS)[:3]
SERIES = list(COLOURS)[3:7]
BAD = "#000008"
PARTS = ("#000009", *SERIES)  # of a whole; the first lies outside of what is timed
MARKERS = ("o", "s", "^", "D")
DASHES = ("-", "--", "-.", ":")


class Bar(NamedTuple):
    """One row of a chart: values along one axis, those after the first may be None."""

    label: str
    values: tuple[float, ...]
    is_bad: bool = False


class Series(NamedTuple):
    """A line over the nights; ``x`` counts nights from the first."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def points(
    rows: Sequence[Bar],
    *,
    name: str,
    title: str,
    axis: str,
    log: bool = False,
    level: float | None = None,
) -> str:
    """Draw (value, lower, upper) a row: a point on its interval; and a level across them."""

    def draw(axes: Axes) -> None:
        if level is not None:
            axes.axvline(level, color=MUTED, linewidth=1.2)
        for y, row in enumerate(rows):
            value, lower, upper = row.values
            colour, marker = (BAD, "X") if row.is_bad else (SERIES[0], "o")
            axes.plot([lower, upper], [y, y], color=colour, linewidth=2.5, alpha=0.55)
            axes.plot([value], [y], color=colour, marker=marker, markersize=5)
        _rows_axis(axes, rows)
        axes.set_xlabel(axis, color=TEXT)
        values = [value for row in rows for value in row.values]
        if log and max(values) > LOG_RANGE * min(values) > 0:
            _log_axis(axes)
            return
        axes.ticklabel_format(axis="x", useOffset=False)
        if level is not None:
            reach = max(LEAST_LEVEL_RANGE, *(1.05 * abs(value - level) for value in values))
            axes.set_xlim(level - reach, level + reach)
        elif min(values) > (1 - LEAST_RANGE) * max(values):  # or noise would fill the chart
            axes.set_xlim(min(values) * (1 - LEAST_RANGE), max(values) * (1 + LEAST_RANGE))

    height_in = len(rows) * ROW_IN + MARGIN_IN
    return _draw(draw, name=name, title=title, height_in=height_in, left_in=_label_in(rows))


def bars(
    rows: Sequence[Bar], *, parts: Sequence[str], name: str, title: str, axis: str, stacked: bool
) -> str:
    """Draw percentages end to end (``stacked``), or a marker for each value on a common line."""

    def draw(axes: Axes) -> None:
        left = [0.0] * len(rows)
        if not stacked:
            for y, row in enumerate(rows):
                axes.plot(row.values, [y] * len(row.values), color=MUTED, linewidth=1)
        for index, part in enumerate(parts):
            widths = [row.values[index] for row in rows]
            colour = SERIES[index % len(SERIES)]
            if stacked:
                colour = PARTS[index % len(PARTS)]
                axes.barh(
                    range(len(rows)), widths, left=left, color=colour, height=0.62, label=part
                )
                left = [a + b for a, b in zip(left, widths, strict=True)]
            else:
                axes.plot(
                    widths,
                    range(len(rows)),
                    linestyle="none",
                    marker=MARKERS[index % len(MARKERS)],
                    color=colour,
                    markersize=5,
                    label=part,
                )
        _rows_axis(axes, rows)
        axes.set_xlabel(axis, color=TEXT)
        highest = max(value for row in rows for value in row.values)
        axes.set_xlim(left=0, right=100 if stacked else 1.05 * highest or 1)
        _legend(axes, columns=len(parts))

    height_in = len(rows) * ROW_IN + MARGIN_IN + 0.35
    return _draw(
        draw, name=name, title=title, height_in=height_in, top_in=0.35, left_in=_label_in(rows)
    )


def lines(
    series: Sequence[Series],
    *,
    name: str,
    title: str,
    axis: str,
    ticks: Sequence[tuple[float, str]],
    level: tuple[float, str],
    band: tuple[Sequence[float], Sequence[float], Sequence[float]] | None = None,
) -> str:
    """Draw lines over the nights, a level across them, and a (x, low, high) band behind."""

    def draw(axes: Axes) -> None:
        if band is not None:
            axes.fill_between(*band, color=MUTED, alpha=0.25, linewidth=0, label="all cells")
        axes.axhline(level[0], color=BAD, linewidth=1.2, linestyle=(0, (6, 3)), label=level[1])
        for index, line in enumerate(series):
            axes.plot(
                line.x,
                line.y,
                color=SERIES[index % len(SERIES)],
                linestyle=DASHES[index % len(DASHES)],
                linewidth=1.6,
                label=_label(line.label),
            )
        axes.set_ylabel(axis, color=TEXT)
        axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
        axes.grid(visible=True, axis="y", color=GRID, linewidth=0.6)
        _legend(axes, columns=2)

    height_in = 3.2 + 0.2 * (len(series) + 3) / 2
    return _draw(
        draw,
        name=name,
        title=title,
        height_in=height_in,
        top_in=0.2 + 0.2 * (len(series) + 3) / 2,
        left_in=0.8,
    )


def _draw(
    draw: Callable[[Axes], None],
    *,
    name: str,
    title: str,
    height_in: float,
    top_in: float = 0.1,
    left_in: float,
) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {
        "svg.hashsalt": name,  # another salt for each chart of a page: ids must not meet
        "svg.fonttype": "none",
        "text.parse_math": False,  # a cell's name may hold a dollar
        "font.family": "DejaVu Sans",  # comes with matplotlib, so widths are alike everywhere
        "font.size": 8.5,
        "path.simplify": True,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        FigureCanvasSVG(figure)
        bottom_in = 0.5
        axes = figure.add_axes(
            (
                left_in / WIDTH_IN,
                bottom_in / height_in,
                1 - (left_in + 0.15) / WIDTH_IN,
                1 - (bottom_in + top_in) / height_in,
            )
        )
        axes.tick_params(colors=TEXT, length=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        draw(axes)
        buffer = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), title=title)


def _inline(svg: str, *, title: str) -> str:
    """Cut a drawing down to what a page needs, and hand its colours to the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would style the whole page
    svg = re.sub(r' id="(?![mpC][0-9a-f_]{8,})[^"]*"', "", svg)  # only what is referred to
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)  # a hundredth of a point
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html_safe(title)}"', 1)


def _rows_axis(axes: Axes, rows: Sequence[Bar]) -> None:
    axes.set_yticks(range(len(rows)), [_label(row.label) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _log_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _legend(axes: Axes, *, columns: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        frameon=False,
        labelcolor=TEXT,
        borderaxespad=0.2,
        fontsize=8.5,
    )


def _label_in(rows: Sequence[Bar]) -> float:
    """Return the width of the labels in inches; the browser sets them in a font of its own."""
    return 0.3 + CHAR_IN * max(len(_label(row.label)) for row in rows)


def _label(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= LABEL_CHARS else f"{shown[: LABEL_CHARS - 1]}\u2026"
