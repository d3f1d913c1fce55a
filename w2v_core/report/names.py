"""Cell names as charts and grids show them: without what all cells share."""

from __future__ import annotations

from collections.abc import Sequence

from w2v_core.records.record import CellRecord

FIELDS = 5  # model, dtype, dataset, graphs, forward


def split(cell: str) -> tuple[str, str]:
    """Return the row (model, dataset) and the column (dtype, graphs, forward) of a cell's name.

    A name of another form is a row of its own, in a column without a name.
    """
    parts = cell.split("-")
    if len(parts) != FIELDS:
        return cell, ""
    model, dtype, dataset, graphs, forward = parts
    return f"{model} on {dataset}", f"{dtype}, {graphs}, {forward}"


def labels(records: Sequence[CellRecord]) -> dict[str, str]:
    """Return a short label by cell; labels differ where the cells do."""
    common = _common(records)
    return {
        r.cell: "-".join(part for i, part in enumerate(r.cell.split("-")) if i not in common)
        for r in records
    }


def shared(records: Sequence[CellRecord]) -> str:
    """Say what the labels leave out; empty where that is nothing."""
    common = _common(records)
    return f" All cells are of {', '.join(common.values())}." if common else ""


def _common(records: Sequence[CellRecord]) -> dict[int, str]:
    cells = {r.cell for r in records}
    parts = [cell.split("-") for cell in cells]
    if len(cells) < 2 or any(len(p) != FIELDS for p in parts):
        return {}
    return {
        i: values[0] for i, values in enumerate(zip(*parts, strict=True)) if len(set(values)) == 1
    }
