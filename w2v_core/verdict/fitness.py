"""Whether records may be judged at all: consistent, complete, fresh, and of the same subject.

The one idea of fitness behind the gate, pairs, releases and approvals: ``unfit_runs`` for records
taken together, ``unfit_record`` for each. Nothing here judges speed or WER: these are the ways in
which a verdict could be green without anything having been measured.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.packed import Scores
from w2v_core.records.record import CellRecord
from w2v_core.records.store import RED_OUTCOMES, Session
from w2v_core.verdict.outcome import Finding, failed
from w2v_core.verdict.soundness import close, for_the_last, record_reasons, steady_state

_FUTURE = timedelta(minutes=10)  # clocks of two machines may differ that much
_COMPACT_UTC = re.compile(r"(\d{8})T?(\d{6})Z?")

_TOLD_BY_CARDS = {"hpu": ("synapse", "driver", "firmware"), "cuda": ("driver", "cuda")}
"""What a key must hold for a kind of card, by the key's names."""

PARAMETERS = (
    "device",
    "device_name",
    "model",
    "dtype",
    "dataset",
    "graphs",
    "forward",
    "batch_plan",
    "autocast",
    "num_utterances",
    "limit",
    "num_shards",
    "text_normalisation",
)
"""Fields of a record that make it another measurement when they differ."""


def parse_utc(text: str) -> datetime | None:
    """Parse an ISO 8601 time as UTC; None where it is not one."""
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=timezone.utc)


def unfit_record(
    record: CellRecord, *, known: CellRecord | None = None, recount: bool = True
) -> list[Finding]:
    """Say why a record cannot be judged; empty where it can.

    Args:
        record: The record.
        known: A record of the same cell, of which it has to be another measurement.
        recount: As in record_reasons().
    """
    reasons = record_reasons(record, recount=recount)
    if known is not None:
        reasons += changed_parameters(record, known)
    return [
        *(failed("integrity", reason) for reason in reasons),
        *(failed("steady-state", reason) for reason in steady_state(record)),
    ]


def unfit_runs(
    records: Sequence[CellRecord], session: Session | None = None, *, known: Iterable[str] = ()
) -> list[Finding]:
    """Say why runs cannot be judged as a whole; empty where they can.

    Args:
        records: Of all runs.
        session: What their test sessions know: xdist, cells that were red and left no record.
        known: Cells that are judged by name, so that their outcome is told there.
    """
    reasons = run_reasons(records)
    if session is not None:
        told = {r.cell for r in records} | set(known)
        red = [c for c, o in sorted(session.outcomes.items()) if o in RED_OUTCOMES]
        reasons = [
            *session_reasons(session),
            *(_left_no_record(c, session) for c in red if c not in told),
            *reasons,
        ]
    return [failed("integrity", reason) for reason in reasons]


def _left_no_record(cell: str, session: Session) -> str:
    why = f": {session.errors[cell]}" if cell in session.errors else ""
    return f"{cell} {session.outcomes[cell]} and left no record{why}"


def unknown_on_both(environment: Mapping[str, Any], key: Mapping[str, str]) -> list[Finding]:
    """Say what of a card's software could be read on neither side: two unknowns are not equal."""
    needed = _TOLD_BY_CARDS.get(str(environment.get("device")), ())
    ours = fingerprint_key(environment)
    unread = [n for n in needed if ours.get(n) == key.get(n) == "unknown"]
    reason = (
        f"{' and '.join(unread)} could be read neither tonight nor for the baseline, so nothing "
        "says that they are the same; w2v doctor says how to let them be read"
    )
    return [Finding(kind="integrity", verdict="INCONCLUSIVE", reason=reason)] if unread else []


def by_cell(records: Iterable[CellRecord]) -> dict[str, list[CellRecord]]:
    """Return records by cell, each cell's oldest first."""
    cells: dict[str, list[CellRecord]] = {}
    for record in sorted(records, key=lambda r: (r.created_utc, r.run_id)):
        cells.setdefault(record.cell, []).append(record)
    return cells


def session_reasons(session: Session) -> list[str]:
    """Say what a test session did to all of its timings."""
    reasons = []
    if session.xdist:
        reasons.append("xdist was on: parallel timings mean nothing; run without -n")
    if session.exit_status:
        reasons.append(f"the suite was red: pytest exit status {session.exit_status}")
    return reasons


