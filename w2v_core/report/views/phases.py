"""Where a run's wall time went, beside what was timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import psutil

from w2v_core.records.record import PHASES, CellRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One part of a run's wall time."""

    name: str
    wall_s: float
    share: float
    """Of the run's wall time, a fraction."""


def phases_of(records: Sequence[CellRecord], *, run_s: float) -> tuple[Phase, ...]:
    """Sum the cells' phases (``PHASES``); ``other`` is what is left of ``run_s`` seconds.

    Imports, collection and reports are in ``other``.
    """
    sums = {name: sum((r.phase_s or {}).get(name, 0.0) for r in records) for name in PHASES}
    sums["other"] = max(0.0, run_s - sum(sums.values()))
    whole_s = run_s or 1.0
    return tuple(Phase(name=name, wall_s=s, share=s / whole_s) for name, s in sums.items())


def process_s() -> float:
    """Return the wall seconds since this process began."""
    now_s = datetime.now(timezone.utc).timestamp()
    return now_s - float(psutil.Process().create_time())


def phases_line(records: Sequence[CellRecord], *, run_s: float) -> str:
    """Tell all phases in a line, as both front ends end with it."""
    told = (f"{p.name} {p.wall_s:.1f} ({p.share:.0%})" for p in phases_of(records, run_s=run_s))
    return f"{run_s:.1f} s: {', '.join(told)}"
