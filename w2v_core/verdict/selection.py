"""Which runs were handed in: not one that was judged already, and none left out that was bad."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from w2v_core.errors import RecordError, ReportError
from w2v_core.jsonfile import exists, is_directory, read_json
from w2v_core.printable import shown
from w2v_core.records.fingerprint import difference
from w2v_core.records.record import CellRecord
from w2v_core.records.store import RUN, StoredRun, is_incomplete, read_run, read_verdict, write_text
from w2v_core.verdict.fitness import changed_parameters, start_of
from w2v_core.verdict.outcome import Finding, GateResult, failed

JUDGED = "judged.json"
"""Beside ``run.json``: when ``w2v gate`` judged the run, and how."""
_SAME_NIGHT = timedelta(hours=12)


def judged_before(path: Path, run: StoredRun) -> list[Finding]:
    """Say that a run was judged by an earlier ``w2v gate``: tonight's may never have been made.

    Raises:
        RecordError: the mark cannot be read.
    """
    mark = _mark(path)
    if not exists(mark):
        return []
    held = read_json(mark, error=RecordError)
    return [
        failed(
            "integrity",
            f"run {run_id} was judged before, at {shown(held[run_id].get('judged_utc'))}, as "
            f"{shown(held[run_id].get('verdict'))}: did tonight's run die? Runs of any age are "
            "judged again where that is asked for (w2v gate --any-age)",
        )
        for run_id in _ids(run)
        if isinstance(held.get(run_id), dict)
    ]


def mark_judged(path: Path, run: StoredRun, result: GateResult, *, now: datetime) -> str:
    """Remember that a run was judged; returns why it cannot be remembered, or nothing."""
    told = {"judged_utc": f"{now:%Y-%m-%dT%H:%M:%SZ}", "verdict": result.verdict}
    try:
        write_text(_mark(path), json.dumps(dict.fromkeys(_ids(run), told), indent=1) + "\n")
    except ReportError as error:
        return f"not remembered that it was judged: {error}"
    return ""


def left_out(paths: Sequence[Path], runs: Sequence[StoredRun]) -> list[Finding]:
    """Say which runs of the same night and the same thing were made and are not handed in.

    A run that passed may be left out; one that was red, or that nothing judged, may not.
    """
    given = {path.absolute() for path in paths}
    found = {}
    for path, run in zip(paths, runs, strict=True):
        for other in _of_that_night(path, run):
            if other.absolute() not in given and (status := _status(other, run)):
                found[other.name] = failed(
                    "integrity",
                    f"run {other.name} of the same night and software was left out, {status}; "
                    "hand in both",
                )
    return [found[name] for name in sorted(found)]


def _of_that_night(path: Path, run: StoredRun) -> Iterator[Path]:
    """Find the finished runs beside a run directory that started within hours of it."""
    started = start_of(run.records[0].run_id)
    if started is None or not is_directory(path):
        return
    for file in sorted(path.absolute().parent.glob(f"*/{RUN}")):
        other = start_of(file.parent.name)
        is_near = other is not None and abs(other - started) <= _SAME_NIGHT
        if is_near and not is_incomplete(file.parent):
            yield file.parent


def _status(other: Path, run: StoredRun) -> str:
    """Say how another run of the same thing was judged; nothing where it passed, or is another."""
    verdict: dict[str, Any] | None
    try:
        stored, verdict = read_run(other), read_verdict(other)
        if not _is_of_the_same(stored.records, run.records):
            return ""
        held = read_json(_mark(other), error=RecordError) if exists(_mark(other)) else {}
    except RecordError as error:
        return f"and cannot be read ({error})"
    against = verdict["verdict"] if verdict is not None and verdict.get("baseline") else None
    marks = [held[i].get("verdict") for i in _ids(stored) if isinstance(held.get(i), dict)]
    told = [str(v) for v in (against, *marks) if v is not None]
    if not told:
        return "and never judged"
    bad = [v for v in told if v != "PASS"]
    return f"which was {shown(bad[0])}" if bad else ""


def _is_of_the_same(theirs: Sequence[CellRecord], ours: Sequence[CellRecord]) -> bool:
    known = {r.cell: r for r in theirs}
    return any(
        r.cell in known
        and not changed_parameters(r, known[r.cell])
        and not difference(r.environment, known[r.cell].environment)
        for r in ours
    )


def _ids(run: StoredRun) -> list[str]:
    return sorted({r.run_id for r in run.records})


def _mark(path: Path) -> Path:
    return path / JUDGED if is_directory(path) else path.with_name(f"{path.name}.{JUDGED}")
