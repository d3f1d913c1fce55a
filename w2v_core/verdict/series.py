"""A history as drift follows it: one card, one value a night, and the machine beside its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from w2v_core.records.history_table import Night
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.cusum import middle
from w2v_core.verdict.fitness import parse_utc
from w2v_core.verdict.robust import FEWEST_CELLS, median

_NIGHT = timedelta(hours=12)  # from a night's first run to its last


class Value(NamedTuple):
    """One night of one series."""

    night: str
    """ISO 8601, UTC, of its first run."""
    log_rtfx: float
    """The machine's level taken out where the night tells it; of the fresh runs where there are."""
    fresh_runs: int
    """Runs after the first, which may have been cold; 0 where it stands for the night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The nights since the approval, oldest first."""

    cells: Mapping[str, tuple[Value, ...]]
    machine: tuple[Value, ...]
    """What all cells share, against the baseline; no night with too few cells to tell."""
    card: str
    """The card of the newest run, whose nights these are; empty where nothing says which."""
    cards: int
    """Cards that the history knows."""


def follow(history: Mapping[str, Sequence[Night]], baseline: Baseline) -> Series:
    """Take the nights on the newest run's card, after the baseline's newest run.

    The anchor was set after the earlier ones. Runs within 12 hours of a night's first are one
    night, so that measuring again does not count twice.
    """
    since = _since_approval(history, baseline)
    everything = [run for of_cell in since.values() for run in of_cell]
    newest = max(everything, key=lambda r: (r.created_utc, r.run_id), default=None)
    card = newest.card if newest is not None else ""
    here = {c: [r for r in of_cell if r.card == card] for c, of_cell in since.items()}
    levels, began = _levels(here, baseline)
    return Series(
        cells={
            cell: tuple(value_of(night, levels) for night in by_night(runs))
            for cell, runs in here.items()
            if runs
        },
        machine=tuple(
            Value(night[0].created_utc, float(np.median([levels[r.run_id] for r in night])), 0)
            for night in by_night([began[run_id] for run_id in levels])
        ),
        card=card,
        cards=len({run.card for run in everything}),
    )


def by_night(runs: Sequence[Night]) -> list[list[Night]]:
    """Group runs by the night that they were made in, oldest first."""
    nights: list[list[Night]] = []
    for run in sorted(runs, key=lambda r: (r.created_utc, r.run_id)):
        first = parse_utc(nights[-1][0].created_utc) if nights else None
        created = parse_utc(run.created_utc)
        if first is not None and created is not None and created - first < _NIGHT:
            nights[-1].append(run)
        else:
            nights.append([run])
    return nights


def value_of(night: Sequence[Night], levels: Mapping[str, float] | None = None) -> Value:
    """Return what the runs of one night say: the fresh ones where there are.

    Args:
        night: The night's runs of one cell, oldest first.
        levels: The machine's level by run, in log, to be taken out.
    """
    levels = levels if levels is not None else {}
    known = next((levels[r.run_id] for r in night if r.run_id in levels), 0.0)
    logs = [_log(run) - levels.get(run.run_id, known) for run in night[1:] or night]
    value = logs[0] if len(logs) == 1 else float(middle(np.asarray(logs)))
    return Value(night[0].created_utc, value, len(night) - 1)


def _since_approval(
    history: Mapping[str, Sequence[Night]], baseline: Baseline
) -> dict[str, list[Night]]:
    own = {r.run_id for runs in baseline.cells.values() for r in runs}
    newest = max(r.created_utc for runs in baseline.cells.values() for r in runs)
    return {
        cell: [r for r in history.get(cell, ()) if r.run_id not in own and r.created_utc > newest]
        for cell in baseline.cells
    }


def _levels(
    series: Mapping[str, Sequence[Night]], baseline: Baseline
) -> tuple[dict[str, float], dict[str, Night]]:
    """Return the machine's level by run, in log, and a row of each run that tells one."""
    shifts: dict[str, list[float]] = {}
    began: dict[str, Night] = {}
    for cell, runs in series.items():
        centre = float(median(np.asarray(baseline.log_rtfx(cell))))
        for run in runs:
            shifts.setdefault(run.run_id, []).append(_log(run) - centre)
            began[run.run_id] = min(began.get(run.run_id, run), run, key=lambda r: r.created_utc)
    levels = {n: float(np.median(v)) for n, v in shifts.items() if len(v) >= FEWEST_CELLS}
    return levels, began


def _log(run: Night) -> float:
    """Return the log throughput; NaN where it is none, which detect_drift() refuses."""
    return float(np.log(run.rtfx)) if np.isfinite(run.rtfx) and run.rtfx > 0 else float("nan")
