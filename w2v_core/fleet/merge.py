"""Shards of one set to the record of the whole set, exactly. No torch here.

Edit counts, reference words, failures and exclusions are integers and ids, which add up; the WER is
their quotient, as one process computes it. What cannot be added is said: throughput is that of all
shards side by side, a round being over when its slowest shard is, and latency percentiles are those
of each utterance's median over the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from w2v_core.bench.figures import percentiles
from w2v_core.fleet.shards import Sourced, fitting
from w2v_core.records.fields import describe
from w2v_core.records.record import BucketUse, CellRecord, Scalar
from w2v_core.records.store import StoredRun, new_run_id, reserve
from w2v_core.report.files import write_run
from w2v_core.verdict.run import judged

COUNTS = (
    *("num_utterances", "substitutions", "deletions", "insertions", "reference_words"),
    *("graph_captures", "captures_timed", "compilations_timed", "cpu_fallbacks_timed"),
)
SIDE_BY_SIDE = (
    "RTFx is of all shards side by side, audio over the slowest shard's round, whether or not they "
    "ran at the same time; latency percentiles are of each utterance's median"
)

T = TypeVar("T")


def merge_runs(runs: Sequence[StoredRun], *, command: str = "w2v merge") -> tuple[CellRecord, ...]:
    """Merge the shards of each cell; cells in the order in which the first run has them.

    Raises:
        RecordError: the records of a cell are not the shards of one set, each once: names the
            shards, the ids or the fields.
    """
    cells: dict[str, list[Sourced]] = {}
    for run in runs:
        for record in run.records:
            cells.setdefault(record.cell, []).append((run.source, record))
    return tuple(merge_shards(found, command=command) for found in cells.values())


def write_merged(records: Sequence[CellRecord], *, reports_dir: Path) -> Path:
    """Write a merged run as any other; returns its directory.

    Raises:
        ReportError: it cannot be written.
    """
    directory = reserve(reports_dir, release=records[0].release, run_id=records[0].run_id)
    write_run(directory, judged(records))
    return directory


def merge_shards(found: Sequence[Sourced], *, command: str) -> CellRecord:
    """Merge the shards of one cell; see ``merge_runs``."""
    records = fitting(found)
    first = min(records, key=lambda r: (r.created_utc, r.run_id))
    scores = tuple(sorted((s for r in records for s in r.scores), key=lambda s: s.utterance_id))
    failed = tuple(sorted(i for r in records for i in r.failed))
    counts = {name: sum(getattr(r, name) for r in records) for name in COUNTS}
    edits = counts["substitutions"] + counts["deletions"] + counts["insertions"]
    words = counts["reference_words"]
    reasons = _reasons(records)
    heard = frozenset(failed)
    audio_s = (
        sum(s.audio_s for s in scores if s.utterance_id not in heard)
        if len(scores) == counts["num_utterances"]
        else math.fsum(r.audio_s for r in records)
    )
    return replace(
        first,
        **counts,
        **_timing(records, audio_s=audio_s),
        **_golden(records),
        run_id=new_run_id(
            datetime.fromisoformat(first.created_utc.replace("Z", "+00:00")),
            device=f"{first.device}-merged",
            commit=_text(first.environment.get("commit")),
        ),
        batch_plan=_joined(r.batch_plan for r in records),
        audio_s=audio_s,
        wer=edits / words if words else None,
        buckets=_buckets(records),
        failed=failed,
        excluded={i: why for r in records for i, why in sorted(r.excluded.items())},
        notes=(*dict.fromkeys(n for r in records for n in r.notes), *_note(records)),
        valid=not reasons,
        invalid_reasons=reasons,
        environment=_environment(records),
        command=command,
        shard=None,
        merged=tuple(r.run_id for r in records) if len(records) > 1 else (),
        scores=scores,
    )


def _timing(records: Sequence[CellRecord], *, audio_s: float) -> dict[str, Any]:
    """Return what took how long where all shards run side by side."""
    timed = [r.rounds_s for r in records if r.rounds_s]
    rounds_s = tuple(max(shared) for shared in zip(*timed, strict=False))
    middle = median(rounds_s) if rounds_s else float("inf")
    transcribed = sum(r.num_utterances - len(r.failed) for r in records)
    padded = math.fsum(r.audio_s / r.padding_efficiency for r in records if r.padding_efficiency)
    return {
        "rounds_s": rounds_s,
        "rtfx": audio_s / middle,
        "utterances_per_s": transcribed / middle,
        "latency_s": _latency_s(records),
        "warm_up_s": max(r.warm_up_s for r in records),
        "warm_up_cold_s": None,
        "compile_s": _total([r.compile_s for r in records], sum),
        "stage_s": _added([r.stage_s for r in records]),
        "serial_stage_s": _total([r.serial_stage_s for r in records], _added),
        "padding_efficiency": math.fsum(r.audio_s for r in records) / padded if padded else 1.0,
        "peak_memory_bytes": max(r.peak_memory_bytes for r in records),
        "energy_j": _total([r.energy_j for r in records], math.fsum),
        "power": records[0].power if len(records) == 1 else None,
    }


def _latency_s(records: Sequence[CellRecord]) -> Mapping[str, float]:
    if len(records) == 1:
        return records[0].latency_s
    return percentiles([s.latency_s for r in records for s in r.scores if s.latency_s])


def _golden(records: Sequence[CellRecord]) -> dict[str, Any]:
    """Return the changed ids, the goldens' WER by their edits, and the largest distance."""
    words = sum(r.reference_words for r in records)
    wers = [r.golden_wer for r in records]
    edits = [round(w * r.reference_words) for w, r in zip(wers, records, strict=True) if w]
    return {
        "changed_vs_golden": _total(
            [r.changed_vs_golden for r in records],
            lambda ids: tuple(sorted(i for some in ids for i in some)),
        ),
        "golden_wer": _total(wers, lambda _: sum(edits) / words if words else None),
        "logit_distance": _total([r.logit_distance for r in records], max),
    }


