"""``--baseline``: the gate's items are real tests, red in JUnit where the gate is red."""

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.helpers.records import write_run
from tests.helpers.suite import run_suite, tiny_inputs
from w2v_core.bench.record import from_json
from w2v_core.verdict.commands import approve_runs
from w2v_core.verdict.history import History

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


def approve(folder, record, *, faster=1.0, cells=()):
    """Approve five runs like the record's, ``faster`` times as fast."""
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
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcomes[case.get("name")] = kinds[0] if kinds else "passed"
    return done, outcomes


def test_a_vanished_cell_is_red_and_the_measured_one_is_not(inputs, record, tmp_path):
    # The baseline is so slow that no noise of the machine makes the measured cell slower.
    baseline = approve(tmp_path, record, faster=0.01, cells=[VANISHED])

    done, outcomes = judged_by(baseline, inputs, tmp_path)

    assert done.returncode == 1
    assert outcomes[f"test_gate[{VANISHED}]"] == "failure"
    assert outcomes[f"test_gate[{record.cell}]"] != "failure", done.stdout


def test_a_cell_that_got_far_slower_is_red(inputs, record, tmp_path):
    baseline = approve(tmp_path, record, faster=100.0)

    done, outcomes = judged_by(baseline, inputs, tmp_path)

    assert done.returncode == 1
    assert outcomes[f"test_gate[{record.cell}]"] == "failure"
    assert outcomes[f"test_cell[{record.cell}]"] == "passed"


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


def test_a_session_can_rebase(inputs, tmp_path):
    options = [*inputs, "--rounds", "1", "--reports-dir", tmp_path]
    few = run_suite(*options, "--baseline", tmp_path / "b.json", "--rebase", "first")

    assert few.returncode == 1
    assert "not approved: " in few.stdout


def test_a_missing_baseline_is_red(inputs, tmp_path):
    done, outcomes = judged_by(tmp_path / "none.json", inputs, tmp_path)

    assert done.returncode == 1
    assert outcomes["test_gate[run]"] == "failure"
