"""Baselines: what a cell's runs look like when all is well, and who said so.

A baseline is a distribution, at least five valid runs of every cell, and belongs to one fingerprint
key. Its file holds the runs, the transcripts of the newest one, and every approval ever made,
chained by checksums: an approval that is edited or taken out is found on reading.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from w2v_core.errors import ConfigError, RecordError
from w2v_core.jsonfile import convert, exists, is_directory, name_of, read_json, write_bytes
from w2v_core.printable import shown
from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.record import CellRecord, checksum, from_json, to_json
from w2v_core.records.store import as_report_error
from w2v_core.verdict.fitness import parse_utc

SCHEMA_VERSION = 1
GENESIS = "0" * 64  # what the first approval follows
_FEWEST = 2  # runs of a cell that a deviation can be taken from; approving asks for more


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
    notes: tuple[str, ...] = ()
    """What else was known: runs that were left out, and what is odd about the others."""

    @property
    def signature(self) -> str:
        """SHA-256 over the approval and the one before it."""
        return checksum(_approval_json(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Drift alarms that somebody answers for; kept for ever, in force until the next approval."""

    acknowledged_utc: str
    acknowledged_by: str
    reason: str
    losses: Mapping[str, float]
    """The loss, a fraction, that each series is held to from then on (see drift.py)."""
    signature: str
    """Of the approval that was in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A baseline as its file holds it."""

    key: Mapping[str, str]
    approvals: tuple[Approval, ...]
    cells: Mapping[str, tuple[Any, ...]]
    acknowledgements: tuple[Acknowledgement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The approved runs of one fingerprint key."""

    key: Mapping[str, str]
    cells: Mapping[str, tuple[CellRecord, ...]] = field(repr=False)
    """Runs by cell, oldest first; only the newest keeps its transcripts."""
    approvals: tuple[Approval, ...]
    """Oldest first; the last one is in force."""
    acknowledgements: tuple[Acknowledgement, ...] = ()
    """Oldest first."""

    @property
    def acknowledged(self) -> tuple[Acknowledgement, ...]:
        """Those of the approval in force."""
        return tuple(a for a in self.acknowledgements if a.signature == self.signature)

    @property
    def signature(self) -> str:
        """Signature of the approval in force; the drift anchor's as well."""
        return self.approvals[-1].signature

    @property
    def newest(self) -> CellRecord:
        """The newest of its records."""
        return max((runs[-1] for runs in self.cells.values()), key=lambda r: r.created_utc)

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
    return directory / f"{card[:40]}-{checksum(key)[:12]}.json"


def load_baseline(path: Path, environment: Mapping[str, Any] | None = None) -> Baseline:
    """Read a baseline file, or of a directory the one for ``environment``.

    Raises:
        RecordError: it is missing, truncated or edited, of another schema, or its approvals do not
            chain.
    """
    if is_directory(path):
        if environment is None:
            raise RecordError(f"{name_of(path)} is a directory; give the baseline file itself")
        path = baseline_file(path, environment)
    name = name_of(path)
    if not exists(path):
        nearest = _nearest(path.parent, environment) if environment is not None else ""
        raise RecordError(
            f"{name}: missing baseline{nearest}; make one with w2v baseline approve RUNS..."
        )
    data = read_json(path, error=RecordError)
    payload, digest = data.get("baseline"), data.get("sha256")
    if not isinstance(payload, dict) or not isinstance(digest, str):
        raise RecordError(f"{name}: cannot be read as a baseline: no baseline with a checksum")
    if payload.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(
            f"{name}: baseline schema {shown(payload.get('schema_version'))}; this version reads "
            f"{SCHEMA_VERSION}"
        )
    if checksum(payload) != digest:
        raise RecordError(f"{name}: checksum does not fit; the baseline was edited or cut off")
    return _parse(payload, source=name)


def _nearest(directory: Path, environment: Mapping[str, Any]) -> str:
    """Say what changed since the nearest of a directory's baselines; nothing where there is none.

    The nearest has the fewest fields of its key changed, the latest approval among equals.
    """
    ours, nearest = fingerprint_key(environment), []
    for file in sorted(directory.glob("*.json")):
        try:
            held = load_baseline(file)
        except RecordError:
            continue
        names = [n for n in ours if ours[n] != held.key.get(n)]
        approved = held.approvals[-1].approved_utc
        nearest.append(((-len(names), approved), file, names, held.key))
    if not nearest:
        return ""
    _, file, names, key = max(nearest, key=lambda n: n[0])
    if not names:
        return f" by this name; {file.name} beside it is for what this is"
    changes = (f"{n} {shown(key.get(n))} -> {shown(ours[n])}" for n in names)
    return f" for what this is; since the nearest one, {file.name}: {', '.join(changes)}"


def save_baseline(baseline: Baseline, path: Path) -> None:
    """Write the baseline whole or not at all; blocks until it is on disk.

    Raises:
        ConfigError: somebody else approved since this baseline was made from the file.
        ReportError: it cannot be written.
    """
    if exists(path):
        found = [a.signature for a in load_baseline(path).approvals]
        ours = [a.signature for a in baseline.approvals]
        if ours[: len(found)] != found:
            raise ConfigError(
                f"{name_of(path)} holds approvals that this baseline does not continue; approve "
                "again on top of it"
            )
    payload = _to_json(baseline)
    text = json.dumps({"baseline": payload, "sha256": checksum(payload)})
    with as_report_error(path.parent, remedy="give another baseline"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, f"{text}\n".encode())


def _parse(payload: Mapping[str, Any], *, source: str) -> Baseline:
    held = convert(payload, _Held, source=source, error=RecordError)
    previous = GENESIS
    for approval in held.approvals:
        if approval.previous != previous:
            raise RecordError(
                f"{source}: an approval is missing or edited before {shown(approval.approved_utc)}"
            )
        previous = approval.signature
    if not held.approvals or not held.cells:
        raise RecordError(f"{source}: the baseline holds no approval or no cell")
    cells = {}
    for cell, rows in held.cells.items():
        where = f"{source} cell {shown(cell)}"
        if len(rows) < _FEWEST:
            raise RecordError(f"{where} has {len(rows)} runs; at least {_FEWEST} make a baseline")
        records = [from_json(r, source=f"{where} run {i}") for i, r in enumerate(rows)]
        odd = [r.rtfx for r in records if not (math.isfinite(r.rtfx) and r.rtfx > 0)]
        if odd:
            raise RecordError(f"{where}: rtfx is {shown(odd[0])}, expected a positive number")
        cells[cell] = tuple(records)
    return Baseline(
        key=held.key,
        cells=cells,
        approvals=held.approvals,
        acknowledgements=held.acknowledgements,
    )


def _to_json(baseline: Baseline) -> dict[str, Any]:
    acknowledged = [asdict(a) for a in baseline.acknowledgements]
    return {
        **({"acknowledgements": acknowledged} if acknowledged else {}),
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
        **({"notes": list(approval.notes)} if approval.notes else {}),
    }


def utc_text(moment: datetime | None) -> str:
    """Return ISO 8601 with seconds, UTC; of now where no moment is given."""
    chosen = moment if moment is not None else datetime.now(timezone.utc)
    return chosen.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
