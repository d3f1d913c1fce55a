"""A comparison as a terminal table, Markdown, CSV rows and JSON; figures are rounded here only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from w2v_core.records.fingerprint import FieldDifference
from w2v_core.report.markdown import bounded, table
from w2v_core.report.tables import text_table
from w2v_core.report.text import csv_safe, markdown_safe, printable
from w2v_core.verdict.decide import VERDICTS
from w2v_core.verdict.relative_outcome import CellComparison, Comparison, Matrix

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
_LINE_CHARS = 1000


def render_text(compared: Comparison | Matrix) -> str:
    """Return the terminal form: summary, tables, reasons, difference of the fingerprints.

    Of several releases, the matrix first, then each against the first one.
    """
    if isinstance(compared, Matrix):
        overview = text_table(_matrix_headers(compared), _matrix_rows(compared))
        parts = [render_text(c) for c in compared.comparisons]
        return "\n\n".join((f"{printable(_matrix_summary(compared))}\n\n{overview}", *parts))
    fields = [_field_line(row) for row in compared.environment]
    lines = (*_reasons(compared), "", _differing(compared), *fields)
    return "\n".join(
        (
            printable(compared.summary()),
            "",
            text_table(_HEADERS, [_shown(c) for c in compared.cells]),
            "",
            text_table(_COUNTS, [_counted(c) for c in compared.cells]),
            "",
            *map(printable, lines),
        )
    )


def render_markdown(compared: Comparison | Matrix, *, limit: int | None = None) -> str:
    """Return Markdown that a step summary takes, the worst cells first; says what was left out."""
    if not isinstance(compared, Matrix):
        return bounded(_markdown_lines(compared), limit=limit)
    lines = [f"**{_escaped(_matrix_summary(compared))}**", ""]
    lines += table(_matrix_headers(compared), _matrix_rows(compared))
    for comparison in compared.comparisons:
        lines += ["", *_markdown_lines(comparison)]
    return bounded(lines, limit=limit)


def csv_rows(compared: Comparison | Matrix) -> list[dict[str, Any]]:
    """Return one flat row a cell and release, figures raw; None where unknown."""
    if isinstance(compared, Matrix):
        return [row for c in compared.comparisons for row in csv_rows(c)]
    return [{"a": compared.name_a, "b": compared.name_b, **_flat(c)} for c in compared.cells]


def render_csv(compared: Comparison | Matrix) -> str:
    """Return the rows as CSV, text fit for a spreadsheet."""
    import pandas as pd

    rows = [
        {name: csv_safe(v) if isinstance(v, str) else v for name, v in row.items()}
        for row in csv_rows(compared)
    ]
    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")


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
    return [
        f"**{_escaped(comparison.summary())}**",
        "",
        *table(_HEADERS, [_shown(c) for c in comparison.cells]),
        "",
        _differing(comparison),
        "",
        *(f"- {_escaped(_field_line(row))}" for row in comparison.environment),
        "",
        "Reasons:",
        "",
        *(f"- {_escaped(reason)}" for reason in _reasons(comparison)),
        "",
        *table(_COUNTS, [_counted(c) for c in comparison.cells]),
    ]


def _differing(comparison: Comparison) -> str:
    count = len(comparison.environment)
    return f"Fingerprints: {count} of {comparison.fields_compared} fields differ."


def _escaped(text: str) -> str:
    return markdown_safe(text, limit=_LINE_CHARS)


def _reasons(comparison: Comparison) -> list[str]:
    return [f"{c.cell}: {r}" for c in comparison.cells if c.verdict != "PASS" for r in c.reasons]


def _matrix_summary(matrix: Matrix) -> str:
    return f"{len(matrix.releases) - 1} releases against {matrix.releases[0]}: {matrix.verdict}"


def _matrix_headers(matrix: Matrix) -> list[str]:
    return ["cell", *matrix.releases[1:]]


def _matrix_rows(matrix: Matrix) -> list[list[str]]:
    """Return a row a cell, the worst first: every release's verdict and ratio."""
    by_release = {(m.name_b, c.cell): c for m in matrix.comparisons for c in m.cells}
    worst_of = {
        row["cell"]: max(VERDICTS.index(row[f"verdict {r}"]) for r in matrix.releases[1:])
        for row in matrix.rows()
    }
    rows = []
    for cell in sorted(worst_of, key=lambda c: (-worst_of[c], c)):
        cells = [by_release.get((release, cell)) for release in matrix.releases[1:]]
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


def _field_line(row: FieldDifference) -> str:
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
