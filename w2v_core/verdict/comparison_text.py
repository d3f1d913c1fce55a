"""A comparison as a terminal table, Markdown, CSV rows and JSON; figures are rounded here only."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from w2v_core.verdict.comparison import CellComparison, Comparison, Matrix

__all__ = ["MARKDOWN_LIMIT", "csv_rows", "render_csv", "render_markdown", "render_text", "to_json"]

MARKDOWN_LIMIT = 60_000
"""Bytes; a CI step summary takes 65,536."""

_HEADERS = (
    "cell",
    "verdict",
    "throughput",
    "98 % interval",
    "p50",
    "p99",
    "WER",
    "WER change",
    "changed",
    "runs",
)
_UNKNOWN = "-"


def render_text(comparison: Comparison) -> str:
    """Return the terminal form: summary, table, reasons, difference of the fingerprints."""
    table = tabulate([_shown(c) for c in comparison.cells], headers=_HEADERS, disable_numparse=True)
    reasons = [f"{c.cell}: {r}" for c in comparison.cells if c.verdict != "PASS" for r in c.reasons]
    fields = [_field_line(comparison, i) for i in range(len(comparison.environment))]
    head = f"fingerprints: {len(fields)} of {comparison.fields_compared} fields differ"
    return "\n".join((comparison.summary(), "", table, "", *reasons, "", head, *fields))


def render_markdown(comparison: Comparison, *, limit: int = MARKDOWN_LIMIT) -> str:
    """Return Markdown of at most ``limit`` bytes, the worst cells first; says what was left out."""
    head = [f"**{_escaped(comparison.summary())}**", "", _markdown_row(_HEADERS)]
    head.append(_markdown_row(["---"] * len(_HEADERS)))
    rows = [_markdown_row(_shown(c)) for c in comparison.cells]
    fields = [
        f"- {_escaped(_field_line(comparison, i))}" for i in range(len(comparison.environment))
    ]
    reasons = [
        f"- {_escaped(c.cell)}: {_escaped(r)}"
        for c in comparison.cells
        if c.verdict != "PASS"
        for r in c.reasons
    ]
    sections = [*rows, "", "Fingerprints:", "", *fields, "", "Reasons:", "", *reasons]
    return _cut([*head, *sections], limit)


def csv_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one flat row a cell, figures raw; None where unknown."""
    return [_flat(c) for c in comparison.cells]


def render_csv(comparison: Comparison) -> str:
    """Return the rows as CSV."""
    rows = csv_rows(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_json(comparison: Comparison | Matrix) -> dict[str, Any]:
    """Return everything as JSON values."""
    if isinstance(comparison, Matrix):
        return {
            "verdict": comparison.verdict,
            "exit_code": comparison.exit_code,
            "releases": list(comparison.releases),
            "rows": comparison.rows(),
            "comparisons": [to_json(c) for c in comparison.comparisons],
        }
    return {
        "verdict": comparison.verdict,
        "exit_code": comparison.exit_code,
        "summary": comparison.summary(),
        **asdict(comparison),
    }


def _shown(cell: CellComparison) -> list[str]:
    a, b, wer = cell.latency_a_s, cell.latency_b_s, cell.wer
    change = _UNKNOWN
    if wer is not None:
        change = f"{wer.delta * 100:+.3f} [{wer.lower * 100:+.3f}, {wer.upper * 100:+.3f}]"
    interval = _UNKNOWN
    if cell.ratio_lower is not None and cell.ratio_upper is not None:
        interval = f"{cell.ratio_lower:.3f} to {cell.ratio_upper:.3f}"
    return [
        cell.cell,
        cell.verdict,
        f"{cell.ratio:.3f}x" if cell.ratio is not None else _UNKNOWN,
        interval,
        f"{_change(a['p50'], b['p50'])}" if a and b else _UNKNOWN,
        f"{_change(a['p99'], b['p99'])}" if a and b else _UNKNOWN,
        f"{wer.wer * 100:.2f} %" if wer is not None else _UNKNOWN,
        change,
        str(len(wer.changed)) if wer is not None else _UNKNOWN,
        f"{cell.runs_a} + {cell.runs_b}",
    ]


def _change(before: float, after: float) -> str:
    return f"{after * 1000:.3g} ms ({(after / before - 1) * 100:+.1f} %)" if before else _UNKNOWN


def _field_line(comparison: Comparison, index: int) -> str:
    row = comparison.environment[index]
    mark = f"  <- matters: {row.matters}" if row.matters else ""
    return f"{row.field}: {row.a} | {row.b}{mark}"


def _flat(cell: CellComparison) -> dict[str, Any]:
    row = asdict(cell)
    wer = cell.wer
    row["reasons"] = "; ".join(cell.reasons)
    for side in ("a", "b"):
        latency = row.pop(f"latency_{side}_s") or {}
        for name in ("p50", "p90", "p99"):
            row[f"latency_{name}_{side}_s"] = latency.get(name)
    for name in (
        "graph_captures",
        "captures_timed",
        "compilations_timed",
        "cpu_fallbacks_timed",
        "warm_up_s",
        "peak_memory_bytes",
        "energy_j",
    ):
        row[f"{name}_a"], row[f"{name}_b"] = row.pop(name) or (None, None)
    row.pop("wer")
    row["wer_a"], row["wer_b"] = (wer.baseline_wer, wer.wer) if wer else (None, None)
    row["wer_delta"] = wer.delta if wer else None
    row["wer_delta_lower"], row["wer_delta_upper"] = (wer.lower, wer.upper) if wer else (None, None)
    row["transcripts_changed"] = len(wer.changed) if wer else None
    return row


def _markdown_row(values: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(v) for v in values)} |"


def _escaped(text: str) -> str:
    """Keep text from ending a table's cell, a line, or starting markup."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _cut(lines: Sequence[str], limit: int) -> str:
    kept: list[str] = []
    size, note = 0, 60
    for index, line in enumerate(lines):
        size += len(line.encode()) + 1
        if size > limit - note:
            return "\n".join([*kept, "", f"{len(lines) - index} more lines left out"]) + "\n"
        kept.append(line)
    return "\n".join(kept) + "\n"
