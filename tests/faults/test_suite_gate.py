"""``--baseline``: the gate's items are real tests, red in JUnit where the gate is red."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.helpers.records import write_run
from tests.helpers.replay import GOOD, MUTANTS
from tests.helpers.suite import ROOT, run_suite, tiny_inputs
from w2v_core.records.history import History
from w2v_core.records.record import from_json
from w2v_core.verdict.baseline import load_baseline
from w2v_core.verdict.commands import approve_runs

BAD = ("failure", "error")
VANISHED = "tiny-float32-vanished-nographs-exact"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return tiny_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def record(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    out = folder / "out.json"
    run_suite(*inputs, "--rounds", "1", "--reports-dir", folder, "--benchmark-json", out)
    return from_json(json.loads(out.read_text())["benchmarks"][0]["extra_info"]["record"])


def copies(folder, record, *, faster=1.0, cells=()):
    """Write five runs like the record's, ``faster`` times as fast."""
    runs = []
    for i in range(5):
        speed = faster * (1.0 + 0.001 * i)
        seconds = tuple(s / speed for s in record.rounds_s)
        one = replace(
            record,
            run_id=f"2026010{i + 1}T000000Z-cpu-0123456789ab",
            created_utc=f"2026-01-0{i + 1}T00:01:00Z",
            rounds_s=seconds,
            rtfx=record.rtfx * speed,
            utterances_per_s=record.utterances_per_s * speed,
        )
        both = [one, *(replace(one, cell=cell) for cell in cells)]
        runs.append(write_run(folder / f"run-{i}", both))
    return runs


def approve(folder, record, **changes):
    """Approve five runs like the record's; return the baseline's file."""
    runs = copies(folder, record, **changes)
    return approve_runs(runs, folder / "baseline.json", approved_by="test")[1]


def judged_by(baseline, inputs, folder, *options):
    """Run the suite against a baseline; return the process and JUnit's outcome by item."""
    junit = folder / "junit.xml"
    done = run_suite(
        *inputs,
        *("--rounds", "1", "--reports-dir", folder, "--baseline", baseline),
        *(f"--junit-xml={junit}", *options),
    )
    outcomes = {}
    for case in ET.parse(junit).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in (*BAD, "skipped")]
        outcomes[case.get("name")] = kinds[0] if kinds else "passed"
    return done, outcomes


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

    assert code == pytest.ExitCode.TESTS_FAILED
    assert MUTANTS[name].said in "\n".join(m for t, m in told if is_the_gates(t, m))


def test_the_night_that_the_mutants_are_made_from_is_green(sessions):
    assert complaints(sessions, GOOD) == (pytest.ExitCode.OK, [])


def test_a_vanished_cell_is_red_and_the_measured_one_is_not(inputs, record, tmp_path):
    # The baseline is so slow that no noise of the machine makes the measured cell slower, and not
    # so slow that the measured one is too fast to be true.
    baseline = approve(tmp_path, record, faster=0.4, cells=[VANISHED])

    done, outcomes = judged_by(baseline, inputs, tmp_path)

    assert done.returncode == 1
    assert outcomes[f"test_gate[{VANISHED}]"] == "failure"
    assert outcomes[f"test_gate[{record.cell}]"] != "failure", done.stdout


def test_a_cell_that_got_far_slower_is_red(inputs, record, tmp_path):
    baseline = approve(tmp_path, record, faster=100.0)

    done, outcomes = judged_by(baseline, inputs, tmp_path)

    assert done.returncode == 1
    assert outcomes[f"test_gate[{record.cell}]"] == "failure"
    assert outcomes[f"test_steady_state_throughput[{record.cell}]"] == "passed"


def test_a_deselected_cell_is_red(inputs, record, tmp_path):
    baseline = approve(tmp_path, record)

    done, outcomes = judged_by(baseline, inputs, tmp_path, "-k", "test_gate")

    assert done.returncode == 1
    assert outcomes[f"test_gate[{record.cell}]"] == "failure"


def test_every_run_is_appended_to_the_history(inputs, record, tmp_path):
    path = tmp_path / "history.sqlite"
    for _ in range(2):
        run_suite(*inputs, "--rounds", "1", "--reports-dir", tmp_path, "--history", path)

    with History(path) as history:
        assert list(history.query()["cell"]) == [record.cell] * 2


STOPPER = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    yield
    {stop}
"""


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        ("raise KeyboardInterrupt", pytest.ExitCode.INTERRUPTED),
        ("pytest.exit('enough')", pytest.ExitCode.INTERRUPTED),
        ("raise RuntimeError", pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_a_session_stopped_after_its_first_cell_leaves_an_incomplete_run(
    stop, code, inputs, record, tmp_path, monkeypatch
):
    (tmp_path / "stopper.py").write_text(STOPPER.format(stop=stop))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    history, reports = tmp_path / "history.sqlite", tmp_path / "reports"
    options = ["--rounds", "1", "--reports-dir", reports, "--history", history]
    baseline = approve(tmp_path, record)

    done = run_suite(
        *inputs,
        *("--dtypes", "float32,bfloat16", "--baseline", baseline),
        *(*options, "-x", "-p", "stopper"),
    )

    assert done.returncode == code, done.stdout
    assert "were not judged" not in done.stdout + done.stderr
    assert "1 of 1 cells valid" in done.stdout
    (run,) = reports.glob("dev/*/")
    assert [file.name for file in run.iterdir()] == ["INCOMPLETE"]
    assert not history.exists()
    assert f"no reports, the run did not finish: {run}" in done.stdout


def test_a_session_stopped_by_its_gate_leaves_a_whole_run(inputs, record, tmp_path):
    """-x at a red gate item: every cell was measured."""
    baseline = approve(tmp_path, record, faster=100.0)

    done, outcomes = judged_by(baseline, inputs, tmp_path / "reports", "-x")

    assert (done.returncode, [*outcomes.values()].count("failure")) == (1, 1)
    assert "were not judged" not in done.stdout
    (run,) = (tmp_path / "reports" / "dev").glob("*/")
    assert (run / "run.json").exists()
    assert not (run / "INCOMPLETE").exists()


def test_a_session_can_rebase_and_a_worse_one_says_why(inputs, record, tmp_path):
    """The fifth run of a release: refused while four, approved with a reason, red without one."""
    path = approve(tmp_path / "old", record, faster=100.0)
    options = [*inputs, "--rounds", "1", "--reports-dir", tmp_path, "--baseline", path]
    few = run_suite(*options, "--rebase", "new pool")
    copies(tmp_path / "dev", record)
    silent, told = (run_suite(*options, "--rebase", reason) for reason in ("", "new pool"))
    approvals = load_baseline(path).approvals

    assert (few.returncode, silent.returncode, told.returncode) == (1, 1, 0), told.stdout
    assert "not approved: " in few.stdout
    assert "worse than the baseline in force" in silent.stdout
    assert "accepted as worse: " in told.stdout
    assert [a.reason for a in approvals] == ["first baseline", "new pool"]
    assert "is slower by 9" in approvals[-1].worse[0]


def test_a_missing_baseline_is_red(inputs, tmp_path):
    done, outcomes = judged_by(tmp_path / "none.json", inputs, tmp_path)

    assert done.returncode == 1
    assert outcomes["test_gate[run]"] == "failure"