def _buckets(records: Sequence[CellRecord]) -> tuple[BucketUse, ...] | None:
    uses: dict[tuple[int, int], BucketUse] = {}
    for use in (use for r in records for use in r.buckets or ()):
        shape = (use.num_frames, use.batch_size)
        known = uses.get(shape)
        uses[shape] = use if known is None else _both(known, use)
    everywhere = all(r.buckets is not None for r in records)
    return tuple(uses[shape] for shape in sorted(uses)) if everywhere else None


def _both(a: BucketUse, b: BucketUse) -> BucketUse:
    names = ("num_batches", "num_utterances", "real_frames", "padded_frames")
    return replace(a, **{name: getattr(a, name) + getattr(b, name) for name in names})


def _reasons(records: Sequence[CellRecord]) -> tuple[str, ...]:
    """Return why shards are invalid, behind the claim that each reason denies."""
    many = len(records) > 1
    found = [
        f"{reason} (shard {r.shard.number} of {r.shard.of})" if many and r.shard else reason
        for r in records
        for reason in r.invalid_reasons
    ]
    rounds = {len(r.rounds_s) for r in records if r.rounds_s}
    if len(rounds) > 1:
        told = " to ".join(map(str, (min(rounds), max(rounds))))
        found.append(f"steady state: shards have {told} timed rounds; run them with as many each")
    return tuple(found)


def _note(records: Sequence[CellRecord]) -> tuple[str, ...]:
    if len(records) == 1:
        return ()
    differs = sorted(
        name
        for name in {k for r in records for k in r.environment}
        if describe(name).role != "volatile"
        if len({r.environment.get(name) for r in records}) > 1
    )
    told = f"; of the fingerprint, {', '.join(differs)} differ" if differs else ""
    return (f"merged of {len(records)} shards: {SIDE_BY_SIDE}{told}",)


def _environment(records: Sequence[CellRecord]) -> dict[str, Scalar]:
    """Return the fingerprint; where shards differ, their values side by side."""
    names = dict.fromkeys(k for r in records for k in r.environment)
    values: dict[str, Scalar] = {}
    for name in names:
        found = list(dict.fromkeys(r.environment.get(name) for r in records))
        values[name] = found[0] if len(found) == 1 else _joined(map(str, found))
    return values


def _added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    totals: dict[str, list[float]] = {}
    for part in parts:
        for name, value in part.items():
            totals.setdefault(name, []).append(value)
    return {name: math.fsum(values) for name, values in totals.items()}


def _total(values: Sequence[T | None], add: Callable[[list[T]], Any]) -> Any:  # noqa: ANN401
    """Add up values that every shard has; None where one has none."""
    held = [v for v in values if v is not None]
    return add(held) if len(held) == len(values) else None


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _text(value: Scalar) -> str | None:
    return None if value is None else str(value)
