"""The parts of a page about evidence: worst cells, doubts; the fingerprint and the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from w2v_core.records.record import CellRecord
from w2v_core.report.matrix import status_cell
from w2v_core.report.page import Cell, lines, missing, note, section, table
from w2v_core.report.ranking import reasons, vanished, warnings
from w2v_core.report.text import figure, html_safe, printable, shorten

if TYPE_CHECKING:
    from w2v_core.verdict.outcome import GateResult

__all__ = ["command", "doubts", "fingerprint", "worst_cells"]

MOST_WORST = 10
MOST_VANISHED = 20
MOST_REASONS = 4
REASON_CHARS = 240


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
            status_cell(r, gate),
            Cell(f"RTFx {figure(r.rtfx)}", "n"),
            Cell(_evidence(r, gate), "wide", is_markup=True),
        ]
        for r in troubled[:MOST_WORST]
    ]
    if not rows:
        return section("Worst cells", "<p>Nothing speaks against any cell.</p>")
    left = len(troubled) + len(lost) - len(rows)
    more = [note(f"{left} more; the matrix has all.")] if left > 0 else []
    headers = ("cell", "status", "speed", "evidence")
    return section("Worst cells", table(headers, rows, label="Worst cells", kind="stack"), *more)


def _evidence(record: CellRecord, gate: GateResult | None) -> str:
    found = (*reasons(record, gate), *warnings(record))
    left = len(found) - MOST_REASONS
    more = (f"and {left} more, in run.json",) if left > 0 else ()
    return lines((*(shorten(text, REASON_CHARS) for text in found[:MOST_REASONS]), *more))


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
    typed = dict.fromkeys(line for r in records for line in r.command.splitlines())
    if not typed:
        return section("Command", missing("the record does not hold it."))
    text = "\n".join(html_safe(line, limit=2000) for line in list(typed)[:50])
    return section("Command", f'<pre tabindex="0" aria-label="Command">{text}</pre>')


def _common(environments: Sequence[Mapping[str, Any]], name: str) -> str:
    values = list(dict.fromkeys(printable(str(e.get(name, "-"))) for e in environments))
    if len(values) == 1:
        return values[0]
    shown = ", ".join(shorten(v, 80) for v in values[:4])
    return f"differs by cell: {shown}" + (f" and {len(values) - 4} more" if len(values) > 4 else "")
