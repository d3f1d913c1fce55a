"""Nights of a cell as a report shows them: throughput against the anchor, and the CUSUM."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from w2v_core.records.history_table import Night
from w2v_core.records.record import CellRecord
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.cusum import LIMIT
from w2v_core.verdict.drift import anchors, judge_drift
from w2v_core.verdict.series import by_night, value_of

NightsByCell = Mapping[str, Sequence[Night]]
CUSUM_LIMIT = LIMIT
FIRST_NIGHTS = 5  # their median stands in for an anchor where there is no baseline


class Trend(NamedTuple):
    """One cell over its nights, oldest first."""

    cell: str
    nights: tuple[str, ...]
    """ISO 8601, UTC."""
    ratios: tuple[float, ...]
    """RTFx over the anchor's."""
    cusum: tuple[float, ...]
    """Of the last so many nights, those since the approval; empty without a baseline."""

    @property
    def last_cusum(self) -> float:
        """The sum after the last night; 0 where there is none."""
        return self.cusum[-1] if self.cusum else 0.0


def joined(history: NightsByCell, records: Sequence[CellRecord]) -> dict[str, list[Night]]:
    """Add the run's valid records to earlier runs: each once, oldest first, speeds only."""
    nights = {cell: {n.run_id: n for n in of_cell} for cell, of_cell in history.items()}
    for record in records:
        if record.valid:
            nights.setdefault(record.cell, {})[record.run_id] = Night.of(record)
    return {
        cell: sorted(
            (n for n in of_cell.values() if n.rtfx > 0 and math.isfinite(n.rtfx)),
            key=lambda n: (n.created_utc, n.run_id),
        )
        for cell, of_cell in nights.items()
    }


def trends(
    history: NightsByCell, records: Sequence[CellRecord], baseline: Baseline | None
) -> list[Trend]:
    """Return the cells of this run over the nights, those in trouble first.

    The level of 1 is the baseline's anchor; without a baseline, the median of the first five
    nights. Cells with fewer than two nights are left out.
    """
    nights = joined(history, records)
    here = {r.cell for r in records}
    levels = {c: a.mean for c, a in anchors(baseline).items()} if baseline is not None else {}
    drifts = judge_drift(nights, baseline) if baseline is not None else {}
    rows = []
    for cell, series in nights.items():
        if cell not in here:
            continue
        one_a_night = by_night(series)
        if len(one_a_night) < 2:
            continue
        logs = [value_of(night).log_rtfx for night in one_a_night]
        level = levels.get(cell, statistics.median(logs[:FIRST_NIGHTS]))
        rows.append(
            Trend(
                cell=cell,
                nights=tuple(night[0].created_utc for night in one_a_night),
                ratios=tuple(math.exp(value - level) for value in logs),
                cusum=drifts[cell].statistic if cell in drifts else (),
            )
        )
    return sorted(rows, key=lambda t: (-t.last_cusum, t.ratios[-1], t.cell))
