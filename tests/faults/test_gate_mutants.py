"""Every way past the gate that was thought of: each one turns it red and says why.

A mutant is a way in which a nightly run could look good without being good. All go through files,
as ``w2v gate RUN --baseline PATH`` reads them.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.records import (
    CELLS,
    ENVIRONMENT,
    START,
    make_record,
    make_run,
    make_scores,
    write_run,
)
from w2v_core.bench.record import SCHEMA_VERSION, to_json
from w2v_core.errors import ConfigError
from w2v_core.verdict.commands import approve_runs, gate_runs

NIGHT = 10
NOW = START + timedelta(days=NIGHT, hours=3)
GOOD = make_run(NIGHT, sd=0.001)


@pytest.fixture
def approved(tmp_path):
    """A baseline of six runs, as a file."""
    runs = [write_run(tmp_path / f"old-{i}", make_run(i, sd=0.001)) for i in range(6)]
    path = tmp_path / "baseline.json"
    approve_runs(runs, path, now=START + timedelta(days=6))
    return path


def gate(tmp_path, approved, records, **extra):
    return gate_runs([write_run(tmp_path / "tonight", records, **extra)], approved, now=NOW)


def first(**changes):
    """Tonight's records with fields of the first one changed."""
    return (replace(GOOD[0], **changes), *GOOD[1:])


def scaled(record, factor):
    """The record with all times scaled, consistent with itself."""
    return replace(
        record,
        rounds_s=tuple(r * factor for r in record.rounds_s),
        rtfx=record.rtfx / factor,
        utterances_per_s=record.utterances_per_s / factor,
    )


def environment(**changes):
    return tuple(replace(r, environment={**ENVIRONMENT, **changes}) for r in GOOD)


def rescored(**changes):
    scores = GOOD[0].scores
    return (replace(GOOD[0], scores=(replace(scores[0], **changes), *scores[1:])), *GOOD[1:])


MORE_ERRORS = make_scores(errors=[10] * 12)
EDITS = {
    "scores": MORE_ERRORS,
    "substitutions": 120,
    "wer": 1.0,
}

