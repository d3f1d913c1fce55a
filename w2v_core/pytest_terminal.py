"""What a session says of its cells on the terminal, at its end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from w2v_core.printable import printable
from w2v_core.pytest_cells import own_verdict
from w2v_core.pytest_gate import Gatekeeper
from w2v_core.records.record import CellRecord
from w2v_core.records.store import is_incomplete
from w2v_core.report.tables import matrix, text_table
from w2v_core.report.views.phases import phases_line, process_s
from w2v_core.session import ValidationRun


def closing_lines(run: ValidationRun, gate: Gatekeeper, *, notes: Sequence[str]) -> list[str]:
    """Return a title and the lines that end a session that measured; nothing for others.

    ``notes`` follow them where there are records.
    """
    if not run.records and not gate.errors:
        return []
    valid = sum(r.valid for r in run.records)
    lines = [f"{valid} of {len(run.records) + len(gate.errors)} cells valid"]
    if run.records:
        verdicts = [verdict_of(r, gate) for r in run.records]
        rows = zip(matrix(run.records), verdicts, strict=True)
        lines += text_table([{**row, "verdict": told} for row, told in rows]).splitlines()
    lines += [f"not measured: {cell}: {printable(why)}" for cell, why in gate.errors.items()]
    unfinished = is_incomplete(run.directory)
    what = "no reports, the run did not finish" if unfinished else "reports"
    spent = f"time: {phases_line(run.records, run_s=process_s())}"
    return [*lines, spent, f"{what}: {printable(str(run.directory))}", *notes]


def verdict_of(record: CellRecord, gate: Gatekeeper) -> str:
    """Return the gate's verdict of a cell where it is on, else the cell's own."""
    if not gate.is_on:
        return own_verdict(record)
    judged = gate.result.cell(record.cell)
    return judged.verdict if judged is not None else "INCONCLUSIVE"


def show(reporter: pytest.TerminalReporter, told: Sequence[str]) -> None:
    """Write a title and the lines below it."""
    title, *lines = told
    reporter.section(title)
    for line in lines:
        reporter.write_line(line)
