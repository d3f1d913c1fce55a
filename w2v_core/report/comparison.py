"""A comparison as a terminal table, Markdown, CSV rows and JSON; figures are rounded here only."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from w2v_core.verdict.decide import VERDICTS
from w2v_core.verdict.relative_outcome import CellComparison, Comparison, Matrix

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
_COUNTS = (
    "cell",
    "p90",
    "captures a | b",
    "timed: captures",
    "compilations",
    "fallbacks",
    "warm-up s",
    "peak memory GiB",
    "energy J",
)
_UNKNOWN = "-"


def render_text(found: Comparison | Matrix) -> str:
    """Return the terminal form: summary, tables, reasons, difference of the fingerprints.

    Of several releases, the matrix first, then each against the first one.
    """
    if isinstance(found, Matrix):
        table = tabulate(_matrix_rows(found), headers=_matrix_headers(found), disable_numparse=True)
        parts = [render_text(c) for c in found.comparisons]
        return "\n\n".join((f"{_matrix_summary(found)}\n\n{table}", *parts))
    table = tabulate([_shown(c) for c in found.cells], headers=_HEADERS, disable_numparse=True)
    counts = tabulate([_counted(c) for c in found.cells], headers=_COUNTS, disable_numparse=True)
    fields = [_field_line(found, i) for i in range(len(found.environment))]
    head = f"fingerprints: {len(fields)} of {found.fields_compared} fields differ"
    return "\n".join(
        (found.summary(), "", table, "", counts, "", *_reasons(found), "", head, *fields)
    )


def render_markdown(found: Comparison | Matrix, *, limit: int = MARKDOWN_LIMIT) -> str:
    """Return Markdown of at most ``limit`` bytes, the worst cells first; says what was left out."""
    if isinstance(found, Matrix):
        lines = [f"**{_escaped(_matrix_summary(found))}**", ""]
        lines += _markdown_table(_matrix_headers(found), _matrix_rows(found))
        for comparison in found.comparisons:
            lines += ["", *_markdown_lines(comparison)]
    else:
        lines = _markdown_lines(found)
    return _cut(lines, limit)


def csv_rows(found: Comparison | Matrix) -> list[dict[str, Any]]:
    """Return one flat row a cell and release, figures raw; None where unknown."""
    if isinstance(found, Matrix):
        return [row for c in found.comparisons for row in csv_rows(c)]
    return [{"a": found.name_a, "b": found.name_b, **_flat(c)} for c in found.cells]


def render_csv(found: Comparison | Matrix) -> str:
    """Return the rows as CSV."""
    rows = csv_rows(found)
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


def _markdown_lines(comparison: Comparison) -> list[str]:
    fields = [
        f"- {_escaped(_field_line(comparison, i))}" for i in range(len(comparison.environment))
    ]
    reasons = [f"- {_escaped(reason)}" for reason in _reasons(comparison)]
    lines = [f"**{_escaped(comparison.summary())}**", ""]
    lines += _markdown_table(_HEADERS, [_shown(c) for c in comparison.cells])
    lines += ["", f"Fingerprints: {len(fields)} of {comparison.fields_compared} fields differ."]
    lines += ["", *fields, "", "Reasons:", "", *reasons, ""]
    return [*lines, *_markdown_table(_COUNTS, [_counted(c) for c in comparison.cells])]


def _reasons(comparison: Comparison) -> list[str]:
    return [f"{c.cell}: {r}" for c in comparison.cells if c.verdict != "PASS" for r in c.reasons]


def _matrix_summary(matrix: Matrix) -> str:
    return f"{len(matrix.releases) - 1} releases against {matrix.releases[0]}: {matrix.verdict}"


def _matrix_headers(matrix: Matrix) -> list[str]:
    return ["cell", *matrix.releases[1:]]


def _matrix_rows(matrix: Matrix) -> list[list[str]]:
    """Return a row a cell, the worst first: every release's verdict and ratio."""
    found = {(m.name_b, c.cell): c for m in matrix.comparisons for c in m.cells}
    worst_of = {
        row["cell"]: max(VERDICTS.index(row[f"verdict {r}"]) for r in matrix.releases[1:])
        for row in matrix.rows()
    }
    rows = []
    for cell in sorted(worst_of, key=lambda c: (-worst_of[c], c)):
        cells = [found.get((release, cell)) for release in matrix.releases[1:]]
        rows.append([cell, *(_in_matrix(c) for c in cells)])
    return rows


def _in_matrix(cell: CellComparison | None) -> str:
    if cell is None:
        return _UNKNOWN
    if cell.ratio_lower is None or cell.ratio_upper is None:
        return f"{cell.verdict} {_ratio(cell)}"
    return f"{cell.verdict} {_ratio(cell)} [{cell.ratio_lower:.3f}, {cell.ratio_upper:.3f}]"


def _ratio(cell: CellComparison) -> str:
    return f"{cell.ratio:.3f}x" if cell.ratio is not None else _UNKNOWN


def _counted(cell: CellComparison) -> list[str]:
    """Show what was counted on either side: a | b."""

    def both(pair: tuple[float | None, float | None] | None, scale: float = 1.0) -> str:
        values = pair if pair is not None else (None, None)
        return " | ".join(_UNKNOWN if v is None else f"{v / scale:.4g}" for v in values)

    a, b = cell.latency_a_s, cell.latency_b_s
    return [
        cell.cell,
        _change(a["p90"], b["p90"]) if a and b else _UNKNOWN,
        both(cell.graph_captures),
        both(cell.captures_timed),
        both(cell.compilations_timed),
        both(cell.cpu_fallbacks_timed),
        both(cell.warm_up_s),
        both(cell.peak_memory_bytes, scale=2**30),
        both(cell.energy_j),
    ]


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
        _ratio(cell),
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


def _markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = _markdown_row(["---"] * len(headers))
    return [_markdown_row(headers), rule, *(_markdown_row(row) for row in rows)]


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
