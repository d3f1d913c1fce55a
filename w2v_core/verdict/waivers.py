"""Waivers: a known red that somebody answers for, until a day.

``waivers.json`` lies beside the baselines. A waived finding stays in every verdict with its owner,
reason and end; from the day after the end it is red again, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from w2v_core.errors import RecordError
from w2v_core.jsonfile import convert, exists, is_directory, name_of, read_json
from w2v_core.printable import shown
from w2v_core.verdict.outcome import CellVerdict, Finding, GateResult, Kind, ranked

WAIVERS = "waivers.json"
RUN = "run"
"""Stands as a cell for what belongs to the run as a whole."""
_LONGEST = timedelta(days=92)
_FIELDS = "cell, kind, owner, reason, until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One waiver."""

    cell: str
    """Name or pattern (``base-*``) of the cells; ``run`` for the run as a whole."""
    kind: Kind
    owner: str
    reason: str
    until: date
    """The last day on which it holds, UTC."""
    says: str = ""
    """Part of the reason that is waived; needed for the kinds ``integrity`` and ``steady-state``,
    which cover many things."""

    def covers(self, cell: str, finding: Finding) -> bool:
        """Whether it speaks of a finding."""
        is_red = finding.verdict != "PASS" and finding.kind == self.kind
        return is_red and self.says in finding.reason and fnmatchcase(cell, self.cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    waivers: tuple[Waiver, ...]


def load_waivers(baseline: Path, *, now: datetime) -> tuple[Waiver, ...]:
    """Read the waivers beside a baseline file, or in a directory of baselines; none without a file.

    Raises:
        RecordError: the file cannot be read, a field is missing or empty, or an end is more than 92
            days ahead.
    """
    file = (baseline if is_directory(baseline) else baseline.parent) / WAIVERS
    if not exists(file):
        return ()
    source = name_of(file)
    held = convert(read_json(file, error=RecordError), _File, source=source, error=RecordError)
    for i, waiver in enumerate(held.waivers):
        where = f"{source}: waivers[{i}]"
        empty = [n for n in ("cell", "owner", "reason") if not getattr(waiver, n).strip()]
        if empty:
            raise RecordError(f"{where}.{empty[0]} is empty; a waiver needs {_FIELDS}")
        if waiver.kind in ("integrity", "steady-state") and not waiver.says.strip():
            raise RecordError(f"{where}: {waiver.kind} covers many things; give says, a part of it")
        if waiver.until - now.date() > _LONGEST:
            raise RecordError(
                f"{where}.until is {shown(str(waiver.until))}: more than {_LONGEST.days} days "
                "ahead; renew it then"
            )
    return held.waivers


def apply_waivers(result: GateResult, waivers: Sequence[Waiver], *, now: datetime) -> GateResult:
    """Return the verdict with what is waived as a PASS that says so."""
    if not waivers or result.unusable:
        return result
    today = now.date()
    return replace(
        result,
        findings=ranked(_waived(RUN, result.findings, waivers, today)),
        cells=tuple(_waived_cell(cell, waivers, today) for cell in result.cells),
    )


def _waived_cell(cell: CellVerdict, waivers: Sequence[Waiver], today: date) -> CellVerdict:
    return replace(cell, findings=ranked(_waived(cell.cell, cell.findings, waivers, today)))


def _waived(
    cell: str, findings: Iterable[Finding], waivers: Sequence[Waiver], today: date
) -> list[Finding]:
    return [_one(f, [w for w in waivers if w.covers(cell, f)], today) for f in findings]


def _one(finding: Finding, waivers: Sequence[Waiver], today: date) -> Finding:
    if not waivers:
        return finding
    last = max(waivers, key=lambda w: w.until)
    if last.until < today:
        told = f"the waiver of {last.owner} ended on {last.until}: {finding.reason}"
        return replace(finding, reason=told)
    told = f"waived by {last.owner} until {last.until} ({last.reason}): {finding.reason}"
    return replace(finding, verdict="PASS", reason=told, waived=True)
