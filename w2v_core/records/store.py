"""The run directory, ``reports/<release>/<run>/``: what writes its files also reads them.

``run.json`` holds the records and what the session said about itself, ``verdict.json`` what was
judged of them. A run is written whole or marked incomplete, never half.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from w2v_core.errors import RecordError, ReportError
from w2v_core.jsonfile import convert, exists, is_directory, name_of, read_json, write_bytes
from w2v_core.printable import shown
from w2v_core.records.record import CellRecord, from_json, to_json

RED_OUTCOMES = ("failed", "error", "xfailed", "xpassed")
"""Outcomes of a test that ran and was not good; a skipped cell left no record to be judged."""

INCOMPLETE = "INCOMPLETE"
"""The mark of a run that has not finished."""
RUN = "run.json"
VERDICT = "verdict.json"
FLEET, SOAK = "fleet.json", "soak.json"
"""What many cards measured and how they were judged; records or passes lie below ``cards/``."""
CONFIRM = "confirm"
"""The directory of a run's fresh runs: those of the same night that confirmed it."""
DIRECTORY_NOTE = "W2V_DIRECTORY_NOTE"
"""Variable that names a file: a run's directory is written there, for the process above."""

VERDICT_SCHEMA_VERSION = 1
_RUN_SCHEMA_VERSION = 1
_MAX_NAME_CHARS = 120  # file systems take 255 bytes
_MOST_SAME = 1000  # runs of one name


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the test session knows and a record cannot: what did not leave one."""

    xdist: bool = False
    """Whether tests ran in parallel workers, whose timings mean nothing."""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """``passed | failed | skipped | xfailed | deselected | error`` by cell."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Why a cell could not be measured, by cell."""
    exit_status: int | None = None
    """pytest's exit status without the gate; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """The records of one process run as a file holds them, and what its session said."""

    source: str
    """Where it was read from, for messages."""
    records: tuple[CellRecord, ...]
    session: Session | None = None


def new_run_id(started: datetime, *, device: str, commit: str | None) -> str:
    """Name a process run: UTC start, device, commit, and four digits that no other run has."""
    named = (commit or "nocommit").replace("+", "")
    return f"{started:%Y%m%dT%H%M%SZ}-{device}-{named}-{secrets.token_hex(2)}"


def reserve(reports_dir: Path, *, release: str, run_id: str) -> Path:
    """Create a directory that is this run's alone, marked incomplete, before anything is measured.

    A reports directory that cannot be written is found out here, not after an hour of measuring.
    A second run of the same name gets ``-2`` behind it.

    Raises:
        ReportError: the directory cannot be created or written.
    """
    parent, name = reports_dir / folder_name(release), folder_name(run_id)
    with as_report_error(parent / name):
        for number in range(1, _MOST_SAME):
            directory = parent / (name if number == 1 else f"{name}-{number}")
            try:
                directory.mkdir(parents=True)
            except FileExistsError:
                if not parent.is_dir():
                    raise
                continue
            (directory / INCOMPLETE).write_text("the run has not finished\n")
            return directory
    raise ReportError(f"{name_of(parent / name)}: {_MOST_SAME} runs have this name; clear some out")


def finish(directory: Path) -> bool:
    """Take the mark off a run that is whole; returns whether it was there.

    Raises:
        ReportError: it cannot be taken off.
    """
    with as_report_error(directory):
        try:
            (directory / INCOMPLETE).unlink()
        except FileNotFoundError:
            return False
    return True


def is_incomplete(directory: Path) -> bool:
    """Whether a run has not finished, or was killed."""
    return exists(directory / INCOMPLETE)


def write_run_json(
    directory: Path, records: Sequence[CellRecord], *, session: Session | None = None
) -> None:
    """Write ``run.json``.

    Raises:
        ReportError: it cannot be written.
    """
    run: dict[str, object] = {
        "schema_version": _RUN_SCHEMA_VERSION,
        "records": [to_json(r) for r in records],
    }
    if session is not None:
        run["session"] = asdict(session)
    write_text(directory / RUN, json.dumps(run, indent=1) + "\n")


def read_run(path: Path) -> StoredRun:
    """Read a run directory, its ``run.json``, or the JSON of ``--benchmark-json``.

    In a benchmark JSON, each ``extra_info["record"]`` holds a record as ``records/record.py``
    writes it.

    Raises:
        RecordError: the run is missing, incomplete, truncated, edited, or holds no record.
    """
    file = path / RUN if is_directory(path) else path
    name = name_of(file)
    if is_incomplete(file.parent):
        mark = f"{name_of(file.parent)} is marked incomplete: its run did not finish; run again"
        some = f", or remove {INCOMPLETE} there to take the cells that it measured"
        raise RecordError(mark + some * exists(file))
    if not exists(file):
        raise RecordError(f"{name}: no such run; give a run directory or a JSON file")
    data = read_json(file, error=RecordError)
    rows = _benchmarked(data, name) if "benchmarks" in data else _rows(data, "records", name)
    if not rows:
        raise RecordError(f"{name}: no record in it; was the suite run with all cells skipped?")
    told, where = data.get("session"), f"{name} session"
    return StoredRun(
        source=name_of(path),
        records=tuple(from_json(r, source=f"{name} record {i}") for i, r in enumerate(rows)),
        session=None if told is None else convert(told, Session, source=where, error=RecordError),
    )


def read_confirmations(directory: Path) -> tuple[CellRecord, ...]:
    """Read the records of a run's fresh runs, oldest first; of a file there are none.

    Raises:
        RecordError: one of them cannot be read.
    """
    files = sorted(directory.glob(f"{CONFIRM}/*/*/*/{RUN}")) if is_directory(directory) else []
    records = [r for file in files for r in read_run(file.parent).records]
    return tuple(sorted(records, key=lambda r: (r.created_utc, r.run_id)))


def write_verdict(directory: Path, verdict: Mapping[str, Any]) -> None:
    """Write ``verdict.json``: what ``w2v gate --json`` prints, and the version of its schema.

    Raises:
        ReportError: it cannot be written.
    """
    data = {"schema_version": VERDICT_SCHEMA_VERSION, **verdict}
    write_text(directory / VERDICT, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_verdict(directory: Path) -> dict[str, Any] | None:
    """Read ``verdict.json`` as JSON values (``verdict.outcome`` makes them a result).

    Returns:
        None where the run has none, as one written before there was such a file.

    Raises:
        RecordError: it cannot be read, or has another schema.
    """
    file = directory / VERDICT
    if not exists(file):
        return None
    data = read_json(file, error=RecordError)
    version = data.get("schema_version")
    if version != VERDICT_SCHEMA_VERSION:
        raise RecordError(
            f"{name_of(file)}: schema_version is {shown(version)}; this version reads "
            f"{VERDICT_SCHEMA_VERSION}"
        )
    return data


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; blocks until it is on disk.

    Raises:
        ReportError: it cannot be written (read-only, full disk); what stood there stays.
    """
    write_file_bytes(path, text.encode(errors="backslashreplace"))


