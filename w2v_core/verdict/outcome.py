"""What a judge hands back: findings by cell, and one verdict with its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from w2v_core.errors import RecordError
from w2v_core.jsonfile import convert
from w2v_core.printable import printable, shorten
from w2v_core.records.fingerprint import FieldDifference
from w2v_core.verdict.decide import VERDICTS, Policy, Verdict, worst

Kind = Literal[
    "integrity",
    "steady-state",
    "throughput",
    "machine",
    "wer",
    "wer-ceiling",
    "drift",
    "secondary",
]

EXIT_CODES: Mapping[Verdict, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}
UNUSABLE = 3
"""Exit code of input that cannot be judged: unreadable, edited, or not comparable at all."""

_REASON_CHARS = 1000
_NAME_CHARS = 200
_TOLD_CHANGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was judged, and why it came out so."""

    kind: Kind
    verdict: Verdict
    reason: str
    """In words; printable and bounded, whatever the records hold."""
    waived: bool = False
    """Whether it is red in itself, and somebody answers for it (waivers.py)."""

    def __post_init__(self) -> None:
        """Show what a terminal would obey."""
        object.__setattr__(self, "reason", printable(shorten(self.reason, _REASON_CHARS)))


def failed(kind: Kind, reason: str) -> Finding:
    """Return a FAIL."""
    return Finding(kind=kind, verdict="FAIL", reason=reason)


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings worst first, as they came among equals."""
    return tuple(sorted(findings, key=lambda f: -VERDICTS.index(f.verdict)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Throughput against the other side; ratios of RTFx, above 1 is faster."""

    ratio: float
    lower: float
    """Lower bound of the ratio, simultaneous over the cells."""
    upper: float
    run_sd: float
    """Standard deviation of one run's (or pair's) log ratio, a fraction."""
    runs: int
    """Candidate runs, or pairs."""
    baseline_runs: int
    further_runs: int | None
    """Further runs (or pairs per stage) that would decide; None where more of them cannot."""
    suspicious: bool
    """A slowdown that waits for fresh pairs to confirm it."""
    runs_on_both: int | None = None
    """Runs on either side that would decide where the baseline has too few; None as above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedTranscript:
    """An utterance whose hypothesis differs from the other side's."""

    utterance_id: str
    alignment: str
    """Words with ``[old -> new]`` where they differ."""
    errors_before: int
    errors_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wer:
    """WER against the other side; fractions."""

    wer: float
    baseline_wer: float
    delta: float
    lower: float
    upper: float
    p_mapsswe: float
    num_utterances: int
    num_speakers: int
    changed: tuple[ChangedTranscript, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """The verdict of one cell: the worst of its findings."""

    cell: str
    findings: tuple[Finding, ...]
    """Worst first."""
    throughput: Throughput | None = None
    wer: Wer | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst finding; INCONCLUSIVE where nothing was judged."""
        return worst(*(f.verdict for f in self.findings))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not a PASS; the PASS's reasons where it is one."""
        return tuple(f"{f.kind}: {f.reason}" for f in self.findings if f.verdict == self.verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstBaseline:
    """Which baseline was judged against."""

    key: Mapping[str, str]
    """The fingerprint key that it belongs to."""
    signature: str
    """Of the approval in force."""
    approved_utc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The verdict over all cells, and what belongs to no cell."""

    cells: tuple[CellVerdict, ...]
    """Worst first."""
    findings: tuple[Finding, ...]
    """Of the run as a whole."""
    policy: Policy
    unusable: bool = False
    """Whether the input could not be judged at all."""
    baseline: AgainstBaseline | None = None
    """None where each cell was judged for itself alone: its soundness and its WER's ceiling."""
    changes: tuple[FieldDifference, ...] = ()
    """What the fingerprint holds otherwise than that of the baseline's newest run."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all; INCONCLUSIVE where there was nothing to judge."""
        return worst(*(c.verdict for c in self.cells), *(f.verdict for f in self.findings))

    @property
    def by_kind(self) -> dict[Kind, Verdict]:
        """The worst verdict of each kind of finding: whether it is the speed or the WER."""
        found: dict[Kind, Verdict] = {}
        for finding in (*self.findings, *(f for c in self.cells for f in c.findings)):
            found[finding.kind] = worst(finding.verdict, found.get(finding.kind, "PASS"))
        return found

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 2 inconclusive, 3 unusable input."""
        return UNUSABLE if self.unusable else EXIT_CODES[self.verdict]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason for the verdict, with its cell."""
        run = [f"{f.kind}: {f.reason}" for f in self.findings if f.verdict == self.verdict]
        cells = [
            f"{_named(c.cell)}: {reason}"
            for c in self.cells
            if c.verdict == self.verdict
            for reason in c.reasons
        ]
        return (*run, *cells)

    @property
    def waived(self) -> tuple[str, ...]:
        """What is red in itself and waived, with its cell."""
        run = [f"{f.kind}: {f.reason}" for f in self.findings if f.waived]
        cells = [
            f"{_named(c.cell)}: {f.kind}: {f.reason}"
            for c in self.cells
            for f in c.findings
            if f.waived
        ]
        return (*run, *cells)

    def cell(self, name: str) -> CellVerdict | None:
        """Return the verdict of one cell; None where the gate did not know it."""
        return next((c for c in self.cells if c.cell == name), None)

    def summary(self) -> str:
        """Return one line: the verdict, its counts, and the first reason."""
        counts = ", ".join(
            f"{n} {name}"
            for name in reversed(VERDICTS)
            if (n := sum(c.verdict == name for c in self.cells))
        )
        kinds = ", ".join(f"{kind} {verdict}" for kind, verdict in self.by_kind.items())
        first = f"; {self.reasons[0]}" if self.reasons and self.verdict != "PASS" else ""
        judged = f"{counts}: {kinds}" if counts else "no cell judged"
        waived = f"; {len(self.waived)} waived" if self.waived else ""
        changed = "; changed since the baseline: " if self.changes else ""
        changed += ", ".join(f"{c.field} {c.a} -> {c.b}" for c in self.changes[:_TOLD_CHANGES])
        if len(self.changes) > _TOLD_CHANGES:
            changed += f" and {len(self.changes) - _TOLD_CHANGES} more"
        return f"{self.verdict} ({judged}){first}{waived}{changed}"

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row a cell, for tables; figures raw, None where not judged."""
        return [_row(cell) for cell in self.cells]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "by_kind": self.by_kind,
            "summary": self.summary(),
            "policy": asdict(self.policy),
            "unusable": self.unusable,
            "baseline": asdict(self.baseline) if self.baseline is not None else None,
            "changes": [asdict(c) for c in self.changes],
            "findings": [asdict(f) for f in self.findings],
            "cells": [
                {"verdict": c.verdict, **asdict(c), "reasons": list(c.reasons)} for c in self.cells
            ],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any], *, source: str = "verdict") -> GateResult:
        """Read back what to_json() returns.

        Raises:
            RecordError: a field is missing or of another type; names ``source``.
        """
        return convert(data, GateResult, source=source, error=RecordError)


def _named(cell: str) -> str:
    return printable(shorten(cell, _NAME_CHARS))


def _row(cell: CellVerdict) -> dict[str, Any]:
    speed, wer = cell.throughput, cell.wer
    return {
        "cell": _named(cell.cell),
        "verdict": cell.verdict,
        "ratio": speed.ratio if speed else None,
        "ratio_lower": speed.lower if speed else None,
        "ratio_upper": speed.upper if speed else None,
        "runs": speed.runs if speed else 0,
        "further_runs": speed.further_runs if speed else None,
        "wer": wer.wer if wer else None,
        "wer_delta": wer.delta if wer else None,
        "wer_delta_lower": wer.lower if wer else None,
        "wer_delta_upper": wer.upper if wer else None,
        "transcripts_changed": len(wer.changed) if wer else None,
        "reasons": "; ".join(cell.reasons),
    }
