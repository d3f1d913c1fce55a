"""``--baseline``: the gate's items are real tests, red in JUnit where the gate is red."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.helpers.mutants import BASELINE_MUTANTS
from tests.helpers.records import write_run
from tests.helpers.replay import GOOD, MUTANTS
from tests.helpers.suite import ROOT, Ended, run_sessions, run_suite, tiny_inputs
from w2v_core.records.history import History
from w2v_core.records.record import from_json
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.baseline import load_baseline
from w2v_core.verdict.commands import gate_runs

BAD = ("failure", "error")
VANISHED = "tiny-float32-vanished-nographs-exact"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return tiny_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def record(inputs, tmp_path_factory):
    out = (folder := tmp_path_factory.mktemp("first")) / "out.json"
    options = ["--rounds", "1", "--reports-dir", folder, f"--benchmark-json={out}"]
    run_sessions({"cold": [*inputs, *options], "warm": [*inputs, *options]})  # of the last one
    return from_json(json.loads(out.read_text())["benchmarks"][0]["extra_info"]["record"])


def copies(folder, record, *, faster=1.0, spread=0.001, cells=()):
    """Write five runs like the record's, ``faster`` times as fast."""
    runs = []
    for i in range(5):
        speed = faster * (1.0 + spread * i)
        seconds = tuple(s / speed for s in record.rounds_s)
        one = replace(
            record,
            run_id=f"2026010{i + 1}T000000Z-cpu-0123456789ab",
            created_utc=f"2026-01-0{i + 1}T00:01:00Z",
            rounds_s=seconds,
            rtfx=record.rtfx * speed,
            utterances_per_s=record.utterances_per_s * speed,
        )
        runs.append(write_run(folder / f"run-{i}", [one, *(replace(one, cell=c) for c in cells)]))
    return runs


def approve(folder, record, **changes):
    """Approve five runs like the record's; return the baseline's file."""
    runs = copies(folder, record, **changes)
    return approve_runs(runs, folder / "baseline.json", approved_by="test")[1]


STOPS = {
    "by-ctrl-c": pytest.ExitCode.INTERRUPTED,
    "by-pytest-exit": pytest.ExitCode.INTERRUPTED,
    "by-error": pytest.ExitCode.TESTS_FAILED,
}
REBASED = ("--rebase", "new pool, 99 % slower")
BASELINES = {
    # So slow that no noise of the machine makes the measured cell slower, and not so slow that the
    # measured one is too fast to be true.
    "vanished": {"faster": 0.4, "cells": [VANISHED]},
    "slower": {"faster": 100.0},
    "same": {},
}
NIGHTS = {
    "vanished": ("vanished",),
    "slower": ("slower",),
    "stopped-by-the-gate": ("slower", "-x"),
    "deselected": ("same", "-k", "test_gate"),
    "raises": ("same", "break=measuring"),
    "no-baseline": ("none",),
    "rebase-of-few": ("slower", *REBASED),
    "rebase-without-a-reason": ("slower", "--rebase", ""),
    "rebase": ("slower", *REBASED),
    **{stop: ("same", f"break={stop}", "-x", "--dtypes", "float32,bfloat16") for stop in STOPS},
}


@dataclass
class Night:
    """A session against a baseline, and what it left."""

    ended: Ended
    folder: Path

    @property
    def baseline(self):
        return self.folder / "baseline.json"

    @property
    def outcomes(self):
        """JUnit's outcome by item."""
        return {
            case.get("name"): next((k.tag for k in case if k.tag in (*BAD, "skipped")), "passed")
            for case in ET.parse(self.folder / "junit.xml").iter("testcase")
        }

    @property
    def run(self):
        """The one run's directory."""
        (run,) = (self.folder / "reports" / "dev").glob("*/")
        return run


@pytest.fixture(scope="module")
def nights(inputs, record, tmp_path_factory):
    """All nights, in one process, each in a folder and with a baseline of its own."""
    root, sessions = tmp_path_factory.mktemp("nights"), {}
    approved = {name: approve(root / name, record, **c) for name, c in BASELINES.items()}
    for name, (against, *options) in NIGHTS.items():
        folder = root / f"night-{name}"
        folder.mkdir()
        if against in approved:
            shutil.copy(approved[against], folder / "baseline.json")
        if name in {"rebase", "rebase-without-a-reason"}:
            copies(folder / "reports" / "dev", record, spread=0.5)  # so that tonight is usual
        files = {"baseline": "baseline.json", "history": "history.sqlite", "reports-dir": "reports"}
        places = [f"--{option}={folder / file}" for option, file in files.items()]
        junit = f"--junit-xml={folder / 'junit.xml'}"
        sessions[name] = [*inputs, "--rounds", "1", "--confirm", "0", *places, junit, *options]
    ended = run_sessions(sessions)
    return {name: Night(ended[name], root / f"night-{name}") for name in NIGHTS}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Every mutant's session, all in one process; the folder of what they left."""
    folder = tmp_path_factory.mktemp("sessions")
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.replay", folder, GOOD, *MUTANTS],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def complaints(sessions, name):
    """Return a session's exit code, and JUnit's failures and errors as (test, message)."""
    code = json.loads((sessions / "exit_codes.json").read_text())[name]
    cases = ET.parse(sessions / f"{name}.xml").iter("testcase")
    told = [(c.get("name"), k.get("message")) for c in cases for k in c if k.tag in BAD]
    return code, told


