"""The one table of a run's figures and how it is shown: raw in files, for people, as Markdown.

What a figure is stands in records/fields.py; here is which ones are shown where, and in which
order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from w2v_core.printable import printable, shorten
from w2v_core.records.fields import FIGURES, Figure
from w2v_core.records.record import CellRecord
from w2v_core.report.text import csv_safe, markdown_safe
from w2v_core.report.text import figure as four_digits

if TYPE_CHECKING:
    import pandas as pd

MAX_TEXT_CHARS = 30_000  # a spreadsheet's cell takes 32,767
MAX_NAME_CHARS = 200
MARKDOWN_CHARS = 120  # of a cell of a Markdown table
NOT_MEASURED = "-"
SUBJECT = (
    *("cell", "device", "device_name", "model", "dtype", "dataset", "graphs", "forward"),
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
WHOLE = (*MATRIX, FIGURES["peak_memory_bytes"], FIGURES["energy_per_audio_hour_j"])
"""The figures of the page's matrix."""
STARTING = tuple(
    FIGURES[name]
    for name in (
        *("padding_efficiency", "graph_captures", "warm_up_s", "warm_up_cold_s", "compile_s"),
        *("recipe_hits", "recipe_misses"),
        *("captures_timed", "compilations_timed", "cpu_fallbacks_timed"),
    )
)
"""The figures of the page's warm-up and steady state."""
_TIMED = "no round was timed"
MISSING = {
    "wer": "no references",
    "rtfx": _TIMED,
    "latency_p50_s": _TIMED,
    "latency_p99_s": _TIMED,
    "num_changed_vs_golden": "no golden transcripts",
    "energy_per_audio_hour_j": "the device reports no energy",
}
"""Why a record may not hold a figure."""

Row = Mapping[str, str]
"""A line of a table for people: text by heading."""


def value(figure: Figure, record: CellRecord) -> float | None:
    """Return a figure in its shown unit; None where the record does not hold it."""
    if MISSING.get(figure.name) == _TIMED and not record.rounds_s:
        return None
    return scaled(figure, figure.of(record))


def scaled(figure: Figure, raw: float | None) -> float | None:
    """Return a raw figure in its shown unit; a count stays whole."""
    return raw if raw is None or figure.scale == 1.0 else raw * figure.scale


def shown(figure: Figure, record: CellRecord) -> str:
    """Return a figure as people read it."""
    return told(figure, value(figure, record))


def told(figure: Figure, number: float | None) -> str:
    """Return a figure's number, which is in its shown unit, as people read it."""
    if number is None:
        return NOT_MEASURED
    return four_digits(number) if figure.spec == ".4g" else format(number, figure.spec)


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


def summary(records: Sequence[CellRecord]) -> pd.DataFrame:
    """Return one row a cell, in the order measured: raw numbers, text fit for a spreadsheet."""
    import pandas as pd

    rows = [[_raw(name, record) for name in FILES] for record in records]
    return pd.DataFrame(rows, columns=list(FILES))


def matrix(records: Sequence[CellRecord]) -> list[dict[str, str]]:
    """Return the few columns that people look at, a row a cell."""
    return [
        {
            "cell": printable(shorten(record.cell, MAX_NAME_CHARS)),
            **{figure.header: shown(figure, record) for figure in MATRIX},
            "valid": "yes" if record.valid else "NO",
        }
        for record in records
    ]


def text_table(rows: Sequence[Row]) -> str:
    """Return a table for a terminal; nothing in it can steer the terminal or leave its line."""
    lines = [[printable(text) for text in row.values()] for row in rows]
    headers = list(map(printable, rows[0])) if rows else []
    return tabulate(lines, headers=headers, tablefmt="simple", disable_numparse=True)


def markdown_table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a Markdown table; text in it ends neither a cell nor a line."""
    if not rows:
        return []
    lines = (rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows))
    safe = ([markdown_safe(text, limit=MARKDOWN_CHARS) for text in line] for line in lines)
    return [f"| {' | '.join(line)} |" for line in safe]


def _raw(name: str, record: CellRecord) -> object:
    if name in FIGURES:
        return FIGURES[name].of(record)
    held = getattr(record, name)
    held = "; ".join(held) if name == "invalid_reasons" else held
    return csv_safe(shorten(held, MAX_TEXT_CHARS)) if isinstance(held, str) else held
