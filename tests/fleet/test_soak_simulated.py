"""``w2v soak`` on simulated cards: what is planted is found and located, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_clips
from w2v_core.fleet.passes import read_passes

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("a", "b", "c")
OPTIONS = (
    *("--device", "hpu", "--dtypes", "float32", "--graphs", "off"),
    *("--buckets", "1", "--batch-size", "1"),
)
LAYER = "encoder.layers.0.out"


def start(tmp_path, count, *options, planted=(), background=False):
    """Start a soak in a session of its own, as a terminal does, or a script with ``&``."""
    faults = {str(module): {"wall_s": 1.0} for module in (0, 4, 1)}
    for module, fault in dict(planted).items():
        faults[str(module)] |= fault
    hears = "ignore" if background else "default"  # whatever started these tests
    command = [
        "env",
        f"--{hears}-signal=INT",
        sys.executable,
        "-m",
        "tests.helpers.simulated_fleet",
        str(count),
        "soak",
    ]
    return subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, "W2V_PLANT": json.dumps(faults), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left(tmp_path):
    (directory,) = (tmp_path / "reports").glob("dev/*")
    return directory, json.loads((directory / "soak.json").read_text())


def asked(tmp_path, names):
    """Utterances of half a second, a batch each, and a model that costs nothing."""
    tiny = str(write_checkpoint(tmp_path / "tiny"))
    what = ("--models", tiny, "--datasets", write_clips(tmp_path, names))
    return (*OPTIONS, *what, "--reports-dir", str(tmp_path / "reports"))


def soak(tmp_path, count, *options, planted=(), names=NAMES):
    """Run a soak to its end."""
    process = start(tmp_path, count, *asked(tmp_path, names), *options, planted=planted)
    out, err = process.communicate()
    directory, found = left(tmp_path)
    assert not (directory / "INCOMPLETE").exists(), err
    return process.returncode, found, out, err


def leaking(found):
    return {c["card"]: {n for n, of in c["levels"].items() if of["leaks"]} for c in found["cards"]}


def test_a_flipped_id_a_flipped_bit_of_a_weight_and_a_leak_are_found(tmp_path):
    """The fast sample: all from pass 7 on, in the page too."""
    weight = {"weight": f"{LAYER}.weight", "bit": 0}
    planted = {0: {"wrong": "b", "pass": 7, "leak": 60_000, **weight}}
    code, found, _, err = soak(tmp_path, 1, "--passes", "20", planted=planted, names=["b"])

    assert code == 1, err
    (cell,) = found["cells"]
    (wrong,) = cell["wrong"]
    assert (wrong["pass"], wrong["utterance_id"], wrong["frame"]) == (7, "b", 7)
    assert wrong["own"] == wrong["others"] ^ 1
    assert altered(found) == {"hpu 0": ([(7, f"{LAYER}.weight")], 14)}
    assert leaking(found)["hpu 0"] >= {"heap_bytes"}
    page = (left(tmp_path)[0] / "summary.html").read_text()
    assert "The cards are simulated: nothing here is about a real one." in page


def altered(found):
    """Return what is told of weights, by card: [(pass, tensor)], and behind how many passes."""
    return {
        row["card"]: ([(w["pass"], w["tensor"]) for w in row["altered"]], row["altered_passes"])
        for row in found["cells"]
    }


@pytest.mark.slow
def test_a_low_bit_of_one_weight_that_changes_no_id_is_found_and_located(tmp_path):
    """Resume keeps what was loaded: the next process is held against it, and is whole."""
    fault = {"weight": f"{LAYER}.weight", "pass": 9, "bit": 0}
    code, found, _, err = soak(tmp_path, 2, "--passes", "20", planted={4: fault})

    assert code == 1, err
    assert {row["card"]: row["wrong_passes"] for row in found["cells"]} == {"hpu 0": 0, "hpu 4": 0}
    assert altered(found) == {"hpu 0": ([], 0), "hpu 4": ([(9, f"{LAYER}.weight")], 12)}
    (told,) = [f for f in found["findings"] if f.startswith("hpu 4: ")]
    (row,) = [row for row in found["cells"] if row["card"] == "hpu 4"]
    wrong = row["altered"][0]
    assert wrong["own"] != wrong["others"]
    assert "suspect of silent data corruption" in told
    assert f"from pass 9 on: {LAYER}.weight: SHA-256 {wrong['own'][:16]}" in told
    assert "read again at once, 1 of 1 were so" in told
    (again,) = found["again"]
    assert "a fresh process of hpu 4 loads the weights that hpu 0 loads" in again["told"]
    assert wrong["others"][:16] in told

    directory, _ = left(tmp_path)
    process = start(tmp_path, 2, "--resume", str(directory), "--passes", "22")
    process.communicate()
    assert altered(left(tmp_path)[1]) == altered(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "wrong_passes"),
    [
        ({"weight": f"{LAYER}.bias", "pass": 9}, list(range(9, 21))),
        ({"activation": "encoder.head", "pass": 9}, [9]),
        ({"wrong": "b", "pass": 9}, [9]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_flipped_bit_is_found_and_located_on_its_card_alone(tmp_path, fault, wrong_passes):
    code, found, _, err = soak(tmp_path, 2, "--passes", "20", planted={4: fault})

    assert code == 1, err
    cells = {row["card"]: row for row in found["cells"]}
    assert cells["hpu 0"]["wrong"] == []
    assert [wrong["pass"] for wrong in cells["hpu 4"]["wrong"]] == wrong_passes
    assert {wrong["utterance_id"] for wrong in cells["hpu 4"]["wrong"]} <= set(NAMES)
    assert leaking(found) == {"hpu 0": set(), "hpu 4": set()}
    (again,) = found["again"]  # in fresh processes, whose weights are whole
    assert "hpu 4 now agrees with hpu 0: a passing fault of hpu 4" in again["told"]


@pytest.mark.slow
def test_a_card_that_is_wrong_from_the_start_is_named_by_the_others_and_asked_again(tmp_path):
    planted = {4: {"wrong": "b"}}
    _, found, _, _ = soak(tmp_path, 3, "--passes", "20", planted=planted)

    assert {c["card"]: c["verdict"] for c in found["cells"]}["hpu 4"] == "FAIL"
    assert any("suspect of silent data corruption: b frame 7" in f for f in found["findings"])
    (again,) = found["again"]
    assert again["told"].endswith("hpu 4 computes wrong")


@pytest.mark.slow
@pytest.mark.parametrize(("leak", "levels"), [(1000, {"heap_bytes"}), (0, set())])
def test_one_kilobyte_a_batch_is_found_within_2000_and_5000_without_it_are_clean(
    tmp_path, leak, levels
):
    names, passes = [f"u{n}" for n in range(20)], "100" if leak else "250"
    planted = {0: {"leak": leak}}
    code, found, _, err = soak(tmp_path, 1, "--passes", passes, planted=planted, names=names)

    grown = leaking(found)["hpu 0"]
    assert grown >= levels if leak else grown == levels, err
    assert code == bool(levels)


def wait_for_passes(tmp_path, count):
    """Block until a soak has made so many passes; returns the file."""
    for _ in range(600):
        files = list((tmp_path / "reports").glob("dev/*/cards/*/soak/passes.jsonl"))
        if files and len(read_passes(files[0])) >= count:
            return files[0]
        time.sleep(0.5)
    pytest.fail(f"no {count} passes after 300 s")


def wait_for_end(pid):
    for _ in range(120):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.5)
    pytest.fail(f"process {pid} is still there")


@pytest.mark.slow
def test_a_soak_goes_on_after_a_kill_and_after_an_interrupt(tmp_path, monkeypatch):
    """At most the pass in flight is lost, and no card stays taken.

    SIGTERM goes to all of the group, as a service manager sends it; whoever does not hear SIGINT
    goes on.
    """
    monkeypatch.setenv("W2V_PLANT_NOTE", str(tmp_path))
    killed = start(tmp_path, 1, *asked(tmp_path, NAMES), "--passes", "100000")
    path = wait_for_passes(tmp_path, 3)
    killed.kill()
    killed.communicate()
    wait_for_end((tmp_path / "0").read_text())
    directory = next((tmp_path / "reports").glob("dev/*"))
    assert (directory / "INCOMPLETE").exists()

    resume = ("--resume", str(directory))
    for background in (False, True):
        interrupted = start(tmp_path, 1, *resume, background=background)
        done = len(read_passes(path))
        wait_for_passes(tmp_path, done + 3)
        os.killpg(interrupted.pid, signal.SIGINT)
        if background:
            wait_for_passes(tmp_path, len(read_passes(path)) + 3)
            assert interrupted.poll() is None
            os.killpg(interrupted.pid, signal.SIGTERM)
        _, err = interrupted.communicate(timeout=60)
        wait_for_end((tmp_path / "0").read_text())
        assert interrupted.returncode == 130, err
        assert f"w2v: interrupted; w2v soak --resume {directory} goes on" in err
        assert f"kill {interrupted.pid} (SIGTERM){'' if background else ' or Ctrl-C'};" in err
        assert not (directory / "INCOMPLETE").exists()
        assert ", interrupted" in (directory / "summary.html").read_text()
        assert left(tmp_path)[1]["cards"][0]["problems"] == []

    last = len(read_passes(path)) + 20
    done = start(tmp_path, 1, *resume, "--passes", str(last))
    done.communicate()
    passes = read_passes(path)
    assert [one.number for one in passes] == list(range(1, last + 1))
    assert len({one.process for one in passes}) == 4
    assert all(c.num_wrong == 0 for one in passes for c in one.cells)
    assert done.returncode == 0
