"""The rules by which runs become a baseline; the same for the command and for ``--rebase``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from w2v_core.errors import ConfigError
from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.record import CellRecord
from w2v_core.records.store import RED_OUTCOMES, StoredRun
from w2v_core.verdict.baseline import GENESIS, Approval, Baseline, utc_text
from w2v_core.verdict.fitness import (
    against_baseline,
    run_reasons,
    session_reasons,
    unfit_record,
)
from w2v_core.verdict.wer import ceiling_finding

MIN_RUNS = 5  # fewer say too little about how much runs vary
_SHOWN = 5


def approve(
    runs: Sequence[StoredRun],
    *,
    reason: str = "",
    approved_by: str = "",
    previous: Baseline | None = None,
    now: datetime | None = None,
) -> Baseline:
    """Make a baseline of runs, on top of the one in force.

    Args:
        runs: At least five runs of the same cells on one kind of machine.
        reason: Why; may be empty only where no cell gets worse.
        approved_by: Who.
        previous: The baseline in force; its approvals are continued.
        now: Time of the approval; the clock's where it is left out.

    Raises:
        ConfigError: the runs are too few, incomplete, red, invalid, simulated, of several machines,
            or worse than the baseline in force without a reason.
    """
    records = [r for run in runs for r in run.records]
    cells = _by_cell(records)
    problems = _problems(runs, records, cells)
    if not problems and previous is not None:
        key = fingerprint_key(records[0].environment)
        if dict(previous.key) != key:
            problems = [f"the baseline in force belongs to {dict(previous.key)}, the runs to {key}"]
    if problems:
        more = len(problems) - _SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        raise ConfigError(f"no baseline: {'; '.join(problems[:_SHOWN])}{tail}")
    approval = _approval(cells, reason=reason, approved_by=approved_by, previous=previous, now=now)
    return Baseline(
        key=fingerprint_key(records[0].environment),
        cells=cells,
        approvals=(*(previous.approvals if previous is not None else ()), approval),
    )


def unlike(run: StoredRun, known: StoredRun) -> list[str]:
    """Say why a run cannot be approved beside another one; empty where it can."""
    theirs = {r.cell: r for r in known.records}
    if {r.cell for r in run.records} != set(theirs):
        return ["it measured other cells"]
    problems = [*run_reasons(run.records), *_session_problems(run)]
    for record in run.records:
        problems += [*_record_problems(record), *against_baseline(record, [theirs[record.cell]])]
    return problems


def _approval(
    cells: Mapping[str, tuple[CellRecord, ...]],
    *,
    reason: str,
    approved_by: str,
    previous: Baseline | None,
    now: datetime | None,
) -> Approval:
    rtfx = {cell: _geometric_mean(rows) for cell, rows in cells.items()}
    wer = {cell: rows[-1].wer for cell, rows in cells.items()}
    worse = _worse(previous.approvals[-1], rtfx, wer) if previous is not None else ()
    if worse and not reason.strip():
        raise ConfigError(
            f"worse than the baseline in force: {'; '.join(worse)}; give {{flag:reason}}"
        )
    return Approval(
        approved_utc=utc_text(now),
        approved_by=approved_by,
        reason=reason.strip() or ("no cell got worse" if previous else "first baseline"),
        run_ids=tuple(sorted({r.run_id for rows in cells.values() for r in rows})),
        rtfx=rtfx,
        wer=wer,
        worse=worse,
        previous=previous.signature if previous is not None else GENESIS,
    )


def _by_cell(records: Sequence[CellRecord]) -> dict[str, tuple[CellRecord, ...]]:
    ordered = sorted(records, key=lambda r: (r.created_utc, r.run_id))
    cells = sorted({r.cell for r in records})
    return {cell: tuple(r for r in ordered if r.cell == cell) for cell in cells}


def _problems(
    runs: Sequence[StoredRun],
    records: Sequence[CellRecord],
    cells: Mapping[str, tuple[CellRecord, ...]],
) -> list[str]:
    problems = run_reasons(records)
    keys = {tuple(fingerprint_key(r.environment).items()) for r in records}
    if len(keys) > 1:
        problems.append(f"the runs come from {len(keys)} different machines")
    for run in runs:
        missing = sorted(set(cells) - {r.cell for r in run.records})
        if missing:
            problems.append(f"{run.source} is incomplete: it lacks {', '.join(missing[:3])}")
        problems += _session_problems(run)
    for cell, rows in cells.items():
        if len({r.run_id for r in rows}) < MIN_RUNS:
            count = len({r.run_id for r in rows})
            problems.append(f"{cell} has {count} runs; a baseline needs at least {MIN_RUNS}")
        for record in rows:
            problems += [f"{cell} in {record.run_id}: {r}" for r in _record_problems(record)]
        problems += [
            f"{cell}: {r}"
            for record in rows[:-1]
            for r in against_baseline(record, rows[-1:])
            if not r.startswith("stale")
        ]
    return problems


def _session_problems(run: StoredRun) -> list[str]:
    if run.session is None:
        return []
    problems = [
        f"{run.source}: {cell} was {outcome}"
        for cell, outcome in sorted(run.session.outcomes.items())
        if outcome in RED_OUTCOMES
    ]
    return [*problems, *(f"{run.source}: {reason}" for reason in session_reasons(run.session))]


def _record_problems(record: CellRecord) -> list[str]:
    problems = [finding.reason for finding in unfit_record(record)]
    ceiling = ceiling_finding(record)
    if ceiling is not None and ceiling.verdict == "FAIL":
        problems.append(ceiling.reason)
    return problems


def _geometric_mean(rows: Sequence[CellRecord]) -> float:
    return float(np.exp(np.mean([np.log(r.rtfx) for r in rows])))


def _worse(
    old: Approval, rtfx: Mapping[str, float], wer: Mapping[str, float | None]
) -> tuple[str, ...]:
    worse = []
    for cell, before in old.rtfx.items():
        if cell not in rtfx:
            worse.append(f"{cell} is gone")
            continue
        if rtfx[cell] < before:
            worse.append(f"{cell} is slower by {(1 - rtfx[cell] / before) * 100:.2g} %")
        wer_before, wer_after = old.wer[cell], wer[cell]
        if wer_before is not None and (wer_after is None or wer_after > wer_before):
            worse.append(f"{cell} has WER {wer_after} instead of {wer_before}")
    return tuple(worse)
