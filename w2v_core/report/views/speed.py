"""Speed as a report shows it: throughput, its change against the baseline, latency, nights."""

from __future__ import annotations

from collections.abc import Sequence

from w2v_core.report import charts
from w2v_core.report.charts import Bar, Chart, LineChart, Series
from w2v_core.report.text import figure
from w2v_core.report.views.ranking import Standing
from w2v_core.report.views.trend import CUSUM_LIMIT, Trend

MOST_LINES = 4
PERCENTILES = ("p50", "p90", "p99")


def throughput(order: Sequence[Standing]) -> Chart | None:
    """Place RTFx by cell with the range of its rounds; None where no round was timed."""
    rows = []
    for cell in timed(order):
        r = cell.record
        values = (r.rtfx, r.audio_s / max(r.rounds_s), r.audio_s / min(r.rounds_s))
        rows.append(Bar(cell.label, values, figure(r.rtfx), is_bad=not r.valid))
    return charts.intervals(
        rows,
        title="RTFx by cell, from the slowest to the fastest round",
        axis="RTFx, audio seconds per wall second",
        log=True,
    )


def timed(order: Sequence[Standing]) -> list[Standing]:
    """Return the cells with timed rounds."""
    return [c for c in order if c.record.rounds_s and min(c.record.rounds_s) > 0]


def against_baseline(order: Sequence[Standing]) -> Chart | None:
    """Place the change of throughput with the gate's interval; None where none was judged."""
    rows = []
    for cell in order:
        if cell.judged is None or cell.speed is None:
            continue
        speed = cell.speed
        change, low, high = ((x - 1) * 100 for x in (speed.ratio, speed.lower, speed.upper))
        bad = any(f.kind == "throughput" and f.verdict == "FAIL" for f in cell.judged.findings)
        rows.append(Bar(cell.label, (change, low, high), f"{change:+.1f} %", is_bad=bad))
    return charts.intervals(
        rows,
        title="Change of throughput against the baseline by cell, with its interval",
        axis="change of throughput against the baseline, %",
        level=0.0,
    )


def latency(order: Sequence[Standing]) -> Chart | None:
    """Place the latency percentiles by cell, milliseconds; None where no round was timed."""
    rows = []
    for cell in timed(order):
        values_s = cell.record.latency_s
        if all(p in values_s for p in PERCENTILES):
            values = tuple(values_s[p] * 1e3 for p in PERCENTILES)
            rows.append(Bar(cell.label, values, figure(values_s["p99"] * 1e3)))
    return charts.markers(
        rows,
        parts=PERCENTILES,
        title="Latency percentiles by cell in milliseconds",
        axis="ms from the batch's staging to the transcript; the figure is p99",
    )


def nights(trends: Sequence[Trend], *, level: str) -> LineChart:
    """Place the throughput of the cells in most trouble over the nights, against the level."""
    dates, index = _nights(trends)
    ratios: dict[str, list[float]] = {night: [] for night in dates}
    for night, ratio in ((n, r) for t in trends for n, r in zip(t.nights, t.ratios, strict=True)):
        ratios[night].append(ratio)
    return charts.lines(
        [_series(t, t.ratios, index) for t in trends[:MOST_LINES]],
        title=f"Throughput of {len(dates)} nights over the {level}",
        axis="RTFx over the level",
        dates=dates,
        level=(1.0, level),
        band=[(min(ratios[n]), max(ratios[n])) for n in dates],
    )


def cusum(trends: Sequence[Trend]) -> LineChart | None:
    """Place the sums that raise the drift alarm; None without a baseline."""
    dates, index = _nights(trends)
    series = [_series(t, t.cusum, index) for t in trends[:MOST_LINES] if t.cusum]
    if not series:
        return None
    return charts.lines(
        series,
        title="Cumulative sum of losses against the anchor by night",
        axis="CUSUM, standard deviations",
        dates=dates,
        level=(CUSUM_LIMIT, "alarm"),
    )


def _series(trend: Trend, values: tuple[float, ...], index: dict[str, float]) -> Series:
    """Return the line of the last so many nights of a cell."""
    return Series(trend.cell, tuple(index[n] for n in trend.nights[-len(values) :]), values)


def _nights(trends: Sequence[Trend]) -> tuple[list[str], dict[str, float]]:
    dates = sorted({night for t in trends for night in t.nights})
    return dates, {night: float(i) for i, night in enumerate(dates)}
