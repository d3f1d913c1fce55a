"""Runs from disk: a run directory, its ``run.json``, or pytest-benchmark's ``--benchmark-json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from w2v_core.errors import RecordError
from w2v_core.records.record import CellRecord, from_json

__all__ = ["RED_OUTCOMES", "Run", "Session", "parse_record", "read_run"]

RED_OUTCOMES = ("failed", "error", "xfailed", "xpassed")
"""Outcomes of a test that ran and was not good; a skipped cell left no record to be judged."""

_INCOMPLETE = "INCOMPLETE"  # the mark of report/run_directory.py on a run that has not finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the test session knows and a record cannot: what did not leave one."""

    xdist: bool = False
    """Whether tests ran in parallel workers, whose timings mean nothing."""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """``passed | failed | skipped | xfailed | deselected | error`` by cell."""
    exit_status: int | None = None
    """pytest's exit status without the gate; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The records of one process run, and what its session said about itself."""

    source: str
    """Where it was read from, for messages."""
    records: tuple[CellRecord, ...]
    session: Session | None = None


def read_run(path: Path) -> Run:
    """Read a run directory, its ``run.json``, or the JSON of ``--benchmark-json``.

    In a benchmark JSON, each ``extra_info["record"]`` holds a record as ``records/record.py``
    writes it.

    Raises:
        RecordError: the run is missing, incomplete, truncated, edited, or holds no record.
    """
    file = path / "run.json" if path.is_dir() else path
    if (file.parent / _INCOMPLETE).exists():
        raise RecordError(f"{file.parent} is marked incomplete: its run did not finish; run again")
    data = _read_json(file)
    if "benchmarks" in data:
        found = [b.get("extra_info", {}).get("record") for b in _rows(data, "benchmarks", file)]
        rows = [r for r in found if r is not None]
    else:
        rows = _rows(data, "records", file)
    if not rows:
        raise RecordError(f"{file}: no record in it; was the suite run with all cells skipped?")
    records = tuple(parse_record(r, source=f"{file} record {i}") for i, r in enumerate(rows))
    return Run(source=str(path), records=records, session=_session(data.get("session"), file))


def parse_record(data: Any, *, source: str) -> CellRecord:  # noqa: ANN401 (untrusted JSON)
    """Read one record back, whatever JSON holds in its place.

    Raises:
        RecordError: it is not a record, does not fit its checksum, or misses a field.
    """
    if not isinstance(data, Mapping):
        raise RecordError(f"{source}: {type(data).__name__} instead of a record with a checksum")
    try:
        return from_json(data, source=source)
    except (TypeError, KeyError) as error:
        raise RecordError(f"{source}: its fields do not fit the schema: {error}") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise RecordError(f"{file}: no such run; give a run directory or a JSON file") from error
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{file}: cannot be read as JSON ({error}); was it cut off? Run the suite again"
        ) from error
    if not isinstance(data, dict):
        raise RecordError(f"{file}: a JSON {type(data).__name__} is no run")
    return data


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number; a record holds finite ones only")


def _rows(data: Mapping[str, Any], name: str, file: Path) -> list[Any]:
    rows = data.get(name)
    if not isinstance(rows, list):
        raise RecordError(f"{file}: no list of {name}; is it a run.json or a benchmark JSON?")
    return rows


def _session(data: Any, file: Path) -> Session | None:  # noqa: ANN401 (untrusted JSON)
    if data is None:
        return None
    try:
        status = data.get("exit_status")
        return Session(
            xdist=bool(data.get("xdist", False)),
            outcomes={str(k): str(v) for k, v in data.get("outcomes", {}).items()},
            exit_status=int(status) if status is not None else None,
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise RecordError(f"{file}: its session is malformed: {data!r:.80}") from error
