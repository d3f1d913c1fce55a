"""Baselines: what a cell's runs look like when all is well, and who said so.

A baseline is a distribution, at least five valid runs of every cell, and belongs to one fingerprint
key. Its file holds the runs, the transcripts of the newest one, and every approval ever made,
chained by checksums: an approval that is edited or taken out is found on reading.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from w2v_core.errors import ConfigError, RecordError
from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.record import CellRecord, from_json, to_json
from w2v_core.verdict.fitness import parse_utc

__all__ = [
    "GENESIS",
    "Approval",
    "Baseline",
    "baseline_file",
    "load_baseline",
    "save_baseline",
    "utc_text",
]

SCHEMA_VERSION = 1
GENESIS = "0" * 64  # what the first approval follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval; kept for ever."""

    approved_utc: str
    approved_by: str
    reason: str
    run_ids: tuple[str, ...]
    rtfx: Mapping[str, float]
    """Geometric mean by cell."""
    wer: Mapping[str, float | None]
    """Of the newest run, by cell; a fraction."""
    worse: tuple[str, ...]
    """What this approval made worse, in words; empty where nothing."""
    previous: str = GENESIS
    """Signature of the approval before."""

    @property
    def signature(self) -> str:
        """SHA-256 over the approval and the one before it."""
        return _digest(_approval_json(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The approved runs of one fingerprint key."""

    key: Mapping[str, str]
    cells: Mapping[str, tuple[CellRecord, ...]] = field(repr=False)
    """Runs by cell, oldest first; only the newest keeps its transcripts."""
    approvals: tuple[Approval, ...]
    """Oldest first; the last one is in force."""

    @property
    def signature(self) -> str:
        """Signature of the approval in force; the drift anchor's as well."""
        return self.approvals[-1].signature

    @property
    def newest_run(self) -> datetime | None:
        """When the newest of its runs was made."""
        times = [parse_utc(r.created_utc) for runs in self.cells.values() for r in runs]
        return max((t for t in times if t is not None), default=None)

    def log_rtfx(self, cell: str) -> tuple[float, ...]:
        """Return the natural logarithm of each run's RTFx, oldest first."""
        return tuple(float(np.log(r.rtfx)) for r in self.cells[cell])


def baseline_file(directory: Path, environment: Mapping[str, Any]) -> Path:
    """Return the file within ``directory`` that holds the baseline of this fingerprint."""
    key = fingerprint_key(environment)
    card = "".join(c if c.isalnum() else "-" for c in key["card"].lower()).strip("-")
    return directory / f"{card[:40]}-{_digest(key)[:12]}.json"


def load_baseline(path: Path, environment: Mapping[str, Any] | None = None) -> Baseline:
    """Read a baseline file, or of a directory the one for ``environment``.

    Raises:
        RecordError: it is missing, truncated or edited, of another schema, or its approvals do not
            chain.
    """
    if path.is_dir():
        if environment is None:
            raise RecordError(f"{path} is a directory; give the baseline file itself")
        path = baseline_file(path, environment)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        payload, checksum = data["baseline"], data["sha256"]
    except FileNotFoundError as error:
        raise RecordError(
            f"{path}: missing baseline; make one with w2v baseline approve RUNS... --reason TEXT"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: cannot be read as a baseline: {error}") from error
    if payload.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(
            f"{path}: baseline schema {payload.get('schema_version')!r}; this version reads "
            f"{SCHEMA_VERSION}"
        )
    if _digest(payload) != checksum:
        raise RecordError(f"{path}: checksum does not fit; the baseline was edited or cut off")
    return _parse(payload, source=str(path))


def save_baseline(baseline: Baseline, path: Path) -> None:
    """Write the baseline whole or not at all; blocks until it is on disk.

    Raises:
        ConfigError: somebody else approved since this baseline was made from the file.
    """
    if path.exists():
        found = [a.signature for a in load_baseline(path).approvals]
        ours = [a.signature for a in baseline.approvals]
        if ours[: len(found)] != found:
            raise ConfigError(
                f"{path} holds approvals that this baseline does not continue; approve again on "
                "top of it"
            )
    payload = _to_json(baseline)
    text = json.dumps({"baseline": payload, "sha256": _digest(payload)}, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _parse(payload: Mapping[str, Any], *, source: str) -> Baseline:
    try:
        cells = {
            cell: tuple(from_json(r, source=f"{source} {cell}") for r in rows)
            for cell, rows in payload["cells"].items()
        }
        approvals = tuple(_parse_approval(row) for row in payload["approvals"])
        key = {str(k): str(v) for k, v in payload["key"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{source}: fields of the baseline are missing: {error}") from error
    previous = GENESIS
    for approval in approvals:
        if approval.previous != previous:
            raise RecordError(
                f"{source}: an approval is missing or edited before {approval.approved_utc}"
            )
        previous = approval.signature
    if not approvals or not cells or not all(cells.values()):
        raise RecordError(f"{source}: the baseline holds no approval or a cell without runs")
    return Baseline(key=key, cells=cells, approvals=approvals)


def _parse_approval(row: Mapping[str, Any]) -> Approval:
    values = dict(row)
    values["run_ids"] = tuple(values["run_ids"])
    values["worse"] = tuple(values["worse"])
    return Approval(**values)


def _to_json(baseline: Baseline) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "key": dict(baseline.key),
        "approvals": [_approval_json(a) for a in baseline.approvals],
        "cells": {
            cell: [to_json(r) for r in (*(_light(r) for r in runs[:-1]), runs[-1])]
            for cell, runs in baseline.cells.items()
        },
    }


def _light(record: CellRecord) -> CellRecord:
    return replace(record, scores=())


def _approval_json(approval: Approval) -> dict[str, Any]:
    return {
        "approved_utc": approval.approved_utc,
        "approved_by": approval.approved_by,
        "reason": approval.reason,
        "run_ids": list(approval.run_ids),
        "rtfx": dict(approval.rtfx),
        "wer": dict(approval.wer),
        "worse": list(approval.worse),
        "previous": approval.previous,
    }


def _digest(value: Any) -> str:  # noqa: ANN401 (JSON)
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def utc_text(moment: datetime | None) -> str:
    """Return ISO 8601 with seconds, UTC; of now where no moment is given."""
    chosen = moment if moment is not None else datetime.now(timezone.utc)
    return chosen.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
