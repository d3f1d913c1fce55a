"""A measured run and everything that is known around it: the one value that reports are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from w2v_core.jsonfile import is_directory, name_of
from w2v_core.records.history_table import Night
from w2v_core.records.record import CellRecord
from w2v_core.records.store import VERDICT, Session, read_run, read_verdict
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.calibrate import Calibration
from w2v_core.verdict.outcome import GateResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The records of one process run, and what was made of them."""

    records: tuple[CellRecord, ...]
    """In the order measured."""
    session: Session | None = None
    verdict: GateResult | None = None
    """Against the baseline where there is one, else of each cell alone; None only of a run that was
    written before verdicts were."""
    calibration: Calibration | None = None
    """Error rates of the gate against this baseline."""
    nights: Mapping[str, Sequence[Night]] | None = None
    """Earlier runs on this card by cell, oldest first; None without a history."""
    baseline: Baseline | None = None
    """The baseline in force."""

    @property
    def gate(self) -> GateResult | None:
        """The verdict where it was given against a baseline; None where a cell stood alone."""
        judged = self.verdict
        against = judged is not None and (judged.baseline is not None or judged.unusable)
        return judged if against else None


def load_run(path: Path) -> Run:
    """Read a run directory (or a run's file) with the verdict that was given when it was made.

    Raises:
        RecordError: the run or its verdict cannot be read.
    """
    stored = read_run(path)
    data = read_verdict(path) if is_directory(path) else None
    source = name_of(path / VERDICT)
    return Run(
        records=stored.records,
        session=stored.session,
        verdict=GateResult.from_json(data, source=source) if data is not None else None,
    )
