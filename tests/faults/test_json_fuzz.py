"""Whatever the bytes of a run, baseline, history or verdict are: a verdict, or one line and exit 3.

The mutants are seeded. What is planted into a record or a baseline is checksummed anew, so that it
passes the first gate and meets the code behind it.
"""

from __future__ import annotations

import copy
import json
import os
import random
import sqlite3
import sys
import threading
from collections import Counter

import pytest

from tests.helpers.records import make_run, make_scores, write_run
from w2v_core.cli import main
from w2v_core.records.history import History
from w2v_core.records.record import checksum
from w2v_core.verdict.commands import approve_runs

SEED = 20261125
UNUSABLE = 3
SCORES = make_scores(utterances=4, words=5, speakers=2)
CELL = "base-bfloat16-test_clean-graphs-exact"
DIRECTION = "\u202e\u2066\u200f\u2028\ufeff"

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    -0.0,
    1e308,
    -1e308,
    5e-324,
    2**63,
    -(2**63) - 1,
    10**400,
    "",
    "x",
    "1",
    "\x1b[31mred\x1b[0m",
    "\u202egnp",
    "\ud800",
    "a\nb\rc\x00d\x9be",
    "N" * 100_000,
    [],
    [1],
    [[[]]],
    {},
    {"a": 1},
    {"\x1b]0;t\x07": {"\u2028": ["\u202e"]}},
]


def nested(levels, closed):
    return b"[" * levels + (b"]" * levels if closed else b"")


BYTES = [
    b"",
    b"null",
    b"0",
    b'"text"',
    b"[]",
    b"{}",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"\x00" * 1000,
    nested(200_000, closed=False),
    nested(200_000, closed=True),
    b'{"records":' * 50_000,
    b"9" * 10_000,
    b'{"records": [NaN]}',
    b'{"records": [1e999]}',
    b'{"records": [{"record": {}, "sha256": ""}]}',
    b'{"benchmarks": [3, null, {"extra_info": [1]}]}',
    b'{"benchmarks": [{"extra_info": {"record": []}}]}',
    b'{"records": [], "session": 3}',
]


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


def places(value, path=()):
    """Every place of a JSON value, as the path that leads to it."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def planted(value, path, mutant):
    """Return a copy with another value at a path; DROP takes the key out, RENAME renames it."""
    if not path:
        return mutant
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if mutant == "DROP":
        del inner[path[-1]]
    elif mutant == "RENAME" and isinstance(inner, dict):
        inner["\x1b\u202e" + str(path[-1])] = inner.pop(path[-1])
    else:
        inner[path[-1]] = mutant
    return changed


def signed_run(data):
    rows = data.get("records") if isinstance(data, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("record"), dict):
            row["sha256"] = checksum(row["record"])
    return data


def signed_baseline(data):
    if isinstance(data, dict) and isinstance(data.get("baseline"), dict):
        cells = data["baseline"].get("cells")
        for rows in cells.values() if isinstance(cells, dict) else []:
            signed_run({"records": rows} if isinstance(rows, list) else {})
        data["sha256"] = checksum(data["baseline"])
    return data


def mutants(data, signed, generator, count):
    everywhere = list(places(data))
    top = [path for path in everywhere if len(path) <= 4]
    for i in range(count):
        path = generator.choice(top if i % 2 else everywhere)
        mutant = generator.choice([*VALUES, "DROP", "RENAME"])
        try:
            yield json.dumps(signed(planted(data, path, mutant))).encode(), (path, mutant)
        except (IndexError, KeyError):
            continue


def flipped(data, generator, count):
    for _ in range(count):
        bent = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(len(bent))
            kind = generator.randrange(3)
            if kind == 0:
                bent[at] ^= 1 << generator.randrange(8)
            elif kind == 1:
                del bent[at : at + generator.randint(1, 50)]
            else:
                bent[at:at] = generator.randbytes(generator.randint(1, 8))
        yield bytes(bent)


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