def write_file_bytes(path: Path, data: bytes) -> None:
    """Write a file of bytes as write_text() does."""
    with as_report_error(path.parent):
        write_bytes(path, data)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file that is read, changed and written again; blocks while another process holds it.

    The lock is a file beside it, gone when nobody waits; a process that is killed lets go.

    Raises:
        ReportError: the directory cannot be written.
    """
    lock = path.with_name(f".{path.name[:_MAX_NAME_CHARS]}.lock")
    with as_report_error(path.parent, remedy="give another file"):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = _taken(lock)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()


def _taken(lock: Path) -> BinaryIO:
    """Open and lock a file that is still the one at its path when the lock is there."""
    while True:
        file = lock.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if exists(lock) and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
        except FileNotFoundError:  # taken away by its holder between the two looks
            pass
        except BaseException:
            file.close()
            raise
        file.close()


@contextmanager
def as_report_error(
    directory: Path, *, remedy: str = "{use:reports_dir DIR} to give another"
) -> Iterator[None]:
    """Turn what the system says about a directory into one line with a remedy."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ReportError):
            raise
        raise ReportError(
            f"reports directory {name_of(directory)} cannot be written: "
            f"{error.strerror or error}; {remedy}"
        ) from error


def _benchmarked(data: Mapping[str, Any], name: str) -> list[Any]:
    rows = []
    for i, row in enumerate(_rows(data, "benchmarks", name)):
        extra = row.get("extra_info", {}) if isinstance(row, dict) else None
        if not isinstance(extra, dict):
            raise RecordError(f"{name}: benchmarks[{i}] is {shown(row)}, not one with a record")
        if extra.get("record") is not None:
            rows.append(extra["record"])
    return rows


def _rows(data: Mapping[str, Any], field_name: str, name: str) -> list[Any]:
    rows = data.get(field_name)
    if not isinstance(rows, list):
        raise RecordError(f"{name}: no list of {field_name}; is it a run.json or a benchmark JSON?")
    return rows


def folder_name(name: str) -> str:
    """Keep a release or run name within its directory, and short enough to be one."""
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip(".") or "_"
    if len(safe) <= _MAX_NAME_CHARS:
        return safe
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8]
    return f"{safe[:_MAX_NAME_CHARS]}-{digest}"
