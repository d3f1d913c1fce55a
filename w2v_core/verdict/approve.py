"""The rules by which runs become a baseline; the same for the command and for ``--rebase``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import numpy as np

from w2v_core.errors import ConfigError
from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.record import CellRecord
from w2v_core.records.store import StoredRun
from w2v_core.verdict.baseline import GENESIS, Approval, Baseline, utc_text
from w2v_core.verdict.fitness import against_baseline, run_reasons
from w2v_core.verdict.screen import Screened, run_problems, screen

MIN_RUNS = 5  # fewer say too little about how much runs vary
_SHOWN = 5


def approve(
    runs: Sequence[StoredRun],
    *,
    reason: str = "",
    approved_by: str = "",
    previous: Baseline | None = None,
    now: datetime | None = None,
    keep: Collection[str] = (),
    unread: Sequence[str] = (),
) -> Baseline:
    """Make a baseline of runs, on top of the one in force.

    Runs that are red, invalid, incomplete or outlying are left out; the approval names them.

    Args:
        runs: At least five that qualify, of the same cells on one kind of machine.
        reason: Why; may be empty only where no cell gets worse. Runs that are mixed, or all made in
            one sitting, need a word in it (screen.py).
        approved_by: Who.
        previous: The baseline in force; its approvals are continued.
        now: Time of the approval; the clock's where it is left out.
        keep: Sources of runs that are refused rather than left out.
        unread: Runs that could not be read, each with why.

    Raises:
        ConfigError: too few runs qualify, they come from several machines, or the reason lacks
            what it has to say.
    """
    screened = screen(runs, keep=keep)
    records = [r for run in screened.runs for r in run.records]
    cells = _by_cell(records)
    left_out = (*unread, *screened.left_out)
    problems = [*screened.refused, *_problems(records, cells, left_out)]
    if problems := problems or _of_another(previous, records[0]):
        raise ConfigError(f"no baseline: {_listed(problems)}")
    approval = _approval(
        cells,
        screened=screened,
        left_out=left_out,
        reason=reason,
        approved_by=approved_by,
        previous=previous,
        now=now,
    )
    return Baseline(
        key=fingerprint_key(records[0].environment),
        cells=cells,
        approvals=(*(previous.approvals if previous is not None else ()), approval),
        acknowledgements=previous.acknowledgements if previous is not None else (),
    )


def _of_another(previous: Baseline | None, record: CellRecord) -> list[str]:
    """Say that the baseline in force is another machine's; empty where it is not."""
    key = fingerprint_key(record.environment)
    if previous is None or dict(previous.key) == key:
        return []
    return [f"the baseline in force belongs to {dict(previous.key)}, the runs to {key}"]


def _listed(problems: Sequence[str]) -> str:
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def unlike(run: StoredRun, known: StoredRun) -> list[str]:
    """Say why a run measured something else than another one; empty where it did not."""
    theirs = {r.cell: r for r in known.records}
    if {r.cell for r in run.records} != set(theirs):
        return ["it measured other cells"]
    problems = [*run_reasons(run.records), *run_problems(run)]
    for record in run.records:
        problems += against_baseline(record, [theirs[record.cell]])
    return problems


def _approval(
    cells: Mapping[str, tuple[CellRecord, ...]],
    *,
    screened: Screened,
    left_out: Sequence[str],
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
    unsaid = [w for w in screened.words if w.word not in reason.lower()]
    if unsaid:
        told = "; ".join(f"{w.why}: say {w.word!r} in {{flag:reason}}" for w in unsaid)
        raise ConfigError(f"no baseline without a word on it: {told}")
    return Approval(
        approved_utc=utc_text(now),
        approved_by=approved_by,
        reason=reason.strip() or ("no cell got worse" if previous else "first baseline"),
        run_ids=tuple(sorted({r.run_id for rows in cells.values() for r in rows})),
        rtfx=rtfx,
        wer=wer,
        worse=worse,
        previous=previous.signature if previous is not None else GENESIS,
        notes=(*(f"left out: {n}" for n in left_out), *(w.why for w in screened.words)),
    )


def _by_cell(records: Sequence[CellRecord]) -> dict[str, tuple[CellRecord, ...]]:
    ordered = sorted(records, key=lambda r: (r.created_utc, r.run_id))
    cells = sorted({r.cell for r in records})
    return {cell: tuple(r for r in ordered if r.cell == cell) for cell in cells}


def _problems(
    records: Sequence[CellRecord],
    cells: Mapping[str, tuple[CellRecord, ...]],
    left_out: Sequence[str],
) -> list[str]:
    """Say why these runs, of which some were left out before, are no baseline."""
    problems = run_reasons(records)
    keys = {tuple(fingerprint_key(r.environment).items()) for r in records}
    if len(keys) > 1:
        problems.append(f"the runs come from {len(keys)} different machines")
    few = {cell: len({r.run_id for r in rows}) for cell, rows in cells.items()}
    short = [(c, n) for c, n in few.items() if n < MIN_RUNS]
    if short or not cells:
        told = [f"{c} has {n} runs; a baseline needs at least {MIN_RUNS}" for c, n in short]
        told = told or [f"none of the runs qualifies; a baseline needs at least {MIN_RUNS}"]
        problems += [*told[:1], *(f"left out: {text}" for text in left_out), *told[1:]]
    for cell, rows in cells.items():
        problems += [
            f"{cell}: {r}"
            for record in rows[:-1]
            for r in against_baseline(record, rows[-1:])
            if not r.startswith("stale")
        ]
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