def run_reasons(records: Sequence[CellRecord]) -> list[str]:
    """Say what is wrong with records taken together: repeated, copied, or from two machines."""
    reasons = []
    repeated = [key for key, n in Counter((r.run_id, r.cell) for r in records).items() if n > 1]
    if repeated:
        run_id, cell = repeated[0]
        reasons.append(f"duplicate cell {cell} in run {run_id}: one record per cell and run")
    timings: dict[tuple[str, tuple[float, ...]], str] = {}
    for record in records:
        rounds = (record.cell, record.rounds_s)
        other = timings.setdefault(rounds, record.run_id)
        if other != record.run_id and record.rounds_s:
            reasons.append(
                f"runs {other} and {record.run_id} have the same rounds: a copied record"
            )
    machines: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for record in records:
        key = tuple(fingerprint_key(record.environment).items())
        machines.setdefault(record.run_id, set()).add(key)
    reasons += [
        f"run {run_id} holds records of {len(keys)} different machines"
        for run_id, keys in machines.items()
        if len(keys) > 1
    ]
    return reasons


def freshness(
    record: CellRecord,
    *,
    now: datetime,
    max_age: timedelta | None,
    newest_baseline: datetime | None,
) -> list[str]:
    """Say whether a record is stale, or its clock wrong."""
    created = parse_utc(record.created_utc)
    if created is None:
        return [f"created_utc {record.created_utc!r} is no ISO 8601 time"]
    started = start_of(record.run_id)
    if created > now + _FUTURE:
        return [f"created {record.created_utc}, which is in the future: the clock went backwards"]
    if started is not None and created < started:
        return [f"created {record.created_utc}, before its run started: the clock went backwards"]
    if newest_baseline is not None and created < newest_baseline:
        return [f"stale: created {record.created_utc}, before the baseline's newest run"]
    if max_age is not None and now - created > max_age:
        age = (now - created).total_seconds() / 3600
        limit = max_age.total_seconds() / 3600
        return [f"stale: {age:.0f} h old, the limit is {limit:.0f} h; run the suite again"]
    return []


def against_baseline(record: CellRecord, baseline: Sequence[CellRecord]) -> list[str]:
    """Say in what a record measured something else than the baseline's runs of the cell."""
    known = baseline[-1]
    reasons = [
        f"another machine: {name} is {ours}, the baseline's is {theirs}"
        for (name, ours), theirs in zip(
            fingerprint_key(record.environment).items(),
            fingerprint_key(known.environment).values(),
            strict=True,
        )
        if ours != theirs
    ]
    reasons += changed_parameters(record, known)
    fewest = min(len(r.rounds_s) for r in baseline)
    if len(record.rounds_s) < fewest:
        reasons.append(f"changed parameter rounds: {len(record.rounds_s)}, expected {fewest}")
    if any(record.run_id == r.run_id for r in baseline):
        reasons.append(f"stale: run {record.run_id} is one of the baseline's own runs")
    return reasons


def changed_parameters(record: CellRecord, known: CellRecord) -> list[str]:
    """Say in what two records of a cell measured different things, software aside."""
    values = _parameters(record)
    reasons = [
        f"changed parameter {name}: {values[name]}, expected {expected}"
        for name, expected in _parameters(known).items()
        if values[name] != expected
    ]
    if not close(record.audio_s, known.audio_s):
        reasons.append(f"changed parameter audio_s: {record.audio_s}, expected {known.audio_s}")
    return reasons


def _parameters(record: CellRecord) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(record, name) for name in PARAMETERS}
    values["checkpoint"] = record.environment.get("checkpoint_sha256")
    values["references"] = _references(record.scores)
    return values


@for_the_last
def _references(scores: Scores) -> str:
    pairs = sorted((s.utterance_id, s.reference) for s in scores)
    text = "\n".join(f"{name}\t{reference}" for name, reference in pairs)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def start_of(run_id: str) -> datetime | None:
    """Read the UTC start that a run id begins with, to the second."""
    compact = _COMPACT_UTC.match(re.sub(r"[-:]", "", run_id[:20]))
    if compact is None:
        return None
    try:
        return datetime.strptime("".join(compact.groups()), "%Y%m%d%H%M%S").replace(
            tzinfo=timezone.utc
        )
    except ValueError:
        return None
