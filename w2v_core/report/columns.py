"""What the tables of a run show, and in which order; the figures are those of records/fields.py."""

from __future__ import annotations

from collections.abc import Sequence

from w2v_core.records.fields import FIGURES, Figure
from w2v_core.records.record import CellRecord
from w2v_core.report.text import figure as four_digits

NOT_MEASURED = "-"
SUBJECT = (
    "cell",
    "device",
    "device_name",
    "model",
    "dtype",
    "dataset",
    "graphs",
    "forward",
    "batch_plan",
)
"""Fields of a record that say what was measured."""
FILES = (*SUBJECT, *FIGURES, "valid", "invalid_reasons")
"""Columns of ``summary.csv``; raw SI numbers stand below the figures."""
BRIEF = tuple(
    FIGURES[name]
    for name in ("wer", "rtfx", "latency_p50_s", "latency_p99_s", "padding_efficiency")
)
"""The figures that are compared between cells."""
MATRIX = (*BRIEF, FIGURES["num_changed_vs_golden"])
"""The figures of a terminal's and a summary's line."""
WHOLE = (*MATRIX, FIGURES["peak_memory_bytes"], FIGURES["energy_j"])
"""The figures of the page's matrix."""
_TIMED = "no round was timed"
MISSING = {
    "wer": "no references",
    "rtfx": _TIMED,
    "latency_p50_s": _TIMED,
    "latency_p99_s": _TIMED,
    "num_changed_vs_golden": "no golden transcripts",
    "energy_j": "the device reports no energy",
}
"""Why a record may not hold a figure."""


def value(figure: Figure, record: CellRecord) -> float | None:
    """Return a figure in its shown unit; None where the record does not hold it."""
    if MISSING.get(figure.name) == _TIMED and not record.rounds_s:
        return None
    raw = figure.of(record)
    return raw if raw is None or figure.scale == 1.0 else raw * figure.scale


def shown(figure: Figure, record: CellRecord) -> str:
    """Return a figure as people read it."""
    number = value(figure, record)
    if number is None:
        return NOT_MEASURED
    return four_digits(number) if figure.spec == ".4g" else format(number, figure.spec)


def raw(name: str, record: CellRecord) -> object:
    """Return what a column of ``summary.csv`` holds."""
    if name in FIGURES:
        return FIGURES[name].of(record)
    stored = getattr(record, name)
    return "; ".join(stored) if name == "invalid_reasons" else stored


def held(figures: Sequence[Figure], records: Sequence[CellRecord]) -> tuple[Figure, ...]:
    """Return the figures that are compared, and those that at least one record holds."""
    return tuple(f for f in figures if f in BRIEF or any(value(f, r) is not None for r in records))


def gaps(records: Sequence[CellRecord]) -> tuple[str, ...]:
    """Say why a figure of the matrix is missing, of some cells or of all: one text for each."""
    return tuple(
        f"{figure.header} ({MISSING[figure.name]})"
        for figure in WHOLE
        if figure.name in MISSING and any(value(figure, record) is None for record in records)
    )
