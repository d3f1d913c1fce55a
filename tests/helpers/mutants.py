"""Ways past the gate: what a night could leave behind that looks good without being good."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.helpers.records import CELLS, ENVIRONMENT, START, make_record, make_run, make_scores
from w2v_core.records.record import SCHEMA_VERSION, CellRecord, checksum

Records = tuple[CellRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tonight:
    """The night that is bent: ``night`` days after START, its baseline 10 to 5 days before it."""

    night: int
    cells: tuple[str, ...] = CELLS

    def at(self, days: int) -> Records:
        """Make the run of another night, ``days`` later than this one."""
        return make_run(self.night + days, sd=0.001, cells=self.cells)

    @property
    def good(self) -> Records:
        """Tonight's run as it is when all is well."""
        return self.at(0)

    @property
    def starts(self) -> datetime:
        """When its run started."""
        return START + timedelta(days=self.night)

    @property
    def baseline(self) -> list[Records]:
        """The runs to be approved."""
        return [self.at(days) for days in range(-10, -4)]


def scaled(record: CellRecord, factor: float) -> CellRecord:
    """Scale all times of a record, consistent with itself."""
    return replace(
        record,
        rounds_s=tuple(r * factor for r in record.rounds_s),
        rtfx=record.rtfx / factor,
        utterances_per_s=record.utterances_per_s / factor,
    )


Bend = Callable[[Tonight], Records]


def one(change: Callable[[CellRecord, Tonight], CellRecord]) -> Bend:
    """Change the first record of the night."""
    return lambda t: (change(t.good[0], t), *t.good[1:])


def first(**fields: Any) -> Bend:
    """Replace fields of the first record."""
    return one(lambda r, _: replace(r, **fields))


def every(**fields: Any) -> Bend:
    """Replace fields of all records."""
    return lambda t: tuple(replace(r, **fields) for r in t.good)


def environment(**fields: Any) -> Bend:
    """Replace fields of all fingerprints."""
    return every(environment={**ENVIRONMENT, **fields})


def rescored(**fields: Any) -> Bend:
    """Replace fields of the first record's first score."""
    return one(lambda r, _: replace(r, scores=(replace(r.scores[0], **fields), *r.scores[1:])))


def another(t: Tonight, **options: Any) -> CellRecord:
    """Make the first cell's record anew, with other options."""
    return make_record(cell=t.cells[0], run=t.night, **options)


def run_id(moment: datetime) -> str:
    """Name a run that started at ``moment``."""
    return f"{moment:%Y%m%dT%H%M%SZ}-hpu-0123456789ab"


ALL_WRONG = make_scores(errors=[10] * 12)

