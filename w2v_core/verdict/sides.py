"""The sides of a comparison, as the command line names them: directories, files, releases."""

from __future__ import annotations

from pathlib import Path

from w2v_core.errors import RecordError
from w2v_core.records.history import History
from w2v_core.records.record import CellRecord
from w2v_core.records.store import read_run

__all__ = ["RELEASE", "read_side"]

RELEASE = "release:"
"""Starts the name of a release in the history."""


def read_side(text: str, *, history: Path | None = None) -> list[CellRecord]:
    """Read every record that a side's name stands for.

    Args:
        text: A run directory, a directory of run directories (``reports/<release>``), a
            ``run.json`` or benchmark JSON, or ``release:NAME`` for all its runs in the history.
        history: The history file, for ``release:``.

    Raises:
        RecordError: nothing there, or something there that cannot be read.
    """
    if text.startswith(RELEASE):
        return _from_history(text.removeprefix(RELEASE), history)
    path = Path(text)
    if not path.exists():
        raise RecordError(f"{text}: no such run; give a run directory, a JSON file or release:NAME")
    if path.is_file() or (path / "run.json").exists():
        return list(read_run(path).records)
    runs = sorted(p.parent for p in path.glob("**/run.json"))
    if not runs:
        raise RecordError(f"{text} holds no run.json; give a run directory, or one of runs")
    return [record for run in runs for record in read_run(run).records]


def _from_history(release: str, history: Path | None) -> list[CellRecord]:
    if history is None or not history.exists():
        raise RecordError(f"release {release!r} needs a history; {history} does not exist")
    with History(history) as opened:
        records = opened.records(release=release)
        if not records:
            known = sorted(set(opened.query()["release"]))
            raise RecordError(
                f"the history holds no release {release!r}; it knows {', '.join(known) or 'none'}"
            )
    return records
