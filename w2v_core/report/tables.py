"""Tables of a run: raw numbers for files, what people look at, and a terminal's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from w2v_core.records.record import CellRecord
from w2v_core.report.columns import FILES, MATRIX, raw, shown
from w2v_core.report.text import csv_safe, printable, shorten

if TYPE_CHECKING:
    import pandas as pd

MAX_TEXT_CHARS = 30_000  # a spreadsheet's cell takes 32,767
MAX_NAME_CHARS = 200


def summary(records: Sequence[CellRecord]) -> pd.DataFrame:
    """Return one row a cell, in the order measured: raw numbers, text fit for a spreadsheet."""
    import pandas as pd

    rows = [{name: _for_files(raw(name, record)) for name in FILES} for record in records]
    return pd.DataFrame(rows, columns=list(FILES))


def matrix(records: Sequence[CellRecord]) -> pd.DataFrame:
    """Return the few columns that people look at, as text."""
    import pandas as pd

    rows = [
        {
            "cell": printable(shorten(record.cell, MAX_NAME_CHARS)),
            **{figure.header: shown(figure, record) for figure in MATRIX},
            "valid": "yes" if record.valid else "NO",
        }
        for record in records
    ]
    return pd.DataFrame(rows)


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal; nothing in it can steer the terminal or leave its line."""
    lines = [[printable(value) for value in row] for row in rows]
    return tabulate(lines, headers=headers, tablefmt="simple", disable_numparse=True)


def _for_files(value: object) -> object:
    return csv_safe(shorten(value, MAX_TEXT_CHARS)) if isinstance(value, str) else value
