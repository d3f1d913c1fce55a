"""The gate: records of a night against a baseline, or interleaved pairs against each other.

Nothing passes that was not measured. Records are first asked whether they may be judged at all
(case.py, fitness.py); what remains is judged for throughput (night.py), WER (wer.py) and drift
(drift.py). A cell's verdict is its worst finding, the gate's verdict its worst cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from w2v_core.config import MOST_RUNS
from w2v_core.records.fingerprint import difference
from w2v_core.records.history_table import Night
from w2v_core.records.record import CellRecord
from w2v_core.records.store import Session
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.case import Case, raised
from w2v_core.verdict.decide import VERDICTS, Policy
from w2v_core.verdict.drift import Drift, judge_drift, judge_machine_drift
from w2v_core.verdict.fitness import by_cell, unfit_record, unfit_runs, unknown_on_both
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
from w2v_core.verdict.throughput import judge_throughput, next_cells
from w2v_core.verdict.waivers import Waiver, apply_waivers
from w2v_core.verdict.wer import ceiling_finding, wer_findings

MAX_AGE = timedelta(hours=36)  # a nightly run, and half a day of slack
_TOLD_GAIN = 0.01  # a level that was reached is told from here on, a fraction


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
        baseline: The baseline in force; None is red.
        confirmations: Records of fresh processes of the same night, of those cells only that had no
            verdict, and of their controls.
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
    case = Case(
        records=run_records,
        baseline=baseline,
        confirmations=confirmations,
        session=session,
        history=history,
        now=now,
        max_age=max_age,
    )
    if not run_records:
        nothing = refused("no record to judge: the run measured nothing", policy=policy)
        return replace(nothing, cells=_not_measured(case.errors))
    result = apply_waivers(_judged(case, policy, beside), waivers, now=now)
    return replace(result, cells=tuple(rank_cells(result.cells)))


def _judged(case: Case, policy: Policy, beside: Sequence[Finding]) -> GateResult:
    baseline, ours = case.baseline, case.ours
    speeds, machine = judge_throughput(case.runs, baseline, case.fit, policy)
    wers = wer_findings({c: (baseline.cells[c][-1], ours[c][-1]) for c in speeds}, policy=policy)
    nights = case.nights()
    drifts = judge_drift(nights, baseline) if nights else {}
    drifted = judge_machine_drift(nights, baseline) if nights else None
    cells = []
    for cell, findings in case.unfit.items():
        throughput, speed = speeds.get(cell, (None, None))
        wer, paired = wers.get(cell, (None, ()))
        judged = [*findings, *([speed] if speed is not None else []), *paired]
        if cell in speeds:
            judged += [_drift_finding(drifts[cell])] if cell in drifts else []
            judged += [f for r in ours[cell] for f in beyond_limits(r, baseline.cells[cell])]
        cells.append(
            CellVerdict(cell=cell, findings=ranked(judged), throughput=throughput, wer=wer)
        )
    known = {*baseline.cells, *case.errors}
    run = [
        *unfit_runs([*case.records, *case.confirmations], case.session, known=known),
        *unknown_on_both(case.newest.environment, baseline.key),
        *beside,
        *([_drift_finding(drifted, what="this machine is ")] if drifted is not None else []),
        *([machine] if machine is not None else []),
    ]
    return GateResult(
        cells=tuple(cells),
        findings=ranked(run),
        policy=policy,
        changes=difference(baseline.newest.environment, case.newest.environment),
        baseline=AgainstBaseline(
            key=baseline.key,
            signature=baseline.signature,
            approved_utc=baseline.approvals[-1].approved_utc,
        ),
    )


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
    history: Mapping[str, Sequence[Night]] | None = None,
    now: datetime | None = None,
    max_age: timedelta | None = MAX_AGE,
) -> tuple[str, ...]:
    """Return the cells that a fresh run of this night has to measure; none where it is decided.

    Arguments are those of judge(), and the most fresh runs that may be made. With a history these
    are also the cells that it suspects of a drift.
    """
    if not run_records or unfit_runs([*run_records, *confirmations], session):
        return ()
    case = Case(
        records=run_records,
        baseline=baseline,
        confirmations=confirmations,
        session=session,
        history=history,
        now=now if now is not None else datetime.now(timezone.utc),
        max_age=max_age,
    )
    policy = policy if policy is not None else Policy()
    return next_cells(
        case.runs, baseline, case.fit, policy, most_runs=most_runs, suspected=case.suspected()
    )


def _not_measured(errors: Mapping[str, str]) -> tuple[CellVerdict, ...]:
    return tuple(CellVerdict(cell=c, findings=(raised(w),)) for c, w in sorted(errors.items()))


def _drift_finding(drift: Drift, *, what: str = "") -> Finding:
    nights, card = len(drift.statistic), f" ({drift.card})" if drift.card else ""
    held = ""
    if drift.reached >= _TOLD_GAIN:
        held = f"; held to {drift.reached * 100:+.2g} %, the level that it reached"
    if drift.alarm_night is None:
        reason = f"no drift on the last of {nights} nights{card}{held}"
        return Finding(kind="drift", verdict="PASS", reason=reason)
    level = "the level that it reached" if held else "the anchor"
    return failed(
        "drift",
        f"{what}slower by {drift.loss * 100:.2g} % than {level} since {drift.change_night}; "
        f"the alarm rose on {drift.alarm_night}{card}{held}",
    )
