"""The parts of a page that judge: verdict, worst cells, matrix, doubts; and the fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from w2v_core.bench.record import CellRecord
from w2v_core.report.evidence import NOT_JUDGED, headline, reasons, status, vanished, warnings
from w2v_core.report.page import Cell, missing, note, section, table
from w2v_core.report.text import figure, html_safe, printable, shorten

if TYPE_CHECKING:
    from w2v_core.verdict.calibrate import Calibration
    from w2v_core.verdict.outcome import GateResult

__all__ = ["command", "doubts", "fingerprint", "header", "matrix", "worst_cells"]

MOST_WORST = 10
MOST_VANISHED = 20
GIB = 2**30
SHADES = (0.02, 0.10, 0.30, 0.60)  # distance from the best cell of the same model and dataset
_CLASS = {"INVALID": "bad", "FAIL": "bad", "PASS": "good", "INCONCLUSIVE": "doubt"}
COLUMNS: tuple[tuple[str, str, int], ...] = (  # header, attribute of _figures, 1 where low is good
    ("WER %", "wer", 1),
    ("RTFx", "rtfx", -1),
    ("p50 ms", "p50", 1),
    ("p99 ms", "p99", 1),
    ("padding eff. %", "padding", -1),
)


def header(
    records: Sequence[CellRecord], gate: GateResult | None, calibration: Calibration | None
) -> str:
    """Write the verdict with its counts, the run, and how far the gate can be trusted."""
    valid = bool(records) and all(r.valid for r in records)
    judged = "" if gate is None else gate.verdict
    kinds = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "doubt", "": "plain"}
    kind = kinds[judged] if valid else "bad"
    parts = [f'<header>\n<h1 class="{kind}">{html_safe(headline(records, gate))}</h1>']
    if records:
        first = records[0]
        parts.append(
            f"<p>Release <strong>{html_safe(first.release)}</strong> on "
            f"<strong>{html_safe(first.device_name)}</strong>, run "
            f"<code>{html_safe(first.run_id)}</code>, {html_safe(first.created_utc)}: "
            f"{_span([r.num_utterances for r in records])} utterances and "
            f"{_span([len(r.rounds_s) for r in records])} timed rounds a cell.</p>"
        )
    if gate is None:
        parts.append(
            note("No gate has judged this run against a baseline; valid means sound, not good.")
        )
    else:
        parts += [f"<p>{html_safe(r)}</p>" for r in gate.reasons[:1] if gate.verdict != "PASS"]
    parts.append(_error_rates(calibration))
    return "\n".join((*parts, "</header>"))


def worst_cells(order: Sequence[CellRecord], gate: GateResult | None) -> str:
    """List the cells that something speaks against, and those that are missing."""
    lost = vanished(order, gate)
    rows = [
        [Cell(name), Cell("vanished", "bad"), Cell("-", "n"), Cell(why, "wide")]
        for name, why in lost[:MOST_VANISHED]
    ]
    troubled = [r for r in order if reasons(r, gate) or warnings(r)]
    rows += [
        [
            Cell(r.cell),
            _status_cell(r, gate),
            Cell(f"RTFx {figure(r.rtfx)}", "n"),
            Cell("; ".join((*reasons(r, gate), *warnings(r))), "wide"),
        ]
        for r in troubled[:MOST_WORST]
    ]
    if not rows:
        return section("Worst cells", "<p>Nothing speaks against any cell.</p>")
    left = len(troubled) + len(lost) - len(rows)
    more = [note(f"{left} more; the matrix has all.")] if left > 0 else []
    headers = ("cell", "status", "speed", "evidence")
    return section("Worst cells", table(headers, rows, label="Worst cells", kind="stack"), *more)


def matrix(order: Sequence[CellRecord], gate: GateResult | None) -> str:
    """Show all cells as a table, shaded by the distance from the best of their kind."""
    if not order:
        return section("Matrix", missing("no cell was measured."))
    best = _best(order)
    headers = ["cell", "status", *(name for name, _, _ in COLUMNS), "changed", "peak GiB"]
    headers += ["vs baseline"] if gate is not None else []
    rows = []
    for record in order:
        kind = (record.model, record.dataset)
        values = _figures(record)
        row = [Cell(record.cell), _status_cell(record, gate)]
        for _, name, sign in COLUMNS:
            shade = _shade(values[name], best[(kind, name)], sign=sign)
            row.append(Cell(figure(values[name]), f"n {shade}".strip()))
        changed = record.changed_vs_golden
        row.append(Cell("-" if changed is None else str(len(changed)), "n"))
        row.append(Cell(f"{record.peak_memory_bytes / GIB:.3g}", "n"))
        if gate is not None:
            row.append(Cell(_ratio(record, gate), "n"))
        rows.append(row)
    return section(
        "Matrix",
        note(
            "Worst first. A shade is the distance from the best cell of the same model and "
            "dataset: above 2, 10, 30 and 60 %. RTFx is audio seconds per wall second of the "
            "median round; changed counts transcripts that differ from the golden ones."
        ),
        table(headers, rows, label="Matrix of all cells"),
    )


def doubts(order: Sequence[CellRecord]) -> str:
    """Repeat what makes figures doubtful, in the words of pyperf."""
    rows = [[Cell(r.cell), Cell(w, "wide")] for r in order for w in warnings(r)]
    if not rows:
        return section("Warnings", "<p>The rounds of all cells are stable.</p>")
    return section("Warnings", table(("cell", "warning"), rows, label="Warnings", kind="stack"))


def fingerprint(records: Sequence[CellRecord]) -> str:
    """Show what the figures depend on besides the code."""
    if not records:
        return section("Fingerprint", missing("no cell was measured."))
    names = sorted({name for r in records for name in r.environment})
    rows = [
        [Cell(name), Cell(_common([r.environment for r in records], name), "wide")]
        for name in names
    ]
    return section("Fingerprint", table(("field", "value"), rows, label="Fingerprint", kind="fit"))


def command(records: Sequence[CellRecord]) -> str:
    """Show the exact command."""
    lines = dict.fromkeys(line for r in records for line in r.command.splitlines())
    if not lines:
        return section("Command", missing("the record does not hold it."))
    text = "\n".join(html_safe(line, limit=2000) for line in list(lines)[:50])
    return section("Command", f'<pre tabindex="0" aria-label="Command">{text}</pre>')


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


def _status_cell(record: CellRecord, gate: GateResult | None) -> Cell:
    text = status(record, gate)
    return Cell("valid, not judged" if text == NOT_JUDGED else text, _CLASS.get(text, ""))


def _figures(record: CellRecord) -> dict[str, float | None]:
    timed = bool(record.rounds_s)
    return {
        "wer": None if record.wer is None else record.wer * 100,
        "rtfx": record.rtfx if timed else None,
        "p50": record.latency_s["p50"] * 1e3 if timed and "p50" in record.latency_s else None,
        "p99": record.latency_s["p99"] * 1e3 if timed and "p99" in record.latency_s else None,
        "padding": record.padding_efficiency * 100,
    }


def _best(order: Sequence[CellRecord]) -> dict[tuple[tuple[str, str], str], float | None]:
    best: dict[tuple[tuple[str, str], str], float | None] = {}
    for record in order:
        values = _figures(record)
        for _, name, sign in COLUMNS:
            key = ((record.model, record.dataset), name)
            choose: Callable[[float, float], float] = min if sign > 0 else max
            value, known = values[name], best.get(key)
            best[key] = (
                choose(value, known)
                if value is not None and known is not None
                else (value if known is None else known)
            )
    return best


def _shade(value: float | None, best: float | None, *, sign: int) -> str:
    if value is None or best is None:
        return ""
    low, high = sorted((abs(value), abs(best)))
    worse = (value - best) * sign > 0
    distance = high / max(low, 0.05) - 1.0 if worse else 0.0  # 0.05: a WER of 0 % has no multiples
    level = sum(distance > limit for limit in SHADES)
    return f"h{level}" if level else ""


def _ratio(record: CellRecord, gate: GateResult) -> str:
    judged = gate.cell(record.cell)
    speed = judged.throughput if judged is not None else None
    return f"{speed.ratio:.3f} [{speed.lower:.3f}, {speed.upper:.3f}]" if speed is not None else "-"


def _common(environments: Sequence[Mapping[str, Any]], name: str) -> str:
    values = list(dict.fromkeys(printable(str(e.get(name, "-"))) for e in environments))
    if len(values) == 1:
        return values[0]
    shown = ", ".join(shorten(v, 80) for v in values[:4])
    return f"differs by cell: {shown}" + (f" and {len(values) - 4} more" if len(values) > 4 else "")