RECORD_MUTANTS: dict[str, tuple[Bend, str]] = {
    # name: (what the night leaves behind, what the reason has to say)
    "vanished-cell": (lambda t: t.good[1:], "vanished"),
    "renamed-cell": (first(cell="base2-bfloat16-test_clean-graphs-exact"), "vanished"),
    "swapped-names": (
        one(lambda r, t: replace(r, cell=t.cells[1].replace("base", "other"))),
        "vanished",
    ),
    "name-of-another-dtype": (
        first(dtype="float32"),
        "the cell's name says dtype bfloat16, the record float32",
    ),
    "name-of-another-forward": (first(forward="stock"), "forward"),
    "zero-rounds": (first(rounds_s=(), rtfx=0.0), "zero rounds"),
    "fewer-rounds": (one(lambda _, t: another(t, rounds=2)), "changed parameter rounds"),
    "another-card": (environment(device_name="GAUDI3"), "another machine: card"),
    "another-driver": (environment(driver="1.25.0"), "another machine: driver"),
    "another-host-class": (environment(host_class="x86_64 8 cpus"), "another machine: host_class"),
    "changed-batch-plan": (first(batch_plan="optimal-8x32"), "changed parameter batch_plan"),
    "changed-limit": (first(limit=5), "changed parameter limit"),
    "changed-checkpoint": (
        environment(checkpoint_sha256="cd" * 32),
        "changed parameter checkpoint",
    ),
    "changed-normalisation": (
        first(text_normalisation="lenient/9"),
        "changed parameter text_normalisation",
    ),
    "smaller-set": (
        one(lambda _, t: another(t, scores=make_scores(utterances=8))),
        "changed parameter num_utterances",
    ),
    "other-references": (
        rescored(reference="OTHER WORDS ALTOGETHER HERE A B C D E F", substitutions=10),
        "changed parameter references",
    ),
    "changed-audio": (
        one(lambda r, _: replace(r, audio_s=r.audio_s * 2, rtfx=r.rtfx * 2)),
        "changed parameter audio_s",
    ),
    "wer-check-failed": (
        first(valid=False, invalid_reasons=("WER 9 % is above 3.5 %",)),
        "WER 9 % is above",
    ),
    "parity-lost": (
        first(valid=False, invalid_reasons=("3 transcripts differ",)),
        "3 transcripts differ",
    ),
    "simulated-device": (every(device_name="simulated"), "simulated"),
    "stale-run": (lambda t: t.at(-3), "stale"),
    "run-older-than-the-baseline": (lambda t: t.at(-13), "stale"),
    "a-run-of-the-baseline-itself": (lambda t: t.at(-5), "stale"),
    "created-in-the-future": (lambda t: t.at(2), "clock went backwards"),
    "created-before-its-start": (
        one(lambda r, t: replace(r, run_id=run_id(t.starts + timedelta(hours=1)))),
        "clock went backwards",
    ),
    "no-time-at-all": (first(created_utc="yesterday"), "no ISO 8601 time"),
    "round-of-negative-length": (
        one(lambda r, _: replace(r, rounds_s=(-0.01, *r.rounds_s[1:]))),
        "clock went backwards",
    ),
    "negative-warm-up": (first(warm_up_s=-1.0), "clock went backwards"),
    "throughput-not-a-number": (first(rtfx=math.nan), "not a number: rtfx is nan"),
    "throughput-made-up": (one(lambda r, _: replace(r, rtfx=r.rtfx * 2)), "rtfx is"),
    "wer-made-up": (first(wer=0.0), "wer is 0.0"),
    "counts-made-up": (first(substitutions=0, wer=0.0), "the utterances sum to"),
    "edits-made-up": (
        one(
            lambda r, _: replace(
                r,
                scores=tuple(replace(s, substitutions=0) for s in r.scores),
                substitutions=0,
                wer=0.0,
            )
        ),
        "do not fit their transcripts",
    ),
    "duplicate-utterance": (
        one(lambda r, _: replace(r, scores=(*r.scores[:-1], r.scores[0]))),
        "duplicate utterance ids",
    ),
    "lost-utterance": (
        one(lambda r, _: replace(r, scores=r.scores[:-1], reference_words=110, wer=3 / 110)),
        "11 of 12 utterances are scored",
    ),
    "failed-utterance": (first(failed=("utt-0003",)), "1 utterances failed"),
    "duplicate-cell": (lambda t: (*t.good, t.good[0]), "duplicate cell"),
    "record-copied-from-another-night": (
        lambda t: (
            *t.good,
            *(replace(r, run_id=run_id(t.starts - timedelta(minutes=10))) for r in t.good),
        ),
        "copied record",
    ),
    "one-run-with-records-of-two-machines": (
        first(environment={**ENVIRONMENT, "driver": "9.9"}),
        "different machines",
    ),
    "capture-in-the-timed-region": (first(captures_timed=1), "1 graph captures inside"),
    "compilation-in-the-timed-region": (first(compilations_timed=2), "2 compilations inside"),
    "fallback-in-the-timed-region": (first(cpu_fallbacks_timed=1), "1 fallbacks to the host"),
    "slower-by-a-tenth": (lambda t: tuple(scaled(r, 1.11) for r in t.good), "slower by more than"),
    "transcripts-all-wrong": (first(scores=ALL_WRONG, substitutions=120, wer=1.0), "the WER rose"),
    "faster-by-twenty-times": (one(lambda r, _: scaled(r, 0.05)), "was all computed"),
    "p99-a-hundredfold": (
        first(latency_s={"p50": 0.010, "p90": 0.015, "p99": 2.0}),
        "latency p99 2, 100 times as much",
    ),
    "p50-tenfold": (first(latency_s={"p50": 0.1, "p90": 0.1, "p99": 0.1}), "latency p50 0.1"),
    "warm-up-two-hundredfold": (first(warm_up_s=2500.0), "warm-up 2500, 200 times"),
    "memory-twentyfold": (first(peak_memory_bytes=40_000_000_000), "peak memory 4e+10, 20 times"),
    "graphs-never-captured": (first(graph_captures=0), "graph captures 0"),
    "more-graphs-captured": (first(graph_captures=9), "graph captures 9"),
    "one-round-stood-still": (
        one(lambda r, _: replace(r, rounds_s=(*sorted(r.rounds_s)[:-1], max(r.rounds_s) * 500))),
        "a round stood still",
    ),
    "padded-to-twice-the-size": (first(padding_efficiency=0.46), "padding efficiency 0.46"),
    "references-dropped": (
        first(wer=None, scores=(), substitutions=0, reference_words=0),
        "changed parameter references",
    ),
}


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file behind its writer's back."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def signed(field: str, value: object) -> Callable[[Path], None]:
    """Edit a field of a run's first record and write the checksum that fits."""

    def change(data: dict[str, Any]) -> None:
        row = data["records"][0]
        row["record"][field] = value
        row["sha256"] = checksum(row["record"])

    return lambda path: edit(path, change)


