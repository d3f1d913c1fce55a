"""A comparison as a terminal table, Markdown, CSV rows and JSON; figures are rounded here only."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import Any

from w2v_core.printable import printable
from w2v_core.records.fields import FIGURES
from w2v_core.report.markdown import bounded
from w2v_core.report.tables import NOT_MEASURED, markdown_table, scaled, text_table, told
from w2v_core.report.text import csv_safe, markdown_safe
from w2v_core.verdict.decide import VERDICTS
from w2v_core.verdict.relative_outcome import CellComparison, Comparison, Matrix

COUNTED = (
    *("graph_captures", "captures_timed", "compilations_timed", "cpu_fallbacks_timed"),
    *("warm_up_s", "peak_memory_bytes", "energy_j"),
)
"""Figures of records/fields.py that stand for both sides, a | b."""
PERCENTILES = ("p50", "p90", "p99")
_LINE_CHARS = 1000

Block = str | list[str] | list[dict[str, str]]
"""A heading, a list, or a table."""


def render_text(compared: Comparison | Matrix) -> str:
    """Return the terminal form: summary, tables, difference of the fingerprints, reasons.

    Of several releases, the matrix first, then each against the first one.
    """
    return "\n\n".join(_as_text(block) for block in _blocks(compared) if block) + "\n"


def render_markdown(compared: Comparison | Matrix, *, limit: int | None = None) -> str:
    """Return Markdown that a step summary takes, the worst cells first; says what was left out."""
    lines = chain.from_iterable(_as_markdown(block) for block in _blocks(compared) if block)
    return bounded(list(lines), limit=limit)


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


def to_json(compared: Comparison | Matrix) -> dict[str, Any]:
    """Return everything as JSON values."""
    judged = {"verdict": compared.verdict, "exit_code": compared.exit_code}
    if isinstance(compared, Matrix):
        return {
            **judged,
            "releases": list(compared.releases),
            "rows": compared.rows(),
            "comparisons": [to_json(c) for c in compared.comparisons],
        }
    return {**judged, "summary": compared.summary(), **asdict(compared)}


def _blocks(compared: Comparison | Matrix) -> list[Block]:
    if isinstance(compared, Matrix):
        against = f"{len(compared.releases) - 1} releases against {compared.releases[0]}"
        each = chain.from_iterable(map(_blocks, compared.comparisons))
        return [f"{against}: {compared.verdict}", _by_release(compared), *each]
    fields, cells = compared.environment, compared.cells
    reasons = [f"{c.cell}: {r}" for c in cells if c.verdict != "PASS" for r in c.reasons]
    marks = (f"  <- matters: {row.matters}" if row.matters else "" for row in fields)
    return [
        compared.summary(),
        [_judged(c) for c in cells],
        f"Fingerprints: {len(fields)} of {compared.fields_compared} fields differ.",
        [f"{row.field}: {row.a} | {row.b}{m}" for row, m in zip(fields, marks, strict=True)],
        *(("Reasons:", reasons) if reasons else ()),
        [_counted(c) for c in cells],
    ]


def _as_text(block: Block) -> str:
    if isinstance(block, str):
        return printable(block)
    rows = [row for row in block if isinstance(row, dict)]
    return text_table(rows) if rows else "\n".join(printable(str(line)) for line in block)


def _as_markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [f"**{markdown_safe(block, limit=_LINE_CHARS)}**", ""]
    rows = [row for row in block if isinstance(row, dict)]
    items = (f"- {markdown_safe(str(line), limit=_LINE_CHARS)}" for line in block)
    return [*(markdown_table(rows) if rows else items), ""]


def _by_release(matrix: Matrix) -> list[dict[str, str]]:
    """Return a row a cell, the worst first: every release's verdict and ratio."""
    by_release = {(m.name_b, c.cell): c for m in matrix.comparisons for c in m.cells}
    worst_of = {
        row["cell"]: max(VERDICTS.index(row[f"verdict {r}"]) for r in matrix.releases[1:])
        for row in matrix.rows()
    }
    return [
        {"cell": name, **{r: _in_matrix(by_release.get((r, name))) for r in matrix.releases[1:]}}
        for name in sorted(worst_of, key=lambda c: (-worst_of[c], c))
    ]


def _in_matrix(cell: CellComparison | None) -> str:
    if cell is None:
        return NOT_MEASURED
    interval = _interval(cell)
    return f"{cell.verdict} {_ratio(cell)}" + (f" [{', '.join(interval)}]" if interval else "")


def _judged(cell: CellComparison) -> dict[str, str]:
    wer = cell.wer
    change = wer and f"{wer.delta * 100:+.3f} [{wer.lower * 100:+.3f}, {wer.upper * 100:+.3f}]"
    return {
        "cell": cell.cell,
        "verdict": cell.verdict,
        "throughput": _ratio(cell),
        "98 % interval": " to ".join(_interval(cell)) or NOT_MEASURED,
        "p50": _latency(cell, "p50"),
        "p99": _latency(cell, "p99"),
        "WER": NOT_MEASURED if wer is None else f"{wer.wer * 100:.2f} %",
        "WER change": change or NOT_MEASURED,
        "changed": NOT_MEASURED if wer is None else str(len(wer.changed)),
        "runs": f"{cell.runs_a} + {cell.runs_b}",
    }


def _counted(cell: CellComparison) -> dict[str, str]:
    counts = {f"{FIGURES[n].header}, a | b": " | ".join(_both(cell, n)) for n in COUNTED}
    return {"cell": cell.cell, "p90": _latency(cell, "p90"), **counts}


def _both(cell: CellComparison, name: str) -> tuple[str, ...]:
    figure, pair = FIGURES[name], getattr(cell, name) or (None, None)
    return tuple(told(figure, scaled(figure, raw)) for raw in pair)


def _ratio(cell: CellComparison) -> str:
    return f"{cell.ratio:.3f}x" if cell.ratio is not None else NOT_MEASURED


def _interval(cell: CellComparison) -> tuple[str, ...]:
    known = cell.ratio_lower is not None and cell.ratio_upper is not None
    return (f"{cell.ratio_lower:.3f}", f"{cell.ratio_upper:.3f}") if known else ()


def _latency(cell: CellComparison, which: str) -> str:
    before, after = ((side or {}).get(which) for side in (cell.latency_a_s, cell.latency_b_s))
    if not before or after is None:
        return NOT_MEASURED
    return f"{after * 1000:.3g} ms ({(after / before - 1) * 100:+.1f} %)"


def _flat(cell: CellComparison) -> dict[str, Any]:
    row, wer = asdict(cell), cell.wer
    row["reasons"] = "; ".join(cell.reasons)
    for side in ("a", "b"):
        latency = row.pop(f"latency_{side}_s") or {}
        row |= {f"latency_{name}_{side}_s": latency.get(name) for name in PERCENTILES}
    for name in COUNTED:
        row[f"{name}_a"], row[f"{name}_b"] = row.pop(name) or (None, None)
    del row["wer"]
    return row | {
        "wer_a": wer and wer.baseline_wer,
        "wer_b": wer and wer.wer,
        "wer_delta": wer and wer.delta,
        "wer_delta_lower": wer and wer.lower,
        "wer_delta_upper": wer and wer.upper,
        "transcripts_changed": len(wer.changed) if wer else None,
    }
