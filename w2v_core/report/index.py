"""reports/index.html: all runs, newest first, each with the verdict of its verdict.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from w2v_core._moved import names_of
from w2v_core.errors import RecordError
from w2v_core.records.store import FLEET, RUN, SOAK, is_incomplete, read_verdict
from w2v_core.report.page import render
from w2v_core.report.views.ranking import counted, is_quiet
from w2v_core.report.views.verdict import verdict_kind
from w2v_core.verdict.outcome import GateResult

MOST_RUNS = 2000
PAGE = "summary.html"
FILES = (PAGE, "summary.md", "summary.csv", "perf_metric.csv", RUN, FLEET, SOAK, "verdict.json")


class Entry(NamedTuple):
    """A run in the list."""

    name: str
    release: str
    verdict: str
    kind: str
    files: tuple[tuple[str, str], ...]
    """Name and link of each file that is there."""

    @property
    def page(self) -> str | None:
        """The link to the run's page; None where it has none."""
        return dict(self.files).get(PAGE)


def render_index(reports_dir: Path) -> str:
    """Render the list of the runs in ``<release>/<run>/`` below a directory."""
    runs = sorted(_runs(reports_dir), key=lambda r: (r.name, r.parent.name), reverse=True)
    return render(
        "index.html.j2",
        title=f"{len(runs)} run{'' if len(runs) == 1 else 's'}",
        runs=[_entry(run, reports_dir) for run in runs[:MOST_RUNS]],
        left=max(0, len(runs) - MOST_RUNS),
    )


def _runs(reports_dir: Path) -> Iterator[Path]:
    for run in reports_dir.glob("*/*"):
        if run.is_dir() and (
            any((run / n).exists() for n in (RUN, FLEET, SOAK)) or is_incomplete(run)
        ):
            yield run


def _entry(run: Path, reports_dir: Path) -> Entry:
    base = run.relative_to(reports_dir)
    links = ((name, quote((base / name).as_posix())) for name in FILES if (run / name).exists())
    return Entry(run.name, run.parent.name, *_verdict(run), tuple(links))


def _verdict(run: Path) -> tuple[str, str]:
    """Return the verdict in a few words, and its colour."""
    if is_incomplete(run):
        return "incomplete", "bad"
    try:
        data = read_verdict(run)
        verdict = None if data is None else GateResult.from_json(data, source=str(run))
    except RecordError:
        return "unreadable", "bad"
    if verdict is None:
        return "none was written; w2v report RUN", "plain"
    cells = f"{len(verdict.cells)} cell{'' if len(verdict.cells) == 1 else 's'}"
    told = f"sound, {cells}" if is_quiet(verdict) else f"{counted(verdict)}, {cells}"
    return told, verdict_kind(verdict)


if not TYPE_CHECKING:
    __getattr__ = names_of("report.index", ["records.store"])
