"""reports/index.html: all runs, newest first, each with the headline of its own page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from w2v_core.records.store import INCOMPLETE
from w2v_core.report.page import Cell, document, missing, note, table
from w2v_core.report.text import html_safe

_HEADLINE = re.compile(r'<h1 class="(good|bad|doubt|plain)">([^<]*)</h1>')
_HEAD_CHARS = 20_000  # the headline stands behind the page's style


def render_index(reports_dir: Path) -> str:
    """Render the list of the runs in ``<release>/<run>/`` below a directory."""
    runs = sorted(_runs(reports_dir), key=lambda r: (r.name, r.parent.name), reverse=True)
    title = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    body = [f'<h1 class="plain">{title}</h1>']
    if runs:
        body.append(note("Newest first; a run's name is its UTC start, device and commit."))
        headers = ("run", "release", "verdict", "files")
        rows = [_row(run, reports_dir) for run in runs]
        body.append(table(headers, rows, label="Runs", kind="stack"))
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
        with (run / "summary.html").open(encoding="utf-8") as page:
            found = _HEADLINE.search(page.read(_HEAD_CHARS))
    except (OSError, UnicodeError):
        found = None
    if found is None:
        return Cell("unreadable", "bad")
    return Cell(html.unescape(found[2]), found[1])


def _link(path: Path, text: str) -> str:
    return f'<a href="{html_safe(quote(path.as_posix()), limit=2000)}">{html_safe(text)}</a>'
