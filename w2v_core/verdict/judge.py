"""The gate: records of a night against a baseline, or interleaved pairs against each other.

Nothing passes that was not measured. Records are first asked whether they may be judged at all
(fitness.py); what remains is judged for throughput (decide.py), WER (wer.py) and drift
(drift.py). A cell's verdict is its worst finding, the gate's verdict its worst cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from w2v_core.config import MOST_RUNS
from w2v_core.records.fingerprint import difference
from w2v_core.records.history_table import Night
from w2v_core.records.record import CellRecord
from w2v_core.records.store import Session
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.decide import VERDICTS, Policy
from w2v_core.verdict.drift import Drift, judge_drift, judge_machine_drift
from w2v_core.verdict.fitness import (
    against_baseline,
    by_cell,
    freshness,
    unfit_record,
    unfit_runs,
    unknown_on_both,
)
from w2v_core.verdict.outcome import (
    AgainstBaseline,
    CellVerdict,
    Finding,
    GateResult,
    failed,
    ranked,
)
from w2v_core.verdict.secondary import beyond_limits
from w2v_core.verdict.soundness import SIMULATED
from w2v_core.verdict.throughput import judge_throughput, next_cells, runs_of
from w2v_core.verdict.waivers import Waiver, apply_waivers
from w2v_core.verdict.wer import ceiling_finding, wer_findings

MAX_AGE = timedelta(hours=36)  # a nightly run, and half a day of slack
_PASSED = "passed"


def judge(
    run_records: Sequence[CellRecord],
    baseline: Baseline | None,
    *,
    confirmations: Sequence[CellRecord] = (),
    policy: Policy | None = None,
    session: Session | None = None,
    history: Mapping[str, Sequence[Night]] | None = None,
    now: datetime | None = None,
    max_age: timedelta | None = MAX_AGE,
    beside: Sequence[Finding] = (),
    waivers: Sequence[Waiver] = (),
) -> GateResult:
    """Judge one or more runs of a night against a baseline.

    Args:
        run_records: All records of the runs to be judged; several runs of a cell narrow its
            interval. What passes on the earliest has passed; of several it is not held against a
            cell, as it may have been cold (see night.py).
        confirmations: Records of fresh processes of the same night, of those cells only that had no
            verdict, and of their controls.
        baseline: The baseline in force; None is red.
        policy: Margins and error rates; the defaults of Policy where it is left out.
        session: What the test session knows: skipped cells, xdist.
        history: Earlier valid runs by cell, for drift; this night's are added to them.
        now: The present, for freshness; the clock's where it is left out.
        max_age: Older records are stale; None takes any age.
        beside: What is wrong with the choice of runs (selection.py).
        waivers: What somebody answers for (waivers.py).
    """
    policy = policy if policy is not None else Policy()
    now = now if now is not None else datetime.now(timezone.utc)
    if baseline is None:
        return refused("missing baseline: approve one with w2v baseline approve", policy=policy)
    raised = session.errors if session is not None else {}
    if not run_records:
        nothing = refused("no record to judge: the run measured nothing", policy=policy)
        return replace(nothing, cells=_not_measured(raised))
    ours = by_cell(run_records)
    newest = max(run_records, key=lambda r: (r.created_utc, r.run_id)).environment
    known = {*baseline.cells, *raised}
    run = [
        *unfit_runs([*run_records, *confirmations], session, known=known),
        *unknown_on_both(newest, baseline.key),
        *beside,
    ]
    unfit = _unfit_cells(
        ours, by_cell(confirmations), baseline, session=session, now=now, max_age=max_age
    )
    runs = [*runs_of(run_records), *runs_of(confirmations)]
    fit = [cell for cell in baseline.cells if not unfit[cell]]
    speeds, machine = judge_throughput(runs, baseline, fit, policy)
    wers = wer_findings({c: (baseline.cells[c][-1], ours[c][-1]) for c in speeds}, policy=policy)
    nights = _joined(history, ours, speeds) if history is not None else {}
    drifts = judge_drift(nights, baseline) if nights else {}
    machine_drift = judge_machine_drift(nights, baseline) if nights else None
    if machine_drift is not None:
        run.append(_drift_finding(machine_drift, what="this machine is "))
    cells = []
    for cell, findings in unfit.items():
        throughput, speed = speeds.get(cell, (None, None))
        wer, paired = wers.get(cell, (None, ()))
        drift = [_drift_finding(drifts[cell])] if cell in drifts and cell in speeds else []
        judged = [*findings, *([speed] if speed is not None else []), *paired, *drift]
        if cell in speeds:
            judged += [f for r in ours[cell] for f in beyond_limits(r, baseline.cells[cell])]
        cells.append(
            CellVerdict(cell=cell, findings=ranked(judged), throughput=throughput, wer=wer)
        )
    result = GateResult(
        cells=tuple(cells),
        findings=ranked([*run, *([machine] if machine is not None else [])]),
        policy=policy,
        changes=difference(baseline.newest.environment, newest),
        baseline=AgainstBaseline(
            key=baseline.key,
            signature=baseline.signature,
            approved_utc=baseline.approvals[-1].approved_utc,
        ),
    )
    result = apply_waivers(result, waivers, now=now)
    return replace(result, cells=tuple(rank_cells(result.cells)))


def judge_alone(
    run_records: Sequence[CellRecord],
    *,
    session: Session | None = None,
    policy: Policy | None = None,
) -> GateResult:
    """Judge a run that has no baseline: whether each cell is sound, and its WER under its ceiling.

    A simulated device is no reason against a cell here: nothing is said about a card.
    """
    ours = by_cell(run_records)
    cells = []
    for cell, records in ours.items():
        findings = [f for r in records for f in unfit_record(r) if f.reason != SIMULATED]
        if not findings:
            findings.append(Finding(kind="integrity", verdict="PASS", reason="sound"))
        ceilings = (ceiling_finding(record) for record in records)
        findings += [finding for finding in ceilings if finding is not None]
        cells.append(CellVerdict(cell=cell, findings=ranked(findings)))
    raised = {c: w for c, w in session.errors.items() if c not in ours} if session else {}
    cells += _not_measured(raised)
    run = unfit_runs(run_records, session, known=raised)
    if not cells and not run:
        run.append(failed("integrity", "no record to judge: the run measured nothing"))
    return GateResult(
        cells=tuple(rank_cells(cells)),
        findings=ranked(run),
        policy=policy if policy is not None else Policy(),
    )


def refused(reason: str, *, policy: Policy | None = None, unusable: bool = False) -> GateResult:
    """Return a red result without a cell, for what could not even be looked at."""
    return GateResult(
        cells=(),
        findings=(failed("integrity", reason),),
        policy=policy if policy is not None else Policy(),
        unusable=unusable,
    )


def rank_cells(cells: Sequence[CellVerdict]) -> list[CellVerdict]:
    """Order cells worst first, the slowest first among equals."""
    return sorted(
        cells,
        key=lambda c: (
            -VERDICTS.index(c.verdict),
            c.throughput.ratio if c.throughput is not None else 0.0,
            c.cell,
        ),
    )


def wanted_cells(
    run_records: Sequence[CellRecord],
    baseline: Baseline,
    *,
    confirmations: Sequence[CellRecord] = (),
    most_runs: int = MOST_RUNS,
    policy: Policy | None = None,
    session: Session | None = None,
    now: datetime | None = None,
    max_age: timedelta | None = MAX_AGE,
) -> tuple[str, ...]:
    """Return the cells that a fresh run of this night has to measure; none where it is decided.

    Arguments are those of judge(), and the most fresh runs that may be made.
    """
    if not run_records or unfit_runs([*run_records, *confirmations], session):
        return ()
    now = now if now is not None else datetime.now(timezone.utc)
    ours, again = by_cell(run_records), by_cell(confirmations)
    unfit = _unfit_cells(ours, again, baseline, session=session, now=now, max_age=max_age)
    return next_cells(
        [*runs_of(run_records), *runs_of(confirmations)],
        baseline,
        [cell for cell in baseline.cells if not unfit[cell]],
        policy if policy is not None else Policy(),
        most_runs=most_runs,
    )


def _unfit_cells(
    ours: Mapping[str, Sequence[CellRecord]],
    again: Mapping[str, Sequence[CellRecord]],
    baseline: Baseline,
    *,
    session: Session | None,
    now: datetime,
    max_age: timedelta | None,
) -> dict[str, list[Finding]]:
    """Say by cell why it cannot be judged for speed; empty where it can."""
    unfit: dict[str, list[Finding]] = {}
    raised = session.errors if session is not None else {}
    for cell in sorted({*baseline.cells, *ours, *raised}):
        unfit[cell] = _unfit(cell, ours, baseline, session=session, now=now, max_age=max_age)
        for record in again.get(cell, ()) if cell in baseline.cells else ():
            unfit[cell] += _unfit_here(record, baseline, now=now, max_age=max_age)
    return unfit


def _unfit(
    cell: str,
    ours: Mapping[str, Sequence[CellRecord]],
    baseline: Baseline,
    *,
    session: Session | None,
    now: datetime,
    max_age: timedelta | None,
) -> list[Finding]:
    """Say why a cell cannot be judged for speed; empty where it can."""
    outcome = session.outcomes.get(cell, _PASSED) if session is not None else _PASSED
    if cell not in ours:
        if session is not None and cell in session.errors:
            return [_raised(session.errors[cell])]
        how = "vanished: in the baseline, not in the run" if outcome == _PASSED else outcome
        reason = f"not measured ({how}); run it, or approve a baseline without"
        return [failed("integrity", reason)]
    if cell not in baseline.cells:
        return [failed("integrity", "missing baseline: no approved runs of this cell")]
    findings = []
    if outcome != _PASSED and not _is_told_by_its_ceiling(outcome, ours[cell]):
        findings.append(failed("integrity", f"its test was {outcome}"))
    runs = {r.run_id for records in ours.values() for r in records}
    absent = sorted(runs - {r.run_id for r in ours[cell]})
    if absent:
        findings.append(failed("integrity", f"not measured in run {absent[0]}"))
    for record in ours[cell]:
        findings += _unfit_here(record, baseline, now=now, max_age=max_age)
    return findings


def _unfit_here(
    record: CellRecord, baseline: Baseline, *, now: datetime, max_age: timedelta | None
) -> list[Finding]:
    """Say why one record of a known cell cannot be judged against the baseline."""
    reasons = [
        *against_baseline(record, baseline.cells[record.cell]),
        *freshness(record, now=now, max_age=max_age, newest_baseline=baseline.newest_run),
    ]
    return [*unfit_record(record), *(failed("integrity", reason) for reason in reasons)]


def _not_measured(errors: Mapping[str, str]) -> tuple[CellVerdict, ...]:
    return tuple(CellVerdict(cell=c, findings=(_raised(w),)) for c, w in sorted(errors.items()))


def _raised(why: str) -> Finding:
    return failed("integrity", f"not measured: {why}")


def _is_told_by_its_ceiling(outcome: str, records: Sequence[CellRecord]) -> bool:
    """Whether a test was red for its WER, which is judged as such, and its speed as well."""
    found = (ceiling_finding(record) for record in records)
    return outcome == "failed" and any(f is not None and f.verdict == "FAIL" for f in found)


def _joined(
    history: Mapping[str, Sequence[Night]],
    ours: Mapping[str, Sequence[CellRecord]],
    fit: Iterable[str],
) -> dict[str, list[Night]]:
    """Add tonight's fit records to the earlier nights, each run once."""
    joined = {}
    for cell in fit:
        nights = {n.run_id: n for n in (*history.get(cell, ()), *map(Night.of, ours[cell]))}
        joined[cell] = list(nights.values())
    return joined


def _drift_finding(drift: Drift, *, what: str = "") -> Finding:
    nights = len(drift.statistic)
    if drift.alarm_night is None:
        return Finding(
            kind="drift", verdict="PASS", reason=f"no drift on the last of {nights} nights"
        )
    return failed(
        "drift",
        f"{what}slower by {drift.loss * 100:.2g} % than the anchor since {drift.change_night}; "
        f"the alarm rose on {drift.alarm_night}",
    )
