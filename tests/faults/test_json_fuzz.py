"""Whatever the bytes of a run, baseline, history or verdict are: a verdict, or one line and exit 3.

The mutants are seeded.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
import threading
from collections import Counter

import pytest

from tests.helpers.bent_json import (
    BYTES,
    flipped,
    mutants,
    planted,
    signed_baseline,
    signed_run,
)
from tests.helpers.records import make_run, make_scores, write_run
from w2v_core.cli import main
from w2v_core.records.history import History
from w2v_core.verdict.approving import approve_runs

SEED = 20261125
UNUSABLE = 3
SCORES = make_scores(utterances=4, words=5, speakers=2)
CELL = "base-bfloat16-test_clean-graphs-exact"
DIRECTION = "\u202e\u2066\u200f\u2028\ufeff"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Runs of one cell, their baseline and their history."""
    folder = tmp_path_factory.mktemp("good")
    nights = [make_run(i, cells=(CELL,), scores=SCORES) for i in range(7)]
    runs = [write_run(folder / f"run-{i}", night) for i, night in enumerate(nights)]
    _, baseline = approve_runs(runs[:5], folder / "baseline.json")
    with History(folder / "h.sqlite") as history:
        for night in nights[:6]:
            history.append(night)
    return folder, runs[6], baseline, folder / "h.sqlite"


def wrong(code, out, err):
    """Say what is wrong with an answer; empty where it is a verdict or a refusal."""
    text = out + err
    odd = {c for c in text if (ord(c) < 32 and c not in "\n\t") or c in DIRECTION + "\x7f\x9b"}
    if odd:
        return f"control characters {odd!r}"
    if "Traceback" in text or "Warning" in text:
        return "a traceback or a warning"
    if len(text) > 40_000:
        return f"{len(text)} characters of output"
    if code == UNUSABLE and not out.strip() and len(err.strip().splitlines()) != 1:
        return "more than a line, or none"
    return "" if code in (0, 1, 2, UNUSABLE) else f"exit {code}"


def judged(capsys, *arguments):
    try:
        code = main([str(a) for a in arguments])
    except BaseException as error:  # noqa: BLE001 (whatever reaches a user is a fault)
        return f"{type(error).__name__}: {str(error)[:200]}", None
    seen = capsys.readouterr()
    return wrong(code, seen.out, seen.err), code


