"""What a night's verdict is found from, and which of its cells may be judged at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from w2v_core.records.history_table import Night
from w2v_core.records.record import CellRecord
from w2v_core.records.store import Session
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.drift import suspects
from w2v_core.verdict.fitness import against_baseline, by_cell, freshness, unfit_record
from w2v_core.verdict.outcome import Finding, failed
from w2v_core.verdict.throughput import Run, runs_of
from w2v_core.verdict.wer import ceiling_finding

_PASSED = "passed"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A night's records beside their baseline; the arguments of judge()."""

    records: Sequence[CellRecord]
    baseline: Baseline
    confirmations: Sequence[CellRecord] = ()
    session: Session | None = None
    history: Mapping[str, Sequence[Night]] | None = None
    now: datetime
    max_age: timedelta | None

    @cached_property
    def ours(self) -> dict[str, list[CellRecord]]:
        """The first runs' records by cell, each cell's oldest first."""
        return by_cell(self.records)

    @property
    def runs(self) -> list[Run]:
        """The process runs, fresh ones last."""
        return [*runs_of(self.records), *runs_of(self.confirmations)]

    @property
    def errors(self) -> Mapping[str, str]:
        """Why cells could not be measured."""
        return self.session.errors if self.session is not None else {}

    @property
    def newest(self) -> CellRecord:
        """The newest of the first runs' records."""
        return max(self.records, key=lambda r: (r.created_utc, r.run_id))

    @cached_property
    def unfit(self) -> dict[str, list[Finding]]:
        """Why a cell cannot be judged for speed; empty where it can."""
        again = by_cell(self.confirmations)
        unfit: dict[str, list[Finding]] = {}
        for cell in sorted({*self.baseline.cells, *self.ours, *self.errors}):
            unfit[cell] = self._unfit(cell)
            for record in again.get(cell, ()) if cell in self.baseline.cells else ():
                unfit[cell] += self._unfit_here(record)
        return unfit

    @property
    def fit(self) -> list[str]:
        """The baseline's cells that may be judged for speed."""
        return [cell for cell in self.baseline.cells if not self.unfit[cell]]

    def nights(self) -> dict[str, list[Night]]:
        """Return the history's nights with tonight's fit records, each run once; none without."""
        if self.history is None:
            return {}
        again, joined = by_cell(self.confirmations), {}
        for cell in self.fit:
            tonight = [Night.of(r) for r in (*self.ours[cell], *again.get(cell, ()))]
            nights = {n.run_id: n for n in (*self.history.get(cell, ()), *tonight)}
            joined[cell] = list(nights.values())
        return joined

    def suspected(self) -> tuple[str, ...]:
        """Return the cells that drift wants measured again tonight."""
        nights = self.nights()
        return suspects(nights, self.baseline) if nights else ()

    def _unfit(self, cell: str) -> list[Finding]:
        outcome = self.session.outcomes.get(cell, _PASSED) if self.session is not None else _PASSED
        if cell not in self.ours:
            if cell in self.errors:
                return [raised(self.errors[cell])]
            how = "vanished: in the baseline, not in the run" if outcome == _PASSED else outcome
            reason = f"not measured ({how}); run it, or approve a baseline without"
            return [failed("integrity", reason)]
        if cell not in self.baseline.cells:
            return [failed("integrity", "missing baseline: no approved runs of this cell")]
        findings, ours = [], self.ours[cell]
        if outcome != _PASSED and not _is_told_by_its_ceiling(outcome, ours):
            findings.append(failed("integrity", f"its test was {outcome}"))
        runs = {r.run_id for records in self.ours.values() for r in records}
        absent = sorted(runs - {r.run_id for r in ours})
        if absent:
            findings.append(failed("integrity", f"not measured in run {absent[0]}"))
        for record in ours:
            findings += self._unfit_here(record)
        return findings

    def _unfit_here(self, record: CellRecord) -> list[Finding]:
        """Say why one record of a known cell cannot be judged against the baseline."""
        known = self.baseline
        reasons = [
            *against_baseline(record, known.cells[record.cell]),
            *freshness(
                record, now=self.now, max_age=self.max_age, newest_baseline=known.newest_run
            ),
        ]
        return [*unfit_record(record), *(failed("integrity", reason) for reason in reasons)]


def raised(why: str) -> Finding:
    """Return the finding on a cell that could not be measured."""
    return failed("integrity", f"not measured: {why}")


def _is_told_by_its_ceiling(outcome: str, records: Sequence[CellRecord]) -> bool:
    """Whether a test was red for its WER, which is judged as such, and its speed as well."""
    found = (ceiling_finding(record) for record in records)
    return outcome == "failed" and any(f is not None and f.verdict == "FAIL" for f in found)
