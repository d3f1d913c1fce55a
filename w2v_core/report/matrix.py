"""The matrix: tiles for the first look, all figures below, shaded by the distance from the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from w2v_core.records.record import CellRecord
from w2v_core.report.names import split
from w2v_core.report.page import Cell, missing, note, section, subsection, table
from w2v_core.report.ranking import NOT_JUDGED, STATUS_CLASS, status, vanished
from w2v_core.report.text import figure, html_safe

if TYPE_CHECKING:
    from w2v_core.verdict.outcome import GateResult

__all__ = ["matrix", "status_cell"]

GIB = 2**30
SHADES = (0.02, 0.10, 0.30, 0.60)  # distance from the best cell of the same model and dataset
COLUMNS: tuple[tuple[str, str, int], ...] = (  # header, attribute of _figures, 1 where low is good
    ("WER %", "wer", 1),
    ("RTFx", "rtfx", -1),
    ("p50 ms", "p50", 1),
    ("p99 ms", "p99", 1),
    ("padding eff. %", "padding", -1),
)
Best = dict[tuple[tuple[str, str], str], float | None]


def matrix(order: Sequence[CellRecord], gate: GateResult | None) -> str:
    """Show all cells twice: as tiles by model and configuration, and as a table of all figures."""
    if not order:
        return section("Matrix", missing("no cell was measured."))
    best = _best(order)
    parts = [
        note(
            "RTFx is audio seconds per wall second of the median round, beside it its change "
            "against the baseline where the gate judged it. A tile has the colour of its verdict; "
            "where none was given, and in the table, a shade is the distance from the best cell of "
            "the same model and dataset, stronger is worse: above 2, 10, 30 and 60 %."
        )
    ]
    lost = vanished(order, gate)
    if len(order) + len(lost) > 1:
        parts.append(_tiles(order, [cell for cell, _ in lost], gate, best))
    return section("Matrix", *parts, subsection("All cells", _table(order, gate, best)))


def status_cell(record: CellRecord, gate: GateResult | None) -> Cell:
    """Show the status of a cell in its colour."""
    text = status(record, gate)
    return Cell("valid, not judged" if text == NOT_JUDGED else text, STATUS_CLASS.get(text, ""))


def _tiles(
    order: Sequence[CellRecord], lost: Sequence[str], gate: GateResult | None, best: Best
) -> str:
    tiles = {split(cell): Cell('<span class="state">vanished</span>', "bad", True) for cell in lost}
    tiles.update((split(r.cell), _tile(r, gate, best)) for r in order)
    rows = sorted({row for row, _ in tiles})
    columns = sorted({column for _, column in tiles})
    empty = Cell("\u2013", "none")
    return table(
        ("", *columns),
        [[Cell(row), *(tiles.get((row, column), empty) for column in columns)] for row in rows],
        label="Matrix as tiles",
        kind="grid",
    )


def _tile(record: CellRecord, gate: GateResult | None, best: Best) -> Cell:
    values, state = _figures(record), status(record, gate)
    judged = gate.cell(record.cell) if gate is not None else None
    speed = judged.throughput if judged is not None else None
    change = f" <small>{(speed.ratio - 1) * 100:+.1f} %</small>" if speed is not None else ""
    wer = "" if values["wer"] is None else f"WER {values['wer']:.2f} %"
    below = "" if state == NOT_JUDGED else f'<span class="state">{html_safe(state)}</span>'
    shade = _shade(values["rtfx"], best[_kind(record), "rtfx"], sign=-1)
    return Cell(
        f"<b>{figure(values['rtfx'])}{change}</b>{wer}{below}", STATUS_CLASS.get(state, shade), True
    )


def _table(order: Sequence[CellRecord], gate: GateResult | None, best: Best) -> str:
    headers = ["cell", "status", *(name for name, _, _ in COLUMNS), "changed", "peak GiB"]
    headers += ["vs baseline"] if gate is not None else []
    rows = []
    for record in order:
        values = _figures(record)
        row = [Cell(record.cell), status_cell(record, gate)]
        for _, name, sign in COLUMNS:
            shade = _shade(values[name], best[_kind(record), name], sign=sign)
            row.append(Cell(figure(values[name]), f"n {shade}".strip()))
        changed = record.changed_vs_golden
        row.append(Cell("-" if changed is None else str(len(changed)), "n"))
        row.append(Cell(f"{record.peak_memory_bytes / GIB:.3g}", "n"))
        if gate is not None:
            row.append(Cell(_ratio(record, gate), "n"))
        rows.append(row)
    said = note("Worst first. Changed counts transcripts that differ from the golden ones.")
    return said + table(headers, rows, label="Matrix of all cells")


def _figures(record: CellRecord) -> dict[str, float | None]:
    timed = bool(record.rounds_s)
    return {
        "wer": None if record.wer is None else record.wer * 100,
        "rtfx": record.rtfx if timed else None,
        "p50": record.latency_s["p50"] * 1e3 if timed and "p50" in record.latency_s else None,
        "p99": record.latency_s["p99"] * 1e3 if timed and "p99" in record.latency_s else None,
        "padding": record.padding_efficiency * 100,
    }


def _kind(record: CellRecord) -> tuple[str, str]:
    return (record.model, record.dataset)


def _best(order: Sequence[CellRecord]) -> Best:
    best: Best = {}
    for record in order:
        values = _figures(record)
        for _, name, sign in COLUMNS:
            key = (_kind(record), name)
            choose: Callable[[float, float], float] = min if sign > 0 else max
            value, known = values[name], best.get(key)
            best[key] = (
                choose(value, known)
                if value is not None and known is not None
                else (value if known is None else known)
            )
    return best


def _shade(value: float | None, best: float | None, *, sign: int) -> str:
    if value is None or best is None:
        return ""
    low, high = sorted((abs(value), abs(best)))
    worse = (value - best) * sign > 0
    distance = high / max(low, 0.05) - 1.0 if worse else 0.0  # 0.05: a WER of 0 % has no multiples
    level = sum(distance > limit for limit in SHADES)
    return f"h{level}" if level else ""


def _ratio(record: CellRecord, gate: GateResult) -> str:
    judged = gate.cell(record.cell)
    speed = judged.throughput if judged is not None else None
    return f"{speed.ratio:.3f} [{speed.lower:.3f}, {speed.upper:.3f}]" if speed is not None else "-"
