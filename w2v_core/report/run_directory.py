"""``reports/<release>/<run>/``: written whole or marked incomplete, never half."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from w2v_core.bench.record import CellRecord, from_json, to_json
from w2v_core.errors import RecordError, ReportError
from w2v_core.report.markdown import render
from w2v_core.report.tables import summary

__all__ = ["INCOMPLETE", "read_run", "reserve", "write_run"]

INCOMPLETE = "INCOMPLETE"


def reserve(reports_dir: Path, *, release: str, run_id: str) -> Path:
    """Create the run's directory, marked incomplete, before anything is measured.

    A reports directory that cannot be written is found out here, not after an hour of measuring.

    Raises:
        ReportError: the directory cannot be created or written.
    """
    directory = reports_dir / _safe(release) / _safe(run_id)
    with _as_report_error(directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / INCOMPLETE).write_text("the run has not finished\n")
    return directory


def write_run(directory: Path, records: Sequence[CellRecord]) -> None:
    """Write ``run.json summary.csv summary.md hypotheses.jsonl``, then drop the mark.

    Raises:
        ReportError: a file cannot be written (read-only, full disk); the mark stays.
    """
    run = {"schema_version": 1, "records": [to_json(r) for r in records]}
    hypotheses = "".join(
        json.dumps(
            {
                "cell": r.cell,
                "utterance_id": s.utterance_id,
                "reference": s.reference,
                "hypothesis": s.hypothesis,
                "errors": s.substitutions + s.deletions + s.insertions,
            },
            ensure_ascii=False,
        )
        + "\n"
        for r in records
        for s in r.scores
    )
    with _as_report_error(directory):
        _write(directory / "run.json", json.dumps(run, indent=1) + "\n")
        _write(directory / "hypotheses.jsonl", hypotheses)
        _write(directory / "summary.csv", summary(records).to_csv(index=False))
        _write(directory / "summary.md", render(records))
        (directory / INCOMPLETE).unlink(missing_ok=True)


def read_run(path: Path) -> list[CellRecord]:
    """Read the records of a run directory, or of its ``run.json``.

    Raises:
        RecordError: the run is incomplete, unreadable, or a record does not fit its checksum.
    """
    file = path / "run.json" if path.is_dir() else path
    if (file.parent / INCOMPLETE).exists():
        raise RecordError(f"{file.parent} is marked incomplete: its run did not finish")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        records = data["records"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{file} cannot be read as a run: {error}") from error
    return [from_json(r, source=f"{file} record {i}") for i, r in enumerate(records)]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _as_report_error(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(
            f"reports directory {directory} cannot be written: {error.strerror or error}; "
            "give another with --reports-dir"
        ) from error


def _safe(name: str) -> str:
    """Keep a release or run name from leaving its directory."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip(".") or "_"