def run_cases(good, tmp_path, generator, count):
    """Yield what was bent, and the command that meets it; the file is written by then."""
    folder, run, baseline, _ = good
    path, data = tmp_path / "run.json", (run / "run.json").read_bytes()
    bent = [(d, d[:40]) for d in BYTES]
    bent += mutants(json.loads(data), signed_run, generator, 2 * count)
    bent += [(d, "flipped") for d in flipped(data, generator, count // 4)]
    for mutant, what in bent:
        path.write_bytes(mutant)
        yield ("run", what), ("gate", path, "--baseline", baseline, "--any-age")
        if generator.random() < 0.2:
            form = generator.choice(["text", "markdown", "csv", "json"])
            yield ("side", what), ("compare", folder / "run-1", path, "--format", form)


def baseline_cases(good, tmp_path, generator, count):
    _, run, baseline, _ = good
    path, data = tmp_path / "b.json", baseline.read_bytes()
    bent = [(d, d[:40]) for d in BYTES]
    bent += mutants(json.loads(data), signed_baseline, generator, count)
    bent += [(d, "flipped") for d in flipped(data, generator, count // 4)]
    for mutant, what in bent:
        path.write_bytes(mutant)
        yield ("baseline", what), ("gate", run, "--baseline", path, "--any-age")


def history_cases(good, tmp_path, generator, count):
    _, run, baseline, history = good
    path = tmp_path / "h.sqlite"
    gate = ("gate", run, "--baseline", baseline, "--any-age", "--history", path)
    for mutant in flipped(history.read_bytes(), generator, count // 4):
        path.write_bytes(mutant)
        yield "history", gate
        yield "history", ("calibrate", "--history", path, "--nights", 3)
    for column in ("rtfx", "created_utc", "run_id", "cell"):
        for value in ("text", b"\xff\xfe", -1.0, 0.0, 1e400, "\x1b[2J"):
            path.write_bytes(history.read_bytes())
            plant_into(path, column, value)
            yield ("row", column, value), gate


def campaign(capsys, good, tmp_path, count):
    """Judge all mutants; returns the faults, and how many there were of each exit code."""
    generator = random.Random(SEED)
    faults, codes = [], Counter()
    for cases in (run_cases, baseline_cases, history_cases):
        for what, arguments in cases(good, tmp_path, generator, count):
            fault, code = judged(capsys, *arguments)
            codes[code] += 1
            if fault:
                faults.append((what, fault))
    return faults, codes


def plant_into(history, column, value):
    """Put an odd value into a column behind SQLite's back."""
    database = sqlite3.connect(history)
    database.executescript("DROP TRIGGER records_no_update; DROP TRIGGER payloads_no_update;")
    database.execute(f"UPDATE OR IGNORE records SET {column} = ? WHERE id = 2", (value,))
    database.commit()
    database.close()


def test_a_sample_of_bent_files_is_answered(capsys, tmp_path, good):
    """Some 150 mutants of runs, baselines and histories: a verdict or a refusal for each."""
    faults, codes = campaign(capsys, good, tmp_path, 40)

    assert faults == []
    assert codes[UNUSABLE] > 100


@pytest.mark.parametrize("field", ["utterance_id", "reference", "hypothesis", "speaker"])
def test_a_lone_surrogate_in_a_transcript_is_answered(capsys, tmp_path, good, field):
    """No UTF-8 holds one, and a digest over references meets it first."""
    _, run, baseline, _ = good
    data = json.loads((run / "run.json").read_bytes())
    path = ("records", 0, "record", "scores", 0, field)
    target = tmp_path / "run.json"
    target.write_text(json.dumps(signed_run(planted(data, path, "\ud800"))))
    fault, _ = judged(capsys, "gate", target, "--baseline", baseline, "--any-age")

    assert fault == ""


@pytest.mark.parametrize("key", ["cpus", "machine"])
def test_a_hostile_name_in_a_fingerprint_reaches_no_terminal(capsys, tmp_path, good, key):
    """The gate names the fields that changed since the baseline."""
    _, run, baseline, _ = good
    data = json.loads((run / "run.json").read_bytes())
    path = ("records", 0, "record", "environment", key)
    target = tmp_path / "run.json"
    target.write_text(json.dumps(signed_run(planted(data, path, "RENAME"))))

    assert judged(capsys, "gate", target, "--baseline", baseline, "--any-age")[0] == ""
    assert judged(capsys, "compare", run, target)[0] == ""


@pytest.mark.slow
def test_thousands_of_bent_files_are_answered(capsys, tmp_path, good):
    """The seeded campaign; ``-rP`` shows its counts."""
    faults, codes = campaign(capsys, good, tmp_path, 800)

    sys.stdout.write(f"{sum(codes.values())} answers by exit code: {dict(codes)}\n")
    assert Counter(fault for _, fault in faults) == {}, faults[:20]


def test_no_pipe_and_no_device_is_waited_for(capsys, tmp_path, good):
    """A FIFO that nobody writes, /dev/zero and a directory are refused at once."""
    _, run, baseline, _ = good
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    alarm = threading.Timer(60, os._exit, (99,))
    alarm.start()
    for odd in (fifo, "/dev/zero", tmp_path, "/dev/null", tmp_path / ("n" * 300), "a\x00b", ""):
        for arguments in (
            ("gate", odd, "--baseline", baseline),
            ("gate", run, "--baseline", odd, "--any-age"),
            ("gate", run, "--baseline", baseline, "--any-age", "--history", odd),
            ("compare", odd, run),
            ("baseline", "approve", odd, "--baseline", tmp_path / "new.json"),
        ):
            fault, code = judged(capsys, *arguments)
            assert (fault, code) == ("", UNUSABLE), (odd, arguments)
    alarm.cancel()
