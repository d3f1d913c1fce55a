"""The throughput of a night's runs against a baseline: from records to the sequential rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from w2v_core.config import MOST_RUNS
from w2v_core.records.record import CellRecord
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.evidence import evidence, machine_evidence
from w2v_core.verdict.night import Nights
from w2v_core.verdict.outcome import Finding, Throughput
from w2v_core.verdict.robust import FEWEST_CELLS
from w2v_core.verdict.statistics import Floats

Run = Mapping[str, CellRecord]
"""The records of one process run by cell."""


def runs_of(records: Sequence[CellRecord]) -> list[Run]:
    """Return the records of each process run by cell, the earliest run first."""
    runs: dict[str, dict[str, CellRecord]] = {}
    for record in sorted(records, key=lambda r: (r.created_utc, r.run_id)):
        runs.setdefault(record.run_id, {})[record.cell] = record
    return list(runs.values())


def judge_throughput(
    runs: Sequence[Run], baseline: Baseline, fit: Sequence[str], policy: Policy
) -> tuple[dict[str, tuple[Throughput, Finding]], Finding | None]:
    """Judge the fit cells, and the machine; the family is the baseline's, whatever was lost.

    Args:
        runs: Of the night, the first one first; the fresh ones may lack cells.
        baseline: The baseline in force.
        fit: Cells that may be judged, all in the first run.
        policy: Margins and error rates.

    Returns:
        Evidence and finding by cell, and the machine's finding; None of it where the cells are too
        few to tell.
    """
    if not fit:
        return {}, None
    night = _follow(runs, baseline, fit, policy)
    decision, machine = night.decide_only()
    found = {}
    for index, cell in enumerate(sorted(baseline.cells)):
        if cell in fit:
            fresh = sum(cell in run for run in runs[1:])
            found[cell] = evidence(
                decision,
                index,
                runs=max(fresh, 1),
                baseline_runs=len(baseline.cells[cell]),
                policy=policy,
            )
    if machine is None or len(fit) < FEWEST_CELLS:
        return found, None
    return found, machine_evidence(machine, cells=len(fit), policy=policy)


def next_cells(
    runs: Sequence[Run],
    baseline: Baseline,
    fit: Sequence[str],
    policy: Policy,
    *,
    most_runs: int = MOST_RUNS,
    suspected: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the cells that the night's next fresh run has to measure; none where all is decided.

    Arguments are those of judge_throughput(), the most fresh runs, and the cells that are to be
    measured although they passed.
    """
    if not fit or most_runs < 1:
        return ()
    cells = sorted(baseline.cells)
    also = np.asarray([[cell in suspected for cell in cells]])
    asked = _follow(runs, baseline, fit, policy, most_runs=most_runs).asked(also)[0]
    return tuple(c for c, is_asked in zip(cells, asked, strict=True) if is_asked)


def _follow(
    runs: Sequence[Run],
    baseline: Baseline,
    fit: Sequence[str],
    policy: Policy,
    *,
    most_runs: int = MOST_RUNS,
) -> Nights:
    cells = sorted(baseline.cells)
    theirs = _padded([baseline.log_rtfx(cell) for cell in cells])
    night = Nights(theirs[None], policy, most_runs=most_runs)
    for run in runs:
        values = [np.log(run[c].rtfx) if c in fit and c in run else np.nan for c in cells]
        night.add(np.asarray([values]))
    return night


def _padded(rows: Sequence[Sequence[float]]) -> Floats:
    """Stack rows of different lengths, NaN where a row ends."""
    table = np.full((len(rows), max(1, *(len(row) for row in rows))), np.nan)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table
