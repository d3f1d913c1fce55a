"""The parts of a page about speed: throughput, latency, nights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2v_core.records.record import CellRecord
from w2v_core.report import plots
from w2v_core.report.names import labels, shared
from w2v_core.report.page import Cell, chart, missing, note, section, subsection, table
from w2v_core.report.trend import CUSUM_LIMIT, FIRST_NIGHTS, Trend

if TYPE_CHECKING:
    from w2v_core.verdict.outcome import GateResult

__all__ = ["MOST_ROWS", "NO_CHARTS", "drawn_of", "latency", "throughput", "trend"]

MOST_ROWS = 24
"""Cells in a chart; the tables have all."""
MOST_LINES = 4
MOST_TICKS = 8
NO_CHARTS = "charts need matplotlib: pip install 'w2v-core[report]'; the figures are in the matrix."


def throughput(order: Sequence[CellRecord], gate: GateResult | None) -> str:
    """Draw RTFx by cell with the range of its rounds, and the change against the baseline."""
    name = labels(order)
    rows = [
        plots.Bar(
            name[r.cell],
            (r.rtfx, r.audio_s / max(r.rounds_s), r.audio_s / min(r.rounds_s)),
            is_bad=not r.valid,
        )
        for r in order
        if r.rounds_s and min(r.rounds_s) > 0
    ]
    title = "Throughput"
    if not rows:
        return section(title, missing("no cell has a timed round."))
    if not plots.can_draw():
        return section(title, missing(NO_CHARTS))
    drawn = plots.points(
        rows[:MOST_ROWS],
        name="throughput",
        title="RTFx by cell, from the slowest to the fastest round",
        axis="RTFx, audio seconds per wall second",
        log=True,
    )
    return section(
        title,
        note(
            "The point is the median round, the bar reaches from the slowest to the fastest round "
            "of this run; rounds of one run say nothing about how runs differ. A cross is an "
            f"invalid cell.{drawn_of(rows)}{shared(order)}"
        ),
        chart(drawn, label=title),
        _against_baseline(order, gate),
    )


def _against_baseline(order: Sequence[CellRecord], gate: GateResult | None) -> str:
    """Draw the change of throughput with the gate's interval; nothing where none was judged."""
    name = labels(order)
    rows = []
    for record in order:
        judged = gate.cell(record.cell) if gate is not None else None
        speed = judged.throughput if judged is not None else None
        if judged is None or speed is None:
            continue
        percents = tuple((x - 1) * 100 for x in (speed.ratio, speed.lower, speed.upper))
        bad = any(f.kind == "throughput" and f.verdict == "FAIL" for f in judged.findings)
        rows.append(plots.Bar(name[record.cell], (percents[0], *percents[1:]), is_bad=bad))
    if not rows:
        return ""
    drawn = plots.points(
        rows[:MOST_ROWS],
        name="baseline",
        title="Change of throughput against the baseline by cell, with its interval",
        axis="change of throughput against the baseline, %",
        level=0.0,
    )
    return subsection(
        "Against the baseline",
        note(
            "With the gate's interval, simultaneous over the cells, which holds how runs differ. "
            f"Left of 0 is slower; a cross is slower than tolerated.{drawn_of(rows)}"
        ),
        chart(drawn, label="Throughput against the baseline"),
    )


def latency(order: Sequence[CellRecord]) -> str:
    """Draw the latency percentiles by cell."""
    percentiles, name = ("p50", "p90", "p99"), labels(order)
    rows = [
        plots.Bar(name[r.cell], tuple(r.latency_s[p] * 1e3 for p in percentiles))
        for r in order
        if r.rounds_s and all(p in r.latency_s for p in percentiles)
    ]
    title = "Latency"
    if not rows:
        return section(title, missing("no cell has a timed round."))
    if not plots.can_draw():
        return section(title, missing(NO_CHARTS))
    drawn = plots.bars(
        rows[:MOST_ROWS],
        parts=percentiles,
        name="latency",
        title="Latency percentiles by cell in milliseconds",
        axis="ms from the batch's staging to the transcript",
        stacked=False,
    )
    return section(
        title,
        note(f"Over all utterances of all rounds.{drawn_of(rows)}{shared(order)}"),
        chart(drawn, label=title),
    )