def truncate(path: Path) -> None:
    """Cut a file off."""
    path.write_text(path.read_text()[:-200])


def edited(field: str, value: object) -> Callable[[Path], None]:
    """Edit a field of a run's first record and leave its checksum."""
    return lambda path: edit(path, lambda d: d["records"][0]["record"].update({field: value}))


FILE_MUTANTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated-json": (truncate, "cannot be read as JSON"),
    "empty-file": (lambda p: p.write_text(""), "cannot be read as JSON"),
    "no-file": (lambda p: p.unlink(), "no such run"),
    "marked-incomplete": (lambda p: (p.parent / "INCOMPLETE").touch(), "incomplete"),
    "edited-throughput": (edited("rtfx", 9999.0), "checksum"),
    "edited-validity": (edited("valid", False), "checksum"),
    "nan-throughput": (edited("rtfx", math.nan), "NaN is no JSON number"),
    "infinite-round": (edited("rounds_s", [math.inf]), "no JSON number"),
    "unknown-schema": (edited("schema_version", SCHEMA_VERSION + 1), "schema_version is"),
    "field-taken-out": (lambda p: edit(p, lambda d: d["records"][0]["record"].pop("wer")), "check"),
    "checksum-taken-out": (lambda p: edit(p, lambda d: d["records"][0].pop("sha256")), "checksum"),
    "no-records": (lambda p: edit(p, lambda d: d.update(records=[])), "no record in it"),
    "a-list-instead": (lambda p: p.write_text("[]"), "a JSON list, expected an object"),
    "a-record-that-is-text": (lambda p: edit(p, lambda d: d.update(records=["x"])), "instead of"),
    "validity-as-text": (signed("valid", "false"), "valid is 'false': expected `bool`"),
    "validity-as-a-number": (signed("valid", 0), "valid is 0: expected `bool`"),
    "count-that-is-null": (signed("captures_timed", None), "captures_timed is None"),
    "throughput-as-text": (signed("rtfx", "1000"), "rtfx is '1000': expected `float`"),
    "round-as-text": (signed("rounds_s", ["1"]), "rounds_s[0] is '1'"),
    "throughput-of-400-digits": (signed("rtfx", int("9" * 400)), "number out of range"),
    "memory-of-400-digits": (signed("peak_memory_bytes", int("9" * 400)), "expected `int` <="),
    "fingerprint-of-400-digits": (signed("environment", {"x": int("9" * 400)}), "environment"),
    "binary": (lambda p: p.write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
}


def _raised_anchor(data: dict[str, Any]) -> None:
    data["baseline"]["cells"][CELLS[0]][0]["record"]["rtfx"] /= 2


BASELINE_MUTANTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing-baseline": (lambda p: p.unlink(), "missing baseline"),
    "truncated-baseline": (truncate, "cannot be read as JSON"),
    "edited-anchor": (lambda p: edit(p, _raised_anchor), "checksum"),
    "approval-taken-out": (
        lambda p: edit(p, lambda d: d["baseline"]["approvals"].clear()),
        "checksum",
    ),
    "baseline-of-another-schema": (
        lambda p: edit(p, lambda d: d["baseline"].update(schema_version=99)),
        "baseline schema",
    ),
}
