"""reports/index.html: all runs, newest first. Reads the runs' small tables, not their records."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from w2v_core.report.page import Cell, document, missing, note, table
from w2v_core.report.text import html_safe

__all__ = ["INCOMPLETE", "render_index"]

INCOMPLETE = "INCOMPLETE"
"""The mark of a run that has not finished."""


def render_index(reports_dir: Path) -> str:
    """Render the list of the runs in ``<release>/<run>/`` below a directory."""
    runs = sorted(_runs(reports_dir), key=lambda r: (r.name, r.parent.name), reverse=True)
    title = f"{len(runs)} runs"
    body = [f"<h1>{title}</h1>"]
    if runs:
        body.append(note("Newest first; a run's name is its UTC start, device and commit."))
        headers = ("run", "release", "cells valid", "files")
        body.append(table(headers, [_row(run, reports_dir) for run in runs], label="Runs"))
    else:
        body.append(missing("no run has been written yet."))
    return document(title=f"{title} - w2v", body=body)


def _runs(reports_dir: Path) -> Iterator[Path]:
    for run in reports_dir.glob("*/*"):
        if run.is_dir() and ((run / "run.json").exists() or (run / INCOMPLETE).exists()):
            yield run


def _row(run: Path, reports_dir: Path) -> list[Cell]:
    names = ("summary.html", "summary.md", "summary.csv", "perf_metric.csv", "run.json")
    base = run.relative_to(reports_dir)
    links = {n: _link(base / n, n) for n in names if (run / n).exists()}
    page = (
        _link(base / "summary.html", run.name) if "summary.html" in links else html_safe(run.name)
    )
    return [
        Cell(page, is_markup=True),
        Cell(run.parent.name),
        _state(run),
        Cell(" ".join(links.values()), is_markup=True),
    ]


def _state(run: Path) -> Cell:
    if (run / INCOMPLETE).exists():
        return Cell("incomplete", "bad")
    try:
        with (run / "summary.csv").open(encoding="utf-8", newline="") as file:
            valid = [row["valid"] == "True" for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, csv.Error):
        return Cell("unreadable", "bad")
    good = bool(valid) and all(valid)
    return Cell(f"{sum(valid)} of {len(valid)}", "good" if good else "bad")


def _link(path: Path, text: str) -> str:
    return f'<a href="{html_safe(quote(path.as_posix()), limit=2000)}">{html_safe(text)}</a>'