def trend(nights: Sequence[Trend] | None, *, has_anchor: bool) -> str:
    """Draw the nights against the anchor, and the CUSUM that raises the drift alarm."""
    title = "Nights"
    if nights is None:
        return section(title, missing("no history was given; w2v report RUN --history DIR."))
    if not nights:
        return section(title, missing("no cell has two valid nights yet."))
    if not plots.can_draw():
        return section(title, missing(NO_CHARTS), _trend_table(nights))
    dates = sorted({night for t in nights for night in t.nights})
    index = {night: float(i) for i, night in enumerate(dates)}
    level = "anchor" if has_anchor else f"median of the first {FIRST_NIGHTS} nights"
    ratios = plots.lines(
        [
            plots.Series(t.cell, tuple(index[n] for n in t.nights), t.ratios)
            for t in nights[:MOST_LINES]
        ],
        name="trend",
        title=f"Throughput of {len(dates)} nights over the {level}",
        axis="RTFx / anchor",
        ticks=_ticks(dates),
        level=(1.0, level),
        band=_band(nights, dates),
    )
    parts = [
        note(
            f"{len(nights)} cells over {len(dates)} nights, 1 is the {level}. Lines are the "
            f"{min(MOST_LINES, len(nights))} cells in most trouble, the band holds all cells."
        ),
        chart(ratios, label="Throughput over the nights"),
        _cusum(nights[:MOST_LINES], dates, index),
        _trend_table(nights),
    ]
    return section(title, *parts)


def _cusum(nights: Sequence[Trend], dates: Sequence[str], index: dict[str, float]) -> str:
    series = [
        plots.Series(t.cell, tuple(index[n] for n in t.nights[-len(t.cusum) :]), t.cusum)
        for t in nights
        if t.cusum
    ]
    if not series:
        return missing("the CUSUM needs a baseline; w2v report RUN --history DIR --baseline FILE.")
    drawn = plots.lines(
        series,
        name="cusum",
        title="Cumulative sum of losses against the anchor by night",
        axis="CUSUM (standard deviations)",
        ticks=_ticks(dates),
        level=(CUSUM_LIMIT, "alarm"),
    )
    return chart(drawn, label="CUSUM over the nights")


def _trend_table(nights: Sequence[Trend]) -> str:
    rows = [
        [
            Cell(t.cell),
            Cell(str(len(t.nights)), "n"),
            Cell(f"{t.ratios[-1]:.4f}", "n"),
            Cell(f"{min(t.ratios):.4f}", "n"),
            Cell(
                f"{t.last_cusum:.2f}" if t.cusum else "-",
                "n bad" if t.last_cusum > CUSUM_LIMIT else "n",
            ),
        ]
        for t in nights[:MOST_ROWS]
    ]
    headers = ("cell", "nights", "last / level", "lowest / level", "CUSUM")
    return table(headers, rows, label="Cells over the nights")


def _band(
    nights: Sequence[Trend], dates: Sequence[str]
) -> tuple[list[float], list[float], list[float]]:
    by_date: dict[str, list[float]] = {night: [] for night in dates}
    for cell in nights:
        for night, ratio in zip(cell.nights, cell.ratios, strict=True):
            by_date[night].append(ratio)
    values = [by_date[night] for night in dates]
    return [float(i) for i in range(len(dates))], [min(v) for v in values], [max(v) for v in values]


def _ticks(dates: Sequence[str]) -> list[tuple[float, str]]:
    step = max(1, -(-len(dates) // MOST_TICKS))
    return [(float(i), dates[i][:10]) for i in range(0, len(dates), step)]


def drawn_of(rows: Sequence[object]) -> str:
    """Say how many of the rows a chart or table shows; empty where it shows all."""
    if len(rows) <= MOST_ROWS:
        return ""
    return f" Drawn are {MOST_ROWS} of {len(rows)} cells, those with most against them first."