def is_the_gates(test, message):
    """Whether JUnit's complaint is the gate's own: at its item, or about items that did not run."""
    return test.startswith("test_gate") or "were not judged" in message


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_red_in_junit_and_says_why(sessions, name):
    code, told = complaints(sessions, name)

    assert code == (3 if name in BASELINE_MUTANTS else pytest.ExitCode.TESTS_FAILED)
    assert MUTANTS[name].said in "\n".join(m for t, m in told if is_the_gates(t, m))


def test_the_night_that_the_mutants_are_made_from_is_green(sessions):
    assert complaints(sessions, GOOD) == (pytest.ExitCode.OK, [])


def test_a_vanished_cell_is_red_and_only_it_is_said_to_have_vanished(nights, record):
    night = nights["vanished"]

    assert night.ended.returncode == 1
    assert night.outcomes[f"test_gate[{VANISHED}]"] == "failure"
    told = json.loads((night.run / "verdict.json").read_text())["cells"]
    gone = [c["cell"] for c in told if "vanished: in the baseline" in "; ".join(c["reasons"])]
    assert gone == [VANISHED]


def test_a_cell_that_got_far_slower_is_red(nights, record):
    night = nights["slower"]

    assert night.ended.returncode == 1
    assert night.outcomes[f"test_gate[{record.cell}]"] == "failure"
    assert night.outcomes[f"test_steady_state_throughput[{record.cell}]"] == "passed"


def test_a_deselected_cell_is_red(nights, record):
    night = nights["deselected"]

    assert night.ended.returncode == 1
    assert night.outcomes[f"test_gate[{record.cell}]"] == "failure"


def test_a_cell_that_raised_is_red_at_the_gate_and_on_the_page(nights, record):
    night = nights["raises"]
    why = "RuntimeError: the link went down"

    assert night.outcomes[f"test_gate[{record.cell}]"] == "failure"
    assert why in night.ended.stdout
    assert why in (night.run / "summary.md").read_text()
    assert why in (night.run / "summary.html").read_text()


def test_a_run_and_its_page_say_what_the_gate_says(nights, record):
    """One judge: the items, verdict.json and ``w2v gate`` on the files."""
    night = nights["slower"]
    stored = json.loads((night.run / "verdict.json").read_text())
    again = gate_runs([night.run], night.baseline)

    assert [c["verdict"] for c in stored["cells"]] == ["FAIL"]
    assert [c.reasons for c in again.cells] == [tuple(c["reasons"]) for c in stored["cells"]]


def test_a_run_is_appended_to_its_history(nights, record):
    with History(nights["slower"].folder / "history.sqlite") as history:
        assert list(history.query()["cell"]) == [record.cell]


@pytest.mark.parametrize("stop", STOPS)
def test_a_session_stopped_after_its_first_cell_leaves_an_incomplete_run(stop, nights):
    night = nights[stop]

    assert night.ended.returncode == STOPS[stop], night.ended.stdout
    assert "were not judged" not in night.ended.stdout
    assert "1 of 1 cells valid" in night.ended.stdout
    assert sorted(file.name for file in night.run.iterdir()) == ["INCOMPLETE", "run.json"]
    assert not (night.folder / "history.sqlite").exists()
    assert f"no reports, the run did not finish: {night.run}" in night.ended.stdout


def test_a_session_stopped_by_its_gate_leaves_a_whole_run(nights):
    """-x at a red gate item: every cell was measured."""
    night = nights["stopped-by-the-gate"]

    assert night.ended.returncode == 1
    assert [*night.outcomes.values()].count("failure") == 1
    assert "were not judged" not in night.ended.stdout
    assert (night.run / "run.json").exists()
    assert not (night.run / "INCOMPLETE").exists()


def test_a_session_that_rebases_too_few_runs_is_red_and_says_so(nights):
    night = nights["rebase-of-few"]

    assert night.ended.returncode == 1
    assert "not approved: " in night.ended.stdout


def test_a_worse_release_needs_a_reason(nights):
    night = nights["rebase-without-a-reason"]

    assert night.ended.returncode == 1
    assert "the gate fails this run: " in night.ended.stdout


def test_a_session_can_rebase_and_a_worse_one_says_why(nights):
    """The sixth run of a release like the five before."""
    night = nights["rebase"]
    approvals = load_baseline(night.baseline).approvals

    assert night.ended.returncode == 0, night.ended.stdout
    assert "accepted as worse: " in night.ended.stdout
    assert [a.reason for a in approvals] == ["first baseline", REBASED[1]]
    assert "is slower by 9" in approvals[-1].worse[0]


def test_a_missing_baseline_is_red(nights):
    night = nights["no-baseline"]

    assert night.ended.returncode == gate_runs([night.run], night.baseline).exit_code == 3
    assert night.outcomes["test_gate[run]"] == "failure"


@pytest.mark.slow  # three sessions, two of them fresh ones
def test_a_cell_without_a_verdict_is_measured_again_in_fresh_processes(inputs, record, tmp_path):
    """Half as fast: no first run alone is held against it; two fresh ones, and one verdict."""
    baseline = approve(tmp_path, record, faster=2.0)
    options = ["--rounds", "1", "--reports-dir", tmp_path / "reports", "--baseline", baseline]

    done = run_suite(*inputs, *options, "--confirm", "2")

    (run,) = (tmp_path / "reports").glob("dev/*/")
    fresh = sorted(run.glob("confirm/*/dev/*/run.json"))
    told = json.loads((run / "verdict.json").read_text())
    again = gate_runs([run], baseline)
    assert [path.parents[2].name for path in fresh] == ["1", "2"], done.stdout + done.stderr
    assert [c["throughput"]["runs"] for c in told["cells"]] == [2]
    assert (again.verdict, again.exit_code) == (told["verdict"], told["exit_code"])
    assert done.returncode == told["exit_code"]
