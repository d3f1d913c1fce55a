"""A history's file checked by itself, without the code that wrote it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path


def verify(path: Path) -> int:
    """Check every checksum, the columns and the chain; return how many records there are."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        joined = "SELECT * FROM payloads LEFT JOIN records USING (id) ORDER BY id"
        rows = connection.execute(joined).fetchall()
        ever = connection.execute("SELECT seq FROM sqlite_sequence").fetchone()
    chain = "0" * 64
    for row in rows:
        payload = json.loads(zlib.decompress(row["record"]))
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        assert row["sha256"] == hashlib.sha256(text.encode()).hexdigest(), row["id"]
        chain = hashlib.sha256((chain + row["sha256"]).encode()).hexdigest()
        assert row["chain"] == chain, row["id"]
        columns = payload.keys() & set(row.keys())
        assert {name: row[name] for name in columns} == {n: payload[n] for n in columns}
    assert len(rows) == (0 if ever is None else ever[0])
    return len(rows)
