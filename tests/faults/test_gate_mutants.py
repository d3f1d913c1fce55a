"""Every way past the gate that was thought of: each one turns it red and says why.

A mutant is a way in which a nightly run could look good without being good. All go through files,
as ``w2v gate RUN --baseline PATH`` reads them.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.mutants import (
    BASELINE_MUTANTS,
    FILE_MUTANTS,
    RECORD_MUTANTS,
    Tonight,
    edit,
)
from tests.helpers.records import (
    CELLS,
    ENVIRONMENT,
    START,
    make_record,
    make_run,
    make_scores,
    write_run,
)
from w2v_core.errors import ConfigError
from w2v_core.records.record import to_json
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.commands import gate_runs

TONIGHT = Tonight(night=10)
GOOD = TONIGHT.good
NOW = TONIGHT.starts + timedelta(hours=3)


@pytest.fixture(scope="module")
def approved_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("approved")
    runs = [write_run(folder / f"old-{i}", run) for i, run in enumerate(TONIGHT.baseline)]
    path = folder / "baseline.json"
    approve_runs(runs, path, now=START + timedelta(days=6))
    return path


@pytest.fixture
def approved(approved_once, tmp_path):
    """A baseline of six runs, as a file of the test's own."""
    return shutil.copy(approved_once, tmp_path / "baseline.json")


def gate(tmp_path, approved, records, **extra):
    return gate_runs([write_run(tmp_path / "tonight", records, **extra)], approved, now=NOW)


def cases(mutants):
    return [pytest.param(*mutant, id=name) for name, mutant in mutants.items()]


WRITABLE = {n: m for n, m in RECORD_MUTANTS.items() if n != "throughput-not-a-number"}
"""JSON knows no NaN, so a record's writer refuses it; FILE_MUTANTS puts one in all the same."""


@pytest.mark.parametrize(("bend", "said"), cases(WRITABLE))
def test_a_bent_record_turns_the_gate_red(tmp_path, approved, bend, said):
    """The gate fails, by exit code as well, and its reasons name the fault."""
    result = gate(tmp_path, approved, bend(TONIGHT))

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


@pytest.mark.parametrize(("change", "said"), cases(FILE_MUTANTS))
def test_a_bent_file_turns_the_gate_red(tmp_path, approved, change, said):
    """A run that cannot be read is a FAIL with exit code 3, not an empty success."""
    run = write_run(tmp_path / "tonight", GOOD)
    change(run / "run.json")
    result = gate_runs([run], approved, now=NOW)

    assert (result.verdict, result.exit_code) == ("FAIL", 3)
    assert said in result.reasons[0]


@pytest.mark.parametrize(("change", "said"), cases(BASELINE_MUTANTS))
def test_a_bent_baseline_turns_the_gate_red(tmp_path, approved, change, said):
    """Without its baseline, as approved, nothing passes."""
    change(approved)
    result = gate(tmp_path, approved, GOOD)

    assert (result.verdict, result.exit_code) == ("FAIL", 3)
    assert said in result.reasons[0]


def test_a_cell_without_a_baseline_turns_the_gate_red(tmp_path, approved):
    """A new cell is not waved through: it needs an approval."""
    new = make_record(cell="large-float32-test_clean-graphs-exact", run=TONIGHT.night)
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


@pytest.mark.parametrize(("change", "said"), cases(APPROVAL_MUTANTS))
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
