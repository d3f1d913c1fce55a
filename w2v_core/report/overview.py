"""The top of a page: the verdict, its counts, the figures of the night, and who says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from w2v_core.records.record import CellRecord
from w2v_core.report.names import labels
from w2v_core.report.page import note
from w2v_core.report.ranking import (
    NOT_JUDGED,
    STATUS_CLASS,
    headline,
    status,
    vanished,
    warnings,
)
from w2v_core.report.text import figure, html_safe

if TYPE_CHECKING:
    from w2v_core.verdict.calibrate import Calibration
    from w2v_core.verdict.outcome import GateResult

__all__ = ["header", "verdict_class"]


class _Tile(NamedTuple):
    name: str
    value: str
    below: str
    kind: str = ""


def verdict_class(records: Sequence[CellRecord], gate: GateResult | None) -> str:
    """Return ``good``, ``bad``, ``doubt``, or ``plain`` where no gate judged a valid run."""
    if not records or not all(r.valid for r in records):
        return "bad"
    return STATUS_CLASS[gate.verdict] if gate is not None else "plain"


def header(
    records: Sequence[CellRecord], gate: GateResult | None, calibration: Calibration | None
) -> str:
    """Write the verdict with its counts, the run, and how far the gate can be trusted."""
    kind = verdict_class(records, gate)
    parts = [f'<header>\n<h1 class="{kind}">{html_safe(headline(records, gate))}</h1>']
    parts.append(_states(records, gate))
    if gate is not None and gate.verdict != "PASS":
        parts += [f'<p class="reason">{html_safe(r, limit=240)}</p>' for r in gate.reasons[:1]]
    parts += [_run(records), _tiles(records, gate)] if records else []
    if gate is None:
        parts.append(
            note("No gate has judged this run against a baseline; valid means sound, not good.")
        )
    parts.append(_error_rates(calibration))
    return "\n".join((*parts, "</header>"))


def _states(records: Sequence[CellRecord], gate: GateResult | None) -> str:
    """Draw the counts of the cells by status, each as wide as its share."""
    counts = Counter(status(r, gate) for r in records)
    counts["vanished"] = len(vanished(records, gate))
    if counts[NOT_JUDGED] == counts.total():
        return ""  # the headline says it all
    names = [n for n in (*STATUS_CLASS, NOT_JUDGED) if counts[n]]
    parts = [
        f'<span class="{STATUS_CLASS.get(n, "")}" style="flex:{counts[n]}">{counts[n]} {n}</span>'
        for n in names
    ]
    return f'<div class="states">{"".join(parts)}</div>'


def _run(records: Sequence[CellRecord]) -> str:
    first = records[0]
    return (
        f"<p>Release <strong>{html_safe(first.release)}</strong> on "
        f"<strong>{html_safe(first.device_name)}</strong>, run "
        f"<code>{html_safe(first.run_id)}</code>, {html_safe(first.created_utc)}: "
        f"{_span([r.num_utterances for r in records])} utterances and "
        f"{_span([len(r.rounds_s) for r in records])} timed rounds a cell.</p>"
    )


def _tiles(records: Sequence[CellRecord], gate: GateResult | None) -> str:
    tiles = (_speed(records, gate), _wer(records), _latency(records), _changed(records))
    shown = [t for t in (*tiles, _padding(records), _unstable(records)) if t is not None]
    markup = [
        f'<div class="{t.kind}"><dt>{html_safe(t.name)}</dt><dd>{html_safe(t.value)}</dd>'
        f'<dd class="sub">{html_safe(t.below, limit=120)}</dd></div>'
        for t in shown
    ]
    return f'<dl class="tiles">{"".join(markup)}</dl>'


def _speed(records: Sequence[CellRecord], gate: GateResult | None) -> _Tile | None:
    name = labels(records)
    judged = [c for c in gate.cells if c.throughput is not None] if gate is not None else []
    if judged:
        worst = min(judged, key=lambda c: c.throughput.ratio if c.throughput else 1.0)
        speed = worst.throughput
        if speed is not None:
            bad = any(f.kind == "throughput" and f.verdict == "FAIL" for f in worst.findings)
            shown = f"{(speed.ratio - 1) * 100:+.1f} %"
            where = f"[{(speed.lower - 1) * 100:+.1f}, {(speed.upper - 1) * 100:+.1f}]"
            below = f"{where} {name.get(worst.cell, worst.cell)}"
            return _Tile("Slowest against the baseline", shown, below, "bad" if bad else "")
    timed = [r for r in records if r.rounds_s]
    if not timed:
        return None
    best = max(timed, key=lambda r: r.rtfx)
    return _Tile("Highest RTFx", figure(best.rtfx), name[best.cell])


def _wer(records: Sequence[CellRecord]) -> _Tile | None:
    values = [r.wer * 100 for r in records if r.wer is not None]
    if not values:
        return None
    return _Tile("WER", f"{_range(values, '.2f')} %", f"{_cells(len(values))} with references")


def _latency(records: Sequence[CellRecord]) -> _Tile | None:
    timed = [r for r in records if r.rounds_s and "p99" in r.latency_s]
    if not timed:
        return None
    worst = max(timed, key=lambda r: r.latency_s["p99"])
    shown = f"{figure(worst.latency_s['p99'] * 1e3)} ms"
    return _Tile("Highest p99 latency", shown, labels(records)[worst.cell])


def _changed(records: Sequence[CellRecord]) -> _Tile | None:
    exact = [r for r in records if r.forward == "exact"]  # what stock changes is padding's cost
    counts = [len(r.changed_vs_golden) for r in exact if r.changed_vs_golden is not None]
    if not counts:
        return None
    below = f"transcripts against the goldens, {_cells(len(counts), 'exact ')}"
    return _Tile("Changed", str(sum(counts)), below, "doubt" if sum(counts) else "")


def _padding(records: Sequence[CellRecord]) -> _Tile:
    values = [r.padding_efficiency * 100 for r in records]
    return _Tile("Padding efficiency", f"{_range(values, '.0f')} %", "real over padded samples")


def _unstable(records: Sequence[CellRecord]) -> _Tile:
    count = sum(bool(warnings(r)) for r in records)
    below = f"of {_cells(len(records))} by their rounds"
    return _Tile("Unstable", str(count), below, "doubt" if count else "")


def _cells(count: int, kind: str = "") -> str:
    return f"{count} {kind}cell{'' if count == 1 else 's'}"


def _range(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} \u2013 {high}"


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _error_rates(calibration: Calibration | None) -> str:
    if calibration is None:
        return note("The gate's error rates were not measured here: run w2v calibrate.")
    c = calibration
    return note(
        f"The gate's error rates, measured on {c.nights} simulated nights of {c.cells} cells: "
        f"false alarms in {c.family_false_alarm_rate:.2%} of the nights (at most "
        f"{c.family_false_alarm_upper:.2%} with 95 % confidence); a slowdown of 3 % is found in "
        f"{c.power_at_3_percent:.1%} and passed in {c.missed_at_3_percent:.2%}."
    )
