"""The history of all runs: one append-only SQLite file.

SQLite, because its file format is documented and kept stable, it comes with Python, a writer that
is killed leaves either its whole record or nothing, and concurrent writers wait for each other.
What a table needs to be queried stands in columns; the record itself lies beside them, compressed,
with its own checksum. Triggers refuse UPDATE and DELETE. Rows are chained: each carries a SHA-256
over its record's and the row before, so that whoever goes behind SQLite's back can be found out
(``tests/helpers/history.py`` does).

Write-ahead logging needs a file system with shared memory and locks: a local disk, not NFS.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v_core.errors import RecordError
from w2v_core.jsonfile import convert, exists, name_of
from w2v_core.printable import printable, shorten, shown
from w2v_core.records.history_table import (
    APPLICATION_ID,
    COLUMNS,
    SCHEMA_VERSION,
    STATEMENTS,
    Night,
    StoredEnvironment,
    column_values,
    copied,
    key_text,
    link,
    refuse_irregular,
    storable,
    where,
)
from w2v_core.records.packed import Known, environment_in, pack, unpack
from w2v_core.records.record import CellRecord
from w2v_core.records.store import as_report_error

if TYPE_CHECKING:
    import pandas as pd

_GENESIS = "0" * 64
_MAX_NAME_BYTES = 255
_BUSY_S = 60.0  # a writer holds the lock for one record's insertion


class History:
    """An open history file; each call is a transaction of its own. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with as_report_error(path.parent, remedy="give another history"):
            path.parent.mkdir(parents=True, exist_ok=True)
        refuse_irregular(path)
        self._open(str(path))
        try:
            with self._errors():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator[History]:
        """Open a history that is only read, also in a folder that cannot be written.

        Raises:
            RecordError: there is none, or it cannot be read.
        """
        if not exists(path):
            raise RecordError(f"{name_of(path)}: no such history")
        refuse_irregular(path)
        history = cls.__new__(cls)
        history._path = path
        with tempfile.TemporaryDirectory(prefix="w2v-history-") as folder:
            history._open(copied(path, Path(folder)))
            with history, history._errors():
                history._check_schema()
                yield history

    @staticmethod
    def check_writable(path: Path) -> None:
        """Find out that a history cannot be appended to before an hour of measuring; leaves none.

        Raises:
            RecordError: it is no history, or is locked or read-only.
            ReportError: its folder cannot be written.
        """
        if exists(path):
            with History(path) as history, history._transaction():
                # One that may only be read takes BEGIN IMMEDIATE, and refuses the first write.
                history._connection.execute("DELETE FROM records WHERE 0")
                return
        with as_report_error(path.parent, remedy="give another history"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                pass
            if len(os.fsencode(path.name)) + len("-journal") > _MAX_NAME_BYTES:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))

    def __enter__(self) -> History:  # noqa: PYI034 (typing.Self is new in 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _name(self) -> str:
        return name_of(self._path)

    def _open(self, name: str) -> None:
        with self._errors():
            place = Path(name).absolute()  # ":memory:" is a file's name, not memory
            self._connection = sqlite3.connect(place, timeout=_BUSY_S, isolation_level=None)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def append(self, records: Sequence[CellRecord]) -> int:
        """Append records in one transaction; blocks while another writer holds the file.

        Returns:
            The number appended. A record that the history already holds, byte for byte, counts as
            appended before.

        Raises:
            RecordError: another record of the same run and cell is in the history.
        """
        rows = [(column_values(r), *pack(r)) for r in records]
        with self._transaction():
            return sum(self._insert(columns, body, digest) for columns, body, digest in rows)

    def query(
        self,
        *,
        cell: str | None = None,
        release: str | None = None,
        device: str | None = None,
        fingerprint: str | None = None,
        last: int | None = None,
    ) -> pd.DataFrame:
        """Return one row a record as a table, oldest first; transcripts and rounds stay behind.

        Args:
            cell: Only this cell.
            release: Only this release.
            device: Only this kind of device.
            fingerprint: Only this key, as the column ``fingerprint`` shows it.
            last: At most this many, the newest.
        """
        import pandas as pd

        clause, values = where(cell=cell, release=release, device=device, fingerprint=fingerprint)
        text = f"SELECT id, {', '.join(COLUMNS)} FROM records{clause} ORDER BY created_utc, id"
        rows = self._rows(text, values)
        table: pd.DataFrame = pd.DataFrame(
            rows if last is None else rows[-last:], columns=["id", *COLUMNS]
        )
        for name in ("graphs", "valid", "simulated"):
            table[name] = table[name].astype(bool)
        table["created_utc"] = pd.to_datetime(table["created_utc"], utc=True, format="ISO8601")
        return table

    def nights(self, fingerprint: Mapping[str, str]) -> dict[str, list[Night]]:
        """Return the valid runs on a card by cell, oldest first, for drift."""
        key = key_text(fingerprint)
        kept = "valid = 1 AND simulated = 0 AND fingerprint = ? ORDER BY created_utc, id"
        found = self._rows(
            f"SELECT cell, run_id, created_utc, rtfx FROM records WHERE {kept}", [key]
        )
        cards = {e.run_id: e.card for e in self.environments(fingerprint=key)}
        nights: dict[str, list[Night]] = {}
        for cell, *night in found:
            row = [*night, cards.get(night[0], "")]
            read = convert(row, Night, source=self._name, error=RecordError)
            nights.setdefault(str(cell), []).append(read)
        return nights

    def environments(self, *, fingerprint: str | None = None) -> list[StoredEnvironment]:
        """Return what the first record of each run says of where and with what it was made."""
        clause, values = where(fingerprint=fingerprint)
        firsts = f"SELECT min(id) FROM records{clause} GROUP BY run_id"
        rows = self._rows(f"SELECT record FROM payloads WHERE id IN ({firsts})", values)
        return [environment_in(row[0], self._name) for row in rows]

    def records(
        self,
        *,
        cell: str | None = None,
        release: str | None = None,
        run_id: str | None = None,
        fingerprint: str | None = None,
    ) -> list[CellRecord]:
        """Return whole records, transcripts included, oldest first.

        Raises:
            RecordError: a record does not fit its checksum.
        """
        clause, values = where(cell=cell, release=release, run_id=run_id, fingerprint=fingerprint)
        text = (
            f"SELECT record, sha256 FROM payloads JOIN records USING (id){clause} "
            "ORDER BY created_utc, id"
        )
        known: Known = {}
        rows = self._rows(text, values)
        return [unpack(body, digest, source=self._name, known=known) for body, digest in rows]

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; a power cut may take the last commits, whole ones. FULL
        # would keep those too, at four times the cost of an append.
        connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise RecordError(f"{self._name} is an SQLite file, but no history of runs")
                for statement in STATEMENTS:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._check_schema()

    def _check_schema(self) -> None:
        connection = self._connection
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if (version, application) != (SCHEMA_VERSION, APPLICATION_ID):
            raise RecordError(
                f"{self._name}: schema {version} of application {application:#x}; this "
                f"version reads schema {SCHEMA_VERSION} of {APPLICATION_ID:#x}: is it a history?"
            )

    def _insert(self, columns: tuple[Any, ...], body: bytes, digest: str) -> int:
        found = self._connection.execute(
            "SELECT sha256 FROM payloads JOIN records USING (id) WHERE run_id = ? AND cell = ?",
            (columns[COLUMNS.index("run_id")], columns[COLUMNS.index("cell")]),
        ).fetchone()
        if found is not None:
            if found[0] == digest:
                return 0
            raise RecordError(
                f"{self._name} holds another record of run {shown(columns[0])}, cell "
                f"{shown(columns[3])}; "
                "history is append-only"
            )
        marks = ", ".join("?" * len(COLUMNS))
        number = self._connection.execute(
            f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({marks})", columns
        ).lastrowid
        last = self._connection.execute(
            "SELECT chain FROM payloads ORDER BY id DESC LIMIT 1"
        ).fetchone()
        linked = link(last[0] if last is not None else _GENESIS, digest)
        self._connection.execute(
            "INSERT INTO payloads VALUES (?, ?, ?, ?)", (number, body, digest, linked)
        )
        return 1

    def _rows(self, text: str, values: Sequence[str]) -> list[Any]:
        with self._errors():
            return self._connection.execute(text, [*map(storable, values)]).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            told = shorten(printable(str(error)), 200)
            raise RecordError(f"history {self._name}: {told}") from error
