"""Whether records may be judged at all: consistent, complete, fresh, and the baseline's subject.

Every function returns reasons in words; an empty list is a clean bill. Nothing here judges speed or
WER: these are the ways in which a gate could be green without having measured anything.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from statistics import median

from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.record import CellRecord
from w2v_core.scoring.text import DEFAULT_RECIPE
from w2v_core.scoring.wer import score

__all__ = [
    "against_baseline",
    "changed_parameters",
    "freshness",
    "parse_utc",
    "record_reasons",
    "run_reasons",
    "steady_state",
]

_RELATIVE = 1e-6  # of figures that are computed from each other
_FUTURE = timedelta(minutes=10)  # clocks of two machines may differ that much
_COMPACT_UTC = re.compile(r"(\d{8})T?(\d{6})Z?")
_CELL_PARTS = 5  # model, dtype, dataset, graphs, forward

SIMULATED = "the device was simulated; a simulated run proves nothing about a card"

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


def record_reasons(record: CellRecord, *, recount: bool = True) -> list[str]:
    """Say what makes a record unfit to be judged.

    Args:
        record: The record.
        recount: Align the transcripts anew and compare the edits; about 0.1 s for 2,620 utterances.
    """
    reasons = []
    if not record.valid:
        reasons.append(f"the run was not valid: {'; '.join(record.invalid_reasons) or 'no reason'}")
    if record.is_simulated:
        reasons.append(SIMULATED)
    if record.failed:
        reasons.append(f"{len(record.failed)} utterances failed, first {record.failed[0]}")
    reasons += _identity_reasons(record)
    reasons += _timing_reasons(record)
    reasons += _score_reasons(record)
    if recount and not reasons:
        reasons += _recount_reasons(record)
    return reasons


def steady_state(record: CellRecord) -> list[str]:
    """Say what happened inside the timed region that must not: capture, compile, fall back."""
    counts = {
        "graph captures": record.captures_timed,
        "compilations": record.compilations_timed,
        "fallbacks to the host": record.cpu_fallbacks_timed,
    }
    return [f"{count} {what} inside the timed region" for what, count in counts.items() if count]


def run_reasons(records: Sequence[CellRecord]) -> list[str]:
    """Say what is wrong with records taken together: repeated, copied, or from two machines."""
    reasons = []
    repeated = [key for key, n in Counter((r.run_id, r.cell) for r in records).items() if n > 1]
    if repeated:
        run_id, cell = repeated[0]
        reasons.append(f"duplicate cell {cell} in run {run_id}: one record per cell and run")
    timings: dict[tuple[str, tuple[float, ...]], str] = {}
    for record in records:
        key = (record.cell, record.rounds_s)
        other = timings.setdefault(key, record.run_id)
        if other != record.run_id and record.rounds_s:
            reasons.append(
                f"runs {other} and {record.run_id} have the same rounds: a copied record"
            )
    for run_id in {r.run_id for r in records}:
        keys = {
            tuple(fingerprint_key(r.environment).items()) for r in records if r.run_id == run_id
        }
        if len(keys) > 1:
            reasons.append(f"run {run_id} holds records of {len(keys)} different machines")
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
    started = _start_of(record.run_id)
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
    if not _close(record.audio_s, known.audio_s):
        reasons.append(f"changed parameter audio_s: {record.audio_s}, expected {known.audio_s}")
    return reasons


def _parameters(record: CellRecord) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(record, name) for name in PARAMETERS}
    values["checkpoint"] = record.environment.get("checkpoint_sha256")
    values["references"] = _digest((s.utterance_id, s.reference) for s in record.scores)
    return values


def _digest(pairs: Iterable[tuple[str, str]]) -> str:
    text = "\n".join(f"{name}\t{reference}" for name, reference in sorted(pairs))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _identity_reasons(record: CellRecord) -> list[str]:
    parts = record.cell.split("-")
    if len(parts) != _CELL_PARTS:
        return [f"cell {record.cell!r} is not model-dtype-dataset-graphs-forward"]
    dtype = f"{record.dtype}_autocast" if record.autocast else record.dtype
    expected = {
        "dtype": (parts[1], dtype),
        "graphs": (parts[3], "graphs" if record.graphs else "nographs"),
        "forward": (parts[4], record.forward),
    }
    return [
        f"the cell's name says {name} {said}, the record {held}"
        for name, (said, held) in expected.items()
        if said != held
    ]


def _timing_reasons(record: CellRecord) -> list[str]:
    if not record.rounds_s:
        return ["zero rounds: nothing was timed"]
    figures: Mapping[str, float] = {
        "warm_up_s": record.warm_up_s,
        "rtfx": record.rtfx,
        "audio_s": record.audio_s,
        **{f"rounds_s[{i}]": value for i, value in enumerate(record.rounds_s)},
        **{f"latency_s {name}": value for name, value in record.latency_s.items()},
    }
    odd = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
    if odd:
        return [f"not a number: {', '.join(odd)}"]
    if min(record.rounds_s) <= 0 or min(record.latency_s.values(), default=0.0) < 0:
        return ["a round or latency of no or negative length: the clock went backwards"]
    if record.warm_up_s < 0:
        return [f"warm-up took {record.warm_up_s} s: the clock went backwards"]
    rtfx = record.audio_s / median(record.rounds_s)
    if record.rtfx <= 0 or not _close(record.rtfx, rtfx):
        return [f"rtfx is {record.rtfx}, but audio over the median round is {rtfx}"]
    return []


def _score_reasons(record: CellRecord) -> list[str]:
    reasons = []
    repeated = [i for i, n in Counter(s.utterance_id for s in record.scores).items() if n > 1]
    if repeated:
        reasons.append(f"duplicate utterance ids: {', '.join(repeated[:3])}")
    if record.wer is None:
        return reasons
    if not math.isfinite(record.wer):
        return [*reasons, f"not a number: wer is {record.wer}"]
    if len(record.scores) != record.num_utterances:
        reasons.append(f"{len(record.scores)} of {record.num_utterances} utterances are scored")
    counts = {
        name: (getattr(record, name), sum(getattr(s, name) for s in record.scores))
        for name in ("substitutions", "deletions", "insertions", "reference_words")
    }
    reasons += [
        f"{name} is {total}, but the utterances sum to {summed}"
        for name, (total, summed) in counts.items()
        if total != summed
    ]
    edits = record.substitutions + record.deletions + record.insertions
    if record.reference_words <= 0 or not _close(record.wer, edits / record.reference_words):
        reasons.append(f"wer is {record.wer}, but {edits} edits of {record.reference_words} words")
    return reasons


def _recount_reasons(record: CellRecord) -> list[str]:
    if record.text_normalisation != str(DEFAULT_RECIPE):
        return []
    edits = score(
        ((s.utterance_id, s.reference) for s in record.scores),
        ((s.utterance_id, s.hypothesis) for s in record.scores),
    )
    odd = [
        s.utterance_id
        for s, counted in zip(record.scores, edits, strict=True)
        if s.substitutions + s.deletions + s.insertions != counted.edits
    ]
    return (
        [f"edits of {odd[0]} and {len(odd) - 1} more do not fit their transcripts"] if odd else []
    )


def _start_of(run_id: str) -> datetime | None:
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


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=1e-12)
