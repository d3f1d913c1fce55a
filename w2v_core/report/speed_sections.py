"""The parts of a page about time: throughput, latency, stages, batching, nights."""

from __future__ import annotations

from collections.abc import Sequence

from w2v_core.bench.record import TIMED_REGION, CellRecord
from w2v_core.report import plots
from w2v_core.report.page import Cell, chart, missing, note, section, table
from w2v_core.report.trend import CUSUM_LIMIT, FIRST_NIGHTS, Trend

__all__ = ["MOST_ROWS", "NO_CHARTS", "batching", "latency", "stages", "throughput", "trend"]

MOST_ROWS = 24
"""Cells in a chart; the tables have all."""
MOST_LINES = 4
MOST_TICKS = 8
NO_CHARTS = "charts need matplotlib: pip install 'w2v-core[report]'; the figures are in the matrix."
STAGES = {
    "stage": "staging and H2D",
    "forward": "forward",
    "wait": "waiting for D2H",
    "decode": "CTC decoding",
}


def throughput(order: Sequence[CellRecord]) -> str:
    """Draw RTFx by cell with the range of its rounds."""
    rows = [
        plots.Bar(
            r.cell,
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
            f"invalid cell. {_of(rows)}"
        ),
        chart(drawn, label=title),
    )


def latency(order: Sequence[CellRecord]) -> str:
    """Draw the latency percentiles by cell."""
    names = ("p50", "p90", "p99")
    rows = [
        plots.Bar(r.cell, tuple(r.latency_s[n] * 1e3 for n in names))
        for r in order
        if r.rounds_s and all(n in r.latency_s for n in names)
    ]
    title = "Latency"
    if not rows:
        return section(title, missing("no cell has a timed round."))
    if not plots.can_draw():
        return section(title, missing(NO_CHARTS))
    drawn = plots.bars(
        rows[:MOST_ROWS],
        parts=names,
        name="latency",
        title="Latency percentiles by cell in milliseconds",
        axis="ms from the batch's staging to the transcript",
        stacked=False,
    )
    return section(
        title,
        note(f"Over all utterances of all rounds. {_of(rows)}"),
        chart(drawn, label=title),
    )


def stages(order: Sequence[CellRecord]) -> str:
    """Draw where the host's time goes."""
    rows = [
        plots.Bar(r.cell, tuple(r.stage_s.get(name, 0.0) / total * 100 for name in STAGES))
        for r in order
        if (total := sum(r.stage_s.get(name, 0.0) for name in STAGES)) > 0
    ]
    title = "Stages"
    if not rows:
        return section(title, missing("no cell holds stage times."))
    if not plots.can_draw():
        return section(title, missing(NO_CHARTS))
    drawn = plots.bars(
        rows[:MOST_ROWS],
        parts=list(STAGES.values()),
        name="stages",
        title="Share of the host's seconds by stage and cell",
        axis="% of the host's seconds",
        stacked=True,
    )
    return section(
        title,
        note(
            "Host seconds per round; stages overlap, so they do not add up to the wall time. On an "
            "asynchronous device, forward is its enqueue and the computing shows as waiting. "
            f"Normalising is not in it: {TIMED_REGION}. {_of(rows)}"
        ),
        chart(drawn, label=title),
    )


def batching(order: Sequence[CellRecord]) -> str:
    """Show the batch plans and what padding costs."""
    title = "Buckets and padding"
    if not order:
        return section(title, missing("no cell was measured."))
    rows = [
        [
            Cell(r.cell),
            Cell(r.batch_plan),
            Cell(str(r.num_utterances), "n"),
            Cell(f"{r.padding_efficiency:.1%}", "n"),
            Cell(str(r.graph_captures), "n"),
            Cell(f"{r.warm_up_s:.3g}", "n"),
            Cell(f"{r.captures_timed} / {r.compilations_timed} / {r.cpu_fallbacks_timed}", "n"),
        ]
        for r in order
    ]
    headers = (
        "cell",
        "plan (kind-buckets x rows)",
        "utterances",
        "padding eff.",
        "captures",
        "warm-up s",
        "timed captures / compilations / fallbacks",
    )
    return section(
        title,
        note(
            "Padding efficiency is real over padded audio samples, padding rows counted. How often "
            "each bucket was used is not in the record."
        ),
        table(headers, rows, label=title),
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


def _of(rows: Sequence[object]) -> str:
    if len(rows) <= MOST_ROWS:
        return ""
    return f"Drawn are {MOST_ROWS} of {len(rows)} cells, those with most against them first."
