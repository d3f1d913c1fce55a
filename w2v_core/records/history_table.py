"""The tables of the history file: what stands in columns."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from w2v_core.errors import LFS_REMEDY, RecordError, is_lfs_pointer
from w2v_core.jsonfile import exists, name_of
from w2v_core.records.fingerprint import card_of
from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.record import CellRecord

APPLICATION_ID = 0x57325648  # "W2VH", in the file's header
SCHEMA_VERSION = 1
_COLUMN_TYPES = {
    "run_id": "TEXT NOT NULL",
    "created_utc": "TEXT NOT NULL",
    "release": "TEXT NOT NULL",
    "cell": "TEXT NOT NULL",
    "device": "TEXT NOT NULL",
    "device_name": "TEXT NOT NULL",
    "model": "TEXT NOT NULL",
    "dtype": "TEXT NOT NULL",
    "dataset": "TEXT NOT NULL",
    "graphs": "INTEGER NOT NULL",
    "forward": "TEXT NOT NULL",
    "valid": "INTEGER NOT NULL",
    "simulated": "INTEGER NOT NULL",
    "fingerprint": "TEXT NOT NULL",
    "rtfx": "REAL NOT NULL",
    "wer": "REAL",
    "utterances_per_s": "REAL NOT NULL",
    "latency_p50_s": "REAL NOT NULL",
    "latency_p90_s": "REAL NOT NULL",
    "latency_p99_s": "REAL NOT NULL",
    "padding_efficiency": "REAL NOT NULL",
    "peak_memory_bytes": "INTEGER NOT NULL",
}
COLUMNS = tuple(_COLUMN_TYPES)

_SCHEMA = f"""
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    {", ".join(f"{name} {kind}" for name, kind in _COLUMN_TYPES.items())},
    UNIQUE (run_id, cell)
);
CREATE INDEX records_by_cell ON records (cell, created_utc);
CREATE TABLE payloads (
    id INTEGER PRIMARY KEY REFERENCES records (id),
    record BLOB NOT NULL,
    sha256 TEXT NOT NULL,
    chain TEXT NOT NULL
);
"""

_TRIGGERS = "".join(
    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;\n"
    for table in ("records", "payloads")
    for verb in ("UPDATE", "DELETE")
)

STATEMENTS: tuple[str, ...] = (*_SCHEMA.split(";\n"), *_TRIGGERS.splitlines())
"""What creates an empty history, one statement each."""


class StoredEnvironment(msgspec.Struct):
    """What a run's packed record says of where and with what it was made."""

    run_id: str
    created_utc: str
    environment: dict[str, Any]

    @property
    def card(self) -> str:
        """Which card it ran on, as far as it can be told."""
        return card_of(self.environment)


class Night(NamedTuple):
    """One run of one cell, as drift sees it."""

    run_id: str
    created_utc: str
    rtfx: float
    card: str = ""
    """Which card it ran on, as far as it can be told."""

    @staticmethod
    def of(record: CellRecord) -> Night:
        """Take what drift needs from a record."""
        return Night(record.run_id, record.created_utc, record.rtfx, card_of(record.environment))


def column_values(record: CellRecord) -> tuple[Any, ...]:
    """Return what of a record stands in columns, in the order of COLUMNS."""
    values: dict[str, Any] = {
        name: getattr(record, name) for name in COLUMNS if hasattr(record, name)
    }
    values.update(
        graphs=int(record.graphs),
        valid=int(record.valid),
        simulated=int(record.is_simulated),
        fingerprint=key_text(fingerprint_key(record.environment)),
        latency_p50_s=record.latency_s.get("p50"),
        latency_p90_s=record.latency_s.get("p90"),
        latency_p99_s=record.latency_s.get("p99"),
    )
    return tuple(storable(values[name]) for name in COLUMNS)


def utf_8(text: str) -> bytes:
    r"""Encode text of which a file's name may be a part: a byte 0xff of it becomes ``\udcff``.

    That is how JSON writes it too.
    """
    return text.encode(errors="backslashreplace")


def storable(value: Any) -> Any:  # noqa: ANN401 - what a column holds
    """Return a value of a column as SQLite takes it."""
    return utf_8(value).decode() if isinstance(value, str) else value


def key_text(key: Mapping[str, str]) -> str:
    """Return a fingerprint key as the column ``fingerprint`` holds it."""
    return json.dumps(dict(key), sort_keys=True)


def refuse_irregular(path: Path) -> None:
    """Raise RecordError for a pipe or a device, which opening would wait for, or a pointer."""
    if not exists(path):
        return
    if not path.is_file():
        raise RecordError(f"history {name_of(path)}: not a regular file; give a file")
    with contextlib.suppress(OSError), path.open("rb") as file:  # SQLite tells what cannot be read
        if is_lfs_pointer(file.read(128)):
            raise RecordError(f"history {name_of(path)} {LFS_REMEDY}")


def copied(path: Path, folder: Path) -> str:
    """Copy a history with the log of its last commits; SQLite reads neither without writing."""
    try:
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if suffix == "" or exists(source):
                shutil.copyfile(source, folder / f"history{suffix}")
    except OSError as error:
        raise RecordError(
            f"history {name_of(path)}: cannot be read: {error.strerror or error}"
        ) from error
    return str(folder / "history")


def link(previous: str, digest: str) -> str:
    """Return the chain's next value."""
    return hashlib.sha256(f"{previous}{digest}".encode()).hexdigest()


def where(**conditions: str | None) -> tuple[str, list[str]]:
    """Return the WHERE clause of the conditions that are given, and its values."""
    chosen = {name: value for name, value in conditions.items() if value is not None}
    clause = " AND ".join(f"{name} = ?" for name in chosen)
    return (f" WHERE {clause}" if clause else ""), list(chosen.values())
