"""What a reader should see first: which cells are in trouble, and which figures to doubt."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from w2v_core.records.record import CellRecord
from w2v_core.report.names import labels
from w2v_core.verdict.outcome import CellVerdict, GateResult, Throughput

if TYPE_CHECKING:
    from w2v_core.verdict.run import Run

NOT_MEASURED = "not measured"
"""Of a cell that raised an error and left no record."""

NOT_JUDGED = "not judged"
"""Of a sound cell without a baseline: not measured against anything is never a pass."""

STATUS_CLASS = {
    "INVALID": "bad",
    "FAIL": "bad",
    NOT_MEASURED: "bad",
    "vanished": "bad",
    "INCONCLUSIVE": "doubt",
    "PASS": "good",
}
"""The page's colours by status, worst first; one that is not here has none."""

_SEVERITY = {"INVALID": 0, "FAIL": 1, "INCONCLUSIVE": 2, NOT_JUDGED: 3, "PASS": 3}
_SPREAD = 0.10  # of the mean; pyperf's limit for the standard deviation
_OUTLIER = 0.50  # of the mean; pyperf's limit for the shortest and the longest value
_SHORTEST_S = 1e-3  # below it, the timer and the scheduler are measured too
_FEW_ROUNDS = 3


class Absent(NamedTuple):
    """A cell without a record."""

    cell: str
    status: str
    """``not measured`` or ``vanished``."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A cell and how it stands, found out once for all of a report."""

    record: CellRecord
    label: str
    """Its name without what all cells of the run share."""
    status: str
    reasons: tuple[str, ...]
    """What speaks against it; empty where nothing does."""
    warnings: tuple[str, ...]
    """Why its figures are to be doubted."""
    judged: CellVerdict | None

    @property
    def kind(self) -> str:
        """Its colour: ``good``, ``bad``, ``doubt`` or none."""
        return STATUS_CLASS.get(self.status, "")

    @property
    def speed(self) -> Throughput | None:
        """Its throughput against the baseline."""
        return None if self.judged is None else self.judged.throughput


def is_alone(verdict: GateResult | None) -> bool:
    """Whether the run was judged for itself alone, or not at all: no baseline said anything."""
    return verdict is None or (verdict.baseline is None and not verdict.unusable)


def judged_of(record: CellRecord, verdict: GateResult | None) -> CellVerdict | None:
    """Return what was judged of a cell; None where that is nothing."""
    return None if verdict is None else verdict.cell(record.cell)


def status(record: CellRecord, verdict: GateResult | None) -> str:
    """Return ``INVALID``, the verdict, or ``not judged``; a cell alone can fail, not pass."""
    if not record.valid:
        return "INVALID"
    judged = judged_of(record, verdict)
    if judged is None or (is_alone(verdict) and judged.verdict != "FAIL"):
        return NOT_JUDGED
    return judged.verdict


def reasons(record: CellRecord, verdict: GateResult | None) -> tuple[str, ...]:
    """Say why a cell is not good; empty where nothing speaks against it."""
    judged = judged_of(record, verdict)
    if judged is None or judged.verdict == "PASS":
        return record.invalid_reasons
    own = record.invalid_reasons
    return (*own, *(r for r in judged.reasons if not any(o in r for o in own)))


def standings(run: Run) -> tuple[Standing, ...]:
    """Return the cells of a run by evidence against them.

    Invalid ones first, then the gate's verdicts, the doubtful figures, the largest loss of
    throughput, the most changed transcripts; in the order of the matrix among equals.
    """
    label = labels(run.records)
    cells = (
        Standing(
            record=record,
            label=label[record.cell],
            status=status(record, run.verdict),
            reasons=reasons(record, run.verdict),
            warnings=warnings(record),
            judged=judged_of(record, run.verdict),
        )
        for record in run.records
    )

    def key(cell: Standing) -> tuple[float, ...]:
        return (
            _SEVERITY[cell.status],
            0 if cell.warnings else 1,
            cell.speed.ratio if cell.speed is not None else 1.0,
            -len(cell.record.changed_vs_golden or ()),
        )

    return tuple(sorted(cells, key=key))


def headline(run: Run) -> str:
    """Return the verdict in one line with its counts; a cell that raised is no valid one."""
    verdict, raised = run.verdict, sum(lost.status == NOT_MEASURED for lost in absent(run))
    cells = f"{sum(r.valid for r in run.records)} of {len(run.records) + raised} cells valid"
    return cells if verdict is None or is_quiet(verdict) else f"{counted(verdict)}; {cells}"


def is_quiet(verdict: GateResult) -> bool:
    """Whether there is nothing to say: no baseline, and nothing that speaks against a cell."""
    return is_alone(verdict) and verdict.verdict != "FAIL"


def counted(verdict: GateResult) -> str:
    """Return the verdict with the number of cells that came out so."""
    counts: Counter[str] = Counter(c.verdict for c in verdict.cells)
    kinds = ("FAIL",) if is_alone(verdict) else ("FAIL", "INCONCLUSIVE", "PASS")
    shown = ", ".join(f"{counts[v]} {v}" for v in kinds if counts[v])
    return f"{verdict.verdict}: {shown or 'no cell judged'}"


def absent(run: Run) -> list[Absent]:
    """Return the cells that raised, and those that the gate expected, and left no record."""
    here = {r.cell for r in run.records}
    errors = run.session.errors if run.session is not None else {}
    raised = [Absent(cell, NOT_MEASURED, why) for cell, why in errors.items() if cell not in here]
    judged = run.verdict.cells if run.verdict is not None else ()
    gone = (c for c in judged if c.cell not in here and c.cell not in errors)
    return [*raised, *(Absent(c.cell, "vanished", "; ".join(c.reasons)) for c in gone)]


def doubts(order: Sequence[Standing]) -> list[tuple[str, str]]:
    """Return what to doubt or to know of the cells; what several of them share is told once."""
    cells: dict[str, list[str]] = {}
    for cell in order:
        for text in (*cell.warnings, *cell.record.notes):
            cells.setdefault(text, []).append(cell.record.cell)
    return [
        (told[0] if len(told) == 1 else _every(len(told), len(order)), text)
        for text, told in cells.items()
    ]


def _every(count: int, of: int) -> str:
    return f"all {of} cells" if count == of else f"{count} of {of} cells"


def warnings(record: CellRecord) -> tuple[str, ...]:
    """Doubt the rounds of a cell by the limits of pyperf's stability check."""
    rounds = record.rounds_s
    if not rounds:
        return ()
    doubts = []
    mean = statistics.fmean(rounds)
    spread = statistics.stdev(rounds) if len(rounds) > 1 else 0.0
    if spread >= _SPREAD * mean > 0:
        doubts.append(f"the standard deviation is {spread / mean:.0%} of the mean")
    if max(rounds) >= (1 + _OUTLIER) * mean > 0:
        doubts.append(f"the longest round is {max(rounds) / mean - 1:.0%} above the mean")
    if min(rounds) <= (1 - _OUTLIER) * mean:
        doubts.append(f"the shortest round is {1 - min(rounds) / mean:.0%} below the mean")
    if min(rounds) < _SHORTEST_S:
        doubts.append(f"the shortest round takes only {min(rounds) * 1e6:.3g} \u00b5s")
    if doubts and len(rounds) < _FEW_ROUNDS:
        doubts.append(f"there are only {len(rounds)} rounds")
    if not doubts:
        return ()
    remedy = "rerun with more rounds; w2v doctor names what disturbs"
    return (f"the result may be unstable: {', '.join(doubts)}; {remedy}",)
