"""The matrix: tiles by model and configuration, shaded by the distance from the best cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from w2v_core.records.fields import Figure
from w2v_core.records.record import CellRecord
from w2v_core.report.names import split
from w2v_core.report.tables import BRIEF, WHOLE, held, shown, value
from w2v_core.report.views.ranking import NOT_JUDGED, Absent, Standing
from w2v_core.verdict.outcome import Throughput

SHADES = (0.02, 0.10, 0.30, 0.60)  # distance from the best cell of the same model and dataset


class Shaded(NamedTuple):
    """One figure of a row as shown, and its shade: 0 is the best, 4 the worst."""

    text: str
    shade: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow:
    """One cell: a line of the table, or a tile."""

    cell: str
    status: str
    """The verdict; of a sound cell without one, that it was not judged."""
    kind: str
    """Its colour: ``good``, ``bad``, ``doubt`` or none."""
    figures: tuple[Shaded, ...] = ()
    wer: float | None = None
    """Percent."""
    rtfx: Shaded | None = None
    speed: Throughput | None = None
    """Against the baseline."""

    @property
    def change(self) -> float | None:
        """Throughput against the baseline, percent."""
        return None if self.speed is None else (self.speed.ratio - 1) * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMatrix:
    """All cells as lines, worst first, and as tiles."""

    columns: tuple[Figure, ...]
    rows: tuple[CellRow, ...]
    tile_columns: tuple[str, ...]
    tiles: tuple[tuple[str, tuple[CellRow | None, ...]], ...]
    """Name and tiles of each line; empty where there is one cell only."""


def matrix(order: Sequence[Standing], lost: Sequence[Absent]) -> CellMatrix:
    """Return all cells in their order, and as tiles those without a record too."""
    records = [cell.record for cell in order]
    best, columns = _best(records), held(WHOLE, records)
    rows = tuple(_row(cell, columns, best) for cell in order)
    gone = [CellRow(cell=c.cell, status=c.status, kind="bad") for c in lost]
    tiles = {split(row.cell): row for row in (*gone, *rows)}
    names = sorted({column for _, column in tiles})
    lines = [
        (line, tuple(tiles.get((line, name)) for name in names))
        for line in sorted({line for line, _ in tiles})
    ]
    return CellMatrix(
        columns=columns,
        rows=rows,
        tile_columns=tuple(names),
        tiles=tuple(lines) if len(tiles) > 1 else (),
    )


Best = dict[tuple[str, str, str], float]


def _row(cell: Standing, columns: Sequence[Figure], best: Best) -> CellRow:
    record = cell.record
    figures = {c.name: Shaded(shown(c, record), _shade(record, c, best)) for c in columns}
    return CellRow(
        cell=record.cell,
        status=cell.status,
        kind=cell.kind,
        figures=tuple(figures.values()),
        wer=None if record.wer is None else record.wer * 100,
        rtfx=figures["rtfx"],
        speed=cell.speed,
    )


def _best(order: Sequence[CellRecord]) -> Best:
    best: Best = {}
    for record, column in product(order, BRIEF):
        number, key = value(column, record), (record.model, record.dataset, column.name)
        if number is not None:
            choose = min if column.better == "lower" else max
            best[key] = choose(number, best.get(key, number))
    return best


def _shade(record: CellRecord, column: Figure, best: Best) -> int:
    number = value(column, record)
    goal = best.get((record.model, record.dataset, column.name))
    if number is None or goal is None:
        return 0
    worse = number > goal if column.better == "lower" else number < goal
    low, high = sorted((abs(number), abs(goal)))
    distance = high / max(low, 0.05) - 1.0 if worse else 0.0  # 0.05: a WER of 0 % has no multiples
    return sum(distance > limit for limit in SHADES)


def shown_status(state: str) -> str:
    """Say of a cell without a verdict that it is sound."""
    return "valid, not judged" if state == NOT_JUDGED else state
