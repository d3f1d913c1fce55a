"""``w2v fleet`` on simulated cards, a process each: what is planted is named, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_clips
from w2v_core.records.store import read_run, read_verdict

ROOT = Path(__file__).resolve().parents[2]
CELL = "canary_base-float32-canary_speech-graphs-exact"
OPTIONS = (
    *("--device", "hpu", "--dtypes", "float32", "--rounds", "1"),
    *("--buckets", "1", "--batch-size", "2"),
)
CANARY = ("--models", "canary-base", "--datasets", "canary-speech", "--limit", "2")
SPEEDS = {0: 1.0, 1: 1.001, 4: 0.999, 5: 1.0005}
"""Seconds of a pass by module id: simulated work takes what the host has left for it."""


def fleet(tmp_path, count, *options, planted=(), names=("a", "b")):
    """Run a fleet of a model that costs nothing; returns what it left and the finished process."""
    tiny, clips = write_checkpoint(tmp_path / "tiny"), write_clips(tmp_path, names)
    what = ("--models", tiny, "--datasets", clips, "--graphs", "off")
    faults = {str(m): {"wall_s": s} for m, s in SPEEDS.items()}
    for module, fault in dict(planted).items():
        faults[str(module)] |= fault
    command = [sys.executable, "-m", "tests.helpers.simulated_fleet", str(count), "fleet"]
    done = subprocess.run(
        [*command, *OPTIONS, *what, "--reports-dir", tmp_path, *options],
        cwd=ROOT,
        env={**os.environ, "W2V_PLANT": json.dumps(faults), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    (directory,) = tmp_path.glob("dev/*")
    assert not (directory / "INCOMPLETE").exists(), done.stderr
    return directory, done


def test_of_two_cards_that_differ_neither_is_named_and_what_differs_is(tmp_path):
    directory, done = fleet(tmp_path, 2, planted={4: {"wrong": "b"}})

    assert done.returncode == 2, done.stderr
    found = json.loads((directory / "fleet.json").read_text())
    cells = {row["card"]: row for row in found["cells"]}
    assert {row["verdict"] for row in cells.values()} == {"INCONCLUSIVE"}
    told = "integrity: 1 utterances have no majority among the cards, first b"
    assert told in cells["hpu 0"]["reasons"]
    assert told in cells["hpu 4"]["reasons"]
    records = [read_run(directory / "cards" / f"hpu-{m}" / "1").records[0] for m in (0, 4)]
    assert [r.environment["HABANA_VISIBLE_MODULES"] for r in records] == ["0", "4"]
    page = (directory / "summary.html").read_text()
    assert "The cards are simulated: nothing here is about a real one." in page


@pytest.mark.slow
def test_of_four_cards_the_slow_and_the_wrong_one_are_named_and_no_other(tmp_path):
    planted = {1: {"wrong": "9001-1-0001"}, 4: {"wall_s": 1.2}}
    directory, done = fleet(tmp_path, 4, *CANARY, "--graphs", "on", planted=planted)

    assert done.returncode == 1, done.stderr
    found = json.loads((directory / "fleet.json").read_text())
    cells = {row["card"]: row for row in found["cells"]}
    assert {c for c, row in cells.items() if row["verdict"] == "FAIL"} == {"hpu 1", "hpu 4"}
    (wrong,) = cells["hpu 1"]["wrong"]
    assert (wrong["utterance_id"], wrong["frame"]) == ("9001-1-0001", 7)
    assert wrong["own"] == wrong["others"] ^ 1
    assert any("slower by more" in r for r in cells["hpu 4"]["reasons"])
    (again,) = found["again"]
    assert again["neighbour"] != "hpu 1"
    assert "hpu 1 differs alike" in again["told"]
    assert again["told"].endswith("hpu 1 computes wrong")
    environments = [
        read_run(directory / "cards" / f"hpu-{m}" / "1").records[0].environment for m in SPEEDS
    ]
    assert [e["HABANA_VISIBLE_MODULES"] for e in environments] == [str(m) for m in SPEEDS]
    assert read_verdict(directory)["verdict"] == "FAIL"
    assert not list(directory.glob("corpus*"))
    assert "hpu 1, hpu 4" in (directory / "summary.html").read_text()
    assert "fleet.json" in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_what_a_killed_card_and_a_busy_card_lose_is_measured_on_the_third(tmp_path):
    planted = {1: {"dies": True}, 4: {"busy": True}}
    directory, done = fleet(tmp_path, 3, "--way", "shard", planted=planted, names="abc")

    (record,) = read_run(directory).records
    assert record.valid, record.invalid_reasons
    assert (record.num_utterances, record.failed, len(record.merged)) == (3, (), 3)
    told = "; ".join(record.notes)
    assert "lost on hpu 1, which was killed by SIGKILL in 'scored pass" in told
    assert "lost on hpu 4, which the Gaudi card cannot be acquired (busy)" in told
    assert told.count("measured on hpu 0") == 2
    assert done.returncode == 0, done.stderr  # nothing is lost: another card has measured it


@pytest.mark.slow
def test_a_card_that_runs_out_of_memory_or_hangs_is_named_and_the_others_go_on(tmp_path):
    planted = {1: {"memory": True}, 4: {"hangs": "stop"}}
    directory, done = fleet(tmp_path, 3, "--timeout", "150", planted=planted)

    found = json.loads((directory / "fleet.json").read_text())
    problems = {run["card"]: run["problem"] for run in found["runs"]}
    assert problems["hpu 0"] == ""
    assert "out of memory; use a smaller --batch-size" in problems["hpu 1"]
    assert "gave no sign of life for 150 s in 'scored pass'" in problems["hpu 4"]
    assert [row["card"] for row in found["cells"]] == ["hpu 0"]
    assert done.returncode == 1


@pytest.mark.slow
def test_a_passing_fault_is_told_from_a_lasting_one(tmp_path):
    directory, _ = fleet(tmp_path, 3, planted={1: {"wrong": "b", "once": str(tmp_path)}})
    (again,) = json.loads((directory / "fleet.json").read_text())["again"]

    assert "hpu 1 now agrees with hpu" in again["told"]
    assert again["told"].endswith("a passing fault of hpu 1")


@pytest.mark.slow
def test_together_tells_what_sharing_costs(tmp_path):
    directory, done = fleet(tmp_path, 2, "--way", "together", "--runs", "2")

    found = json.loads((directory / "fleet.json").read_text())
    assert {cost["card"] for cost in found["costs"]} == {"hpu 0", "hpu 4"}
    assert all(cost["lower"] is not None for cost in found["costs"])
    assert "together / alone" in done.stdout