RECORD_MUTANTS = {
    # name: (tonight's records, what the reason has to say)
    "vanished-cell": (GOOD[1:], "vanished"),
    "renamed-cell": (
        first(cell="base2-bfloat16-test_clean-graphs-exact"),
        "vanished",
    ),
    "swapped-names": (first(cell=CELLS[1].replace("base", "other")), "vanished"),
    "name-of-another-dtype": (
        first(dtype="float32"),
        "the cell's name says dtype bfloat16, the record float32",
    ),
    "name-of-another-forward": (first(forward="stock"), "forward"),
    "zero-rounds": (first(rounds_s=(), rtfx=0.0), "zero rounds"),
    "fewer-rounds": ((make_record(run=NIGHT, rounds=2), *GOOD[1:]), "changed parameter rounds"),
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
        (make_record(run=NIGHT, scores=make_scores(utterances=8)), *GOOD[1:]),
        "changed parameter num_utterances",
    ),
    "other-references": (
        rescored(reference="OTHER WORDS ALTOGETHER HERE A B C D E F", substitutions=10),
        "changed parameter references",
    ),
    "changed-audio": (
        (
            scaled(replace(GOOD[0], audio_s=GOOD[0].audio_s * 2, rtfx=GOOD[0].rtfx * 2), 1.0),
            *GOOD[1:],
        ),
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
    "simulated-device": (
        tuple(replace(r, device_name="simulated") for r in GOOD),
        "simulated",
    ),
    "stale-run": (make_run(7, sd=0.001), "stale"),
    "run-older-than-the-baseline": (make_run(-3, sd=0.001), "stale"),
    "a-run-of-the-baseline-itself": (make_run(5, sd=0.001), "stale"),
    "created-in-the-future": (make_run(NIGHT + 2, sd=0.001), "clock went backwards"),
    "created-before-its-start": (
        first(created_utc="2026-01-11T01:00:00Z"),
        "clock went backwards",
    ),
    "no-time-at-all": (first(created_utc="yesterday"), "no ISO 8601 time"),
    "round-of-negative-length": (
        first(rounds_s=(-0.01, *GOOD[0].rounds_s[1:])),
        "clock went backwards",
    ),
    "negative-warm-up": (first(warm_up_s=-1.0), "clock went backwards"),
    "throughput-made-up": (first(rtfx=GOOD[0].rtfx * 2), "rtfx is"),
    "wer-made-up": (first(wer=0.0), "wer is 0.0"),
    "counts-made-up": (first(substitutions=0, wer=0.0), "the utterances sum to"),
    "edits-made-up": (
        (
            replace(
                GOOD[0],
                scores=tuple(replace(s, substitutions=0) for s in GOOD[0].scores),
                substitutions=0,
                wer=0.0,
            ),
            *GOOD[1:],
        ),
        "do not fit their transcripts",
    ),
    "duplicate-utterance": (
        (
            replace(GOOD[0], scores=(*GOOD[0].scores[:-1], GOOD[0].scores[0])),
            *GOOD[1:],
        ),
        "duplicate utterance ids",
    ),
    "lost-utterance": (
        (
            replace(GOOD[0], scores=GOOD[0].scores[:-1], reference_words=110, wer=3 / 110),
            *GOOD[1:],
        ),
        "11 of 12 utterances are scored",
    ),
    "failed-utterance": (first(failed=("utt-0003",)), "1 utterances failed"),
    "duplicate-cell": ((*GOOD, GOOD[0]), "duplicate cell"),
    "record-copied-from-another-night": (
        (
            *GOOD,
            *(replace(r, run_id="20260111T015000Z-hpu-0123456789ab") for r in GOOD),
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
    "slower-by-a-tenth": (tuple(scaled(r, 1.11) for r in GOOD), "slower by more than"),
    "transcripts-all-wrong": (first(**EDITS), "the WER rose"),
    "references-dropped": (
        first(wer=None, scores=(), substitutions=0, reference_words=0),
        "changed parameter references",
    ),
}


@pytest.mark.parametrize(
    ("records", "said"),
    [pytest.param(*mutant, id=name) for name, mutant in RECORD_MUTANTS.items()],
)
def test_a_bent_record_turns_the_gate_red(tmp_path, approved, records, said):
    """The gate fails, by exit code as well, and its reasons name the fault."""
    result = gate(tmp_path, approved, records)

    assert (result.verdict, result.exit_code) == ("FAIL", 1)
    assert said in "\n".join(result.reasons)


OUTCOMES = ["skipped", "xfailed", "xpassed", "deselected", "failed", "error"]


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("left", [GOOD, GOOD[1:]], ids=["with-a-record", "without-a-record"])
def test_a_cell_that_did_not_pass_turns_the_gate_red(tmp_path, approved, outcome, left):
    """What the session says about a baseline's cell counts, whether it left a record or not."""
    result = gate(tmp_path, approved, left, session={"outcomes": {CELLS[0]: outcome}})

    assert (result.verdict, result.exit_code) == ("FAIL", 1)
    assert outcome in "\n".join(result.cell(CELLS[0]).reasons)


@pytest.mark.parametrize(
    ("session", "said"),
    [
        pytest.param({"xdist": True}, "xdist", id="xdist-on"),
        pytest.param({"exit_status": 1}, "the suite was red", id="red-suite"),
        pytest.param({"outcomes": {"new-cell": "failed"}}, "new-cell failed", id="failed-new-cell"),
    ],
)
def test_a_bent_session_turns_the_gate_red(tmp_path, approved, session, said):
    """What happened to the whole run counts, whatever its records say."""
    result = gate(tmp_path, approved, GOOD, session=session)

    assert (result.verdict, result.exit_code) == ("FAIL", 1)
    assert said in "\n".join(result.reasons)


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def truncate(path):
    path.write_text(path.read_text()[:-200])


def edited(field, value):
    def change(data):
        data["records"][0]["record"][field] = value

    return lambda path: edit(path, change)


FILE_MUTANTS = {
    "truncated-json": (truncate, "cannot be read as JSON"),
    "empty-file": (lambda p: p.write_text(""), "cannot be read as JSON"),
    "no-file": (lambda p: p.unlink(), "no such run"),
    "marked-incomplete": (lambda p: (p.parent / "INCOMPLETE").touch(), "incomplete"),
    "edited-throughput": (edited("rtfx", 9999.0), "checksum"),
    "edited-validity": (edited("valid", False), "checksum"),
    "nan-throughput": (edited("rtfx", math.nan), "NaN is no JSON number"),
    "infinite-round": (edited("rounds_s", [math.inf]), "no JSON number"),
    "unknown-schema": (edited("schema_version", SCHEMA_VERSION + 1), "schema version"),
    "field-taken-out": (lambda p: edit(p, lambda d: d["records"][0]["record"].pop("wer")), "check"),
    "checksum-taken-out": (lambda p: edit(p, lambda d: d["records"][0].pop("sha256")), "checksum"),
    "no-records": (lambda p: edit(p, lambda d: d.update(records=[])), "no record in it"),
    "a-list-instead": (lambda p: p.write_text("[]"), "is no run"),
    "a-record-that-is-text": (lambda p: edit(p, lambda d: d.update(records=["x"])), "instead of"),
    "binary": (lambda p: p.write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
}


@pytest.mark.parametrize(
    ("change", "said"), [pytest.param(*mutant, id=name) for name, mutant in FILE_MUTANTS.items()]
)
def test_a_bent_file_turns_the_gate_red(tmp_path, approved, change, said):
    """A run that cannot be read is a FAIL with exit code 3, not an empty success."""
    run = write_run(tmp_path / "tonight", GOOD)
    change(run / "run.json")
    result = gate_runs([run], approved, now=NOW)

    assert (result.verdict, result.exit_code) == ("FAIL", 3)
    assert said in result.reasons[0]


def raised_anchor(data):
    cell = data["baseline"]["cells"][CELLS[0]]
    cell[0]["record"]["rtfx"] /= 2


BASELINE_MUTANTS = {
    "missing-baseline": (lambda p: p.unlink(), "missing baseline"),
    "truncated-baseline": (truncate, "cannot be read as a baseline"),
    "edited-anchor": (lambda p: edit(p, raised_anchor), "checksum"),
    "approval-taken-out": (
        lambda p: edit(p, lambda d: d["baseline"]["approvals"].clear()),
        "checksum",
    ),
    "baseline-of-another-schema": (
        lambda p: edit(p, lambda d: d["baseline"].update(schema_version=99)),
        "baseline schema",
    ),
}


@pytest.mark.parametrize(
    ("change", "said"),
    [pytest.param(*mutant, id=name) for name, mutant in BASELINE_MUTANTS.items()],
)
def test_a_bent_baseline_turns_the_gate_red(tmp_path, approved, change, said):
    """Without its baseline, as approved, nothing passes."""
    change(approved)
    result = gate(tmp_path, approved, GOOD)

    assert (result.verdict, result.exit_code) == ("FAIL", 3)
    assert said in result.reasons[0]


def test_a_cell_without_a_baseline_turns_the_gate_red(tmp_path, approved):
    """A new cell is not waved through: it needs an approval."""
    new = make_record(cell="large-float32-test_clean-graphs-exact", run=NIGHT)
    result = gate(tmp_path, approved, (*GOOD, new))

    assert (result.verdict, result.exit_code) == ("FAIL", 1)
    assert "missing baseline" in result.cell(new.cell).reasons[0]


def test_a_record_edited_with_a_new_checksum_is_found_by_its_contradictions(tmp_path, approved):
    """A forger who also writes the checksum still has to make all figures fit."""
    forged = to_json(replace(GOOD[0], wer=0.0))
    run = write_run(tmp_path / "tonight", GOOD[1:])
    edit(run / "run.json", lambda d: d["records"].append(forged))
    result = gate_runs([run], approved, now=NOW)

    assert result.exit_code == 1
    assert "wer is 0.0" in "\n".join(result.reasons)


APPROVAL_MUTANTS = {
    "four-runs": (lambda runs: runs[:4], "at least 5"),
    "one-run-five-times": (lambda runs: [runs[0]] * 5, "duplicate cell"),
    "invalid-run": (
        lambda runs: [
            (replace(runs[0][0], valid=False, invalid_reasons=("WER",)), *runs[0][1:]),
            *runs[1:],
        ],
        "not valid",
    ),
    "simulated-runs": (
        lambda runs: [tuple(replace(r, device_name="simulated") for r in run) for run in runs],
        "simulated",
    ),
    "incomplete-run": (lambda runs: [runs[0][1:], *runs[1:]], "incomplete"),
    "run-on-another-card": (
        lambda runs: [
            tuple(
                replace(r, environment={**ENVIRONMENT, "device_name": "GAUDI3"}) for r in runs[0]
            ),
            *runs[1:],
        ],
        "different machines",
    ),
    "run-with-other-parameters": (
        lambda runs: [(replace(runs[0][0], batch_plan="packed-1x1"), *runs[0][1:]), *runs[1:]],
        "changed parameter batch_plan",
    ),
    "run-that-compiled": (
        lambda runs: [(replace(runs[0][0], compilations_timed=1), *runs[0][1:]), *runs[1:]],
        "compilations inside",
    ),
    "wer-above-its-ceiling": (
        lambda runs: [tuple(replace(r, limit=None) for r in run) for run in runs],
        "above the ceiling",
    ),
}


@pytest.mark.parametrize(
    ("change", "said"),
    [pytest.param(*mutant, id=name) for name, mutant in APPROVAL_MUTANTS.items()],
)
def test_bent_runs_never_become_a_baseline(tmp_path, change, said):
    """Only complete, green, valid, non-simulated runs of one machine are approved."""
    scores = make_scores(errors=[1] * 12)
    runs = change([make_run(i, sd=0.001, scores=scores) for i in range(5)])
    written = [write_run(tmp_path / str(i), run) for i, run in enumerate(runs)]

    with pytest.raises(ConfigError, match=said):
        approve_runs(written, tmp_path / "baseline.json", reason="try")
    assert not (tmp_path / "baseline.json").exists()


def test_the_good_night_itself_is_not_red(tmp_path, approved):
    """The mutants are red for their fault: the night they are made from is not."""
    result = gate(tmp_path, approved, GOOD, session={"outcomes": dict.fromkeys(CELLS, "passed")})
    speeds = {f.verdict for c in result.cells for f in c.findings if f.kind == "throughput"}

    assert result.verdict != "FAIL"
    assert speeds == {"PASS"}
