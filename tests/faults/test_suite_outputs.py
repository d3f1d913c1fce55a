"""pytest-benchmark's files: refused before anything is measured, and kept where they are lost."""

import json
import os
import threading
from pathlib import Path

import pytest

from tests.helpers.suite import run_sessions, tiny_inputs
from w2v_core import pytest_plugin
from w2v_core.pytest_clock import refuse_timer

LONG = "n" * 260
STATS = {
    **dict.fromkeys(("min", "max", "mean", "stddev", "median", "iqr", "ops"), 1.0),
    **dict.fromkeys(("q1", "q3", "ld15iqr", "hd15iqr"), 1.0),
    "rounds": 1,
    "iterations": 1,
    "outliers": "0;0",
}
CELL = "tiny-float32-librispeech_corpus-nographs-exact"


def saved(**changes):
    """Return a saved run of one benchmark, whose statistics are changed; None drops one."""
    stats = {k: v for k, v in {**STATS, **changes}.items() if v is not None}
    return json.dumps({"machine_info": {}, "benchmarks": [{"fullname": "x", "stats": stats}]})


SAVED = {
    "torn": "{",
    "list": "[]",
    "no-machine": '{"benchmarks": []}',
    "null-machine": '{"machine_info": null, "benchmarks": []}',
    "no-stats": '{"machine_info": {}, "benchmarks": [{"fullname": "x"}]}',
    "no-name": '{"machine_info": {}, "benchmarks": [{"stats": {"mean": 1}}]}',
    "list-name": saved().replace('"x"', "[1]"),
    **{f"no-{name}": saved(**{name: None}) for name in ("min", "iqr", "hd15iqr", "outliers")},
    "text-mean": saved(mean="1\x1b[2J"),
    "rounds-of-half": saved(rounds=0.5),
}
"""Files that are no saved run, each in another way."""
ESCAPE = "a\x1b[2J"
NAMES = (
    *("--benchmark-json", "--benchmark-save", "--benchmark-histogram", "--benchmark-cprofile-dump"),
    *("--benchmark-compare", "--junit-xml", "--benchmark-storage"),
)
"""Options whose value pytest or pytest-benchmark prints as it is."""
REFUSED = {
    "--benchmark-json=/no/such/folder.json": "there is no directory /no/such",
    "--benchmark-json=~/no/such/folder.json": f"there is no directory {Path.home()}/no",
    "--benchmark-json=": "is a directory",
    "--benchmark-json=/dev/full": "/dev/full cannot be written (No space left on device)",
    "--benchmark-json=/proc/x.json": "/proc/x.json cannot be written",
    "--benchmark-json={folder}/loop": "loop cannot be written (Too many levels of symbolic links)",
    "--benchmark-json={folder}/dangling": "dangling cannot be written (No such file or directory)",
    f"--benchmark-json={LONG}": "cannot be written (File name too long)",
    f"--benchmark-save={LONG}": f"--benchmark-save: 0001_{LONG}.json is a name of more than 255",
    "--benchmark-save=x --benchmark-storage=/dev/null": "--benchmark-save: /dev/null/",
    "--benchmark-save=x --benchmark-storage={folder}/loop": "Too many levels of symbolic links",
    "--benchmark-autosave --benchmark-storage=file:///proc": "--benchmark-autosave: /proc/",
    "--benchmark-storage=ftp://x/y": "--benchmark-storage ftp://x/y: storage of ftp is not known",
    "--benchmark-storage=elasticsearch+http://localhost:1": "pytest-benchmark[elasticsearch]",
    "--benchmark-histogram=/proc/h": "--benchmark-histogram: /proc cannot be written",
    "--benchmark-histogram={folder}/taken": "taken.svg cannot be written (Is a directory)",
    "--benchmark-histogram=a --benchmark-histogram=b": "--benchmark-histogram is given 2 times: a",
    "--benchmark-cprofile-dump=a --benchmark-cprofile-dump=b": "-dump is given 2 times: a, b",
    "--benchmark-cprofile-dump=/dev/null/x": "--benchmark-cprofile-dump: /dev/null cannot be",
    f"--benchmark-cprofile-dump={'n' * 200}": "is a name of more than 255 bytes",  # with a cell's
    "--junit-xml={folder}/torn.json/x.xml": "--junit-xml: ",
    "--junit-xml=/dev/full": "/dev/full cannot be written (No space left on device); name another",
    "--benchmark-compare=0099": "--benchmark-compare 0099: names no run in",
    "--benchmark-compare=": "names no run in",
    "--benchmark-compare=a/b/c": "isn't an existing file or acceptable glob",
    "--benchmark-compare=/": "--benchmark-compare /",
    **{f"--benchmark-compare={{folder}}/{name}.json": f"{name}.json" for name in SAVED},
    "--benchmark-timer=no.such": "--benchmark-timer no.such: No module named 'no'; leave it out",
    "--benchmark-timer time.nothing": "has no attribute 'nothing'; leave it out",
    "--benchmark-timer=time.altzone": "--benchmark-timer time.altzone is no function",
    "--benchmark-timer=short": "dotted form",
    "-p w2v_core.pytest_entry -o addopts=--benchmark-timer=no.such": "timer no.such: No module",
    **{f"{name}={{escape}}": f"{name} a\\x1b[2J: " for name in NAMES},
    "--benchmark-save=a\u202eb": "--benchmark-save a\\u202eb: ",
    "--benchmark-save=x --benchmark-storage={escape}": "--benchmark-storage a\\x1b[2J: ",
    "--log-file={escape}": "--log-file a\\x1b[2J: ",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "taken.svg").mkdir()
    (folder / "dangling").symlink_to(folder / "no" / "where.json")
    for name, text in SAVED.items():
        (folder / f"{name}.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def answers(folder, request):
    """What collecting the suite answers to the options of the tests that were selected."""
    collect = ["--models", "canary-base", "--co", "-q", "-W", "ignore"]
    before = {p.name: p.lstat().st_mtime_ns for p in folder.iterdir()}
    lines = {
        line: [*collect, *line.format(folder=folder, escape=ESCAPE).split()] for line in REFUSED
    }
    told = run_sessions(lines)
    assert {p.name: p.lstat().st_mtime_ns for p in folder.iterdir()} == before
    return told


@pytest.mark.parametrize("line", REFUSED)
def test_a_value_that_cannot_be_used_is_refused_in_one_line_at_the_start(line, answers):
    code, said = answers[line]

    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert REFUSED[line] in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert "\x1b" not in said


def read_pipe(path, told):
    """Read a pipe to its end, again and again."""
    while True:
        with path.open() as pipe:
            told.append(pipe.read())


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Sessions that measure: one whose files are lost meanwhile, and two whose files are odd."""
    folder = tmp_path_factory.mktemp("sessions")
    inputs = tiny_inputs(tmp_path_factory.mktemp("inputs"))
    (folder / "gone").mkdir()
    other = {"machine_info": {"\x1b[2J": 1}, "benchmarks": []}
    (folder / "other.json").write_text(json.dumps(other))
    (folder / "kept.json").write_text("x" * 100_000)
    options = {
        "piped": (f"--benchmark-json={folder}/pipe",),
        "lost": (
            *("break=folders", f"--benchmark-json={folder}/gone/out.json", "--benchmark-save=x"),
            *(f"--benchmark-storage={folder}/saved", f"--benchmark-histogram={folder}/gone/plot"),
            "break=plots",
        ),
        "odd": (
            *(f"--benchmark-json={folder}/kept.json", "--benchmark-save=\udcff"),
            *(f"--benchmark-storage={folder}/s", f"--benchmark-compare={folder}/other.json"),
            *(f"--benchmark-histogram={folder}/plot", "--benchmark-quiet", "break=plots"),
        ),
    }
    os.mkfifo(folder / "pipe")
    piped = []
    threading.Thread(target=read_pipe, args=(folder / "pipe", piped), daemon=True).start()
    told = run_sessions(
        {
            name: [*inputs, "--rounds", "1", "--reports-dir", folder / name, *given]
            for name, given in options.items()
        }
    )
    return folder, told, piped


def names(path):
    return [b["name"] for b in json.loads(path.read_text())["benchmarks"]]


def test_a_file_that_is_lost_while_measuring_costs_no_measurement_and_ends_with_4(sessions):
    folder, told, _ = sessions
    (run,) = (folder / "lost").glob("dev/*")

    code, said = told["lost"]
    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert f"--benchmark-json {folder}/gone/out.json: not written (Not a directory)" in said, said
    assert "--benchmark-save x: not written" in said
    assert f"instead: {run / 'benchmark.json'}" in said
    assert f"--benchmark-histogram {folder}/gone/plot: not written (File exists)" in said
    assert said.count(f"test_cell[{CELL}] ") == 1
    assert "Traceback" not in said
    assert "1 of 1 cells valid" in said
    assert names(run / "benchmark.json") == [f"test_cell[{CELL}]"]


def test_files_that_can_be_written_are_written_once_and_nowhere_else(sessions):
    folder, told, _ = sessions

    code, said = told["odd"]
    assert code == pytest.ExitCode.OK, said
    assert names(folder / "kept.json") == [f"test_cell[{CELL}]"]
    (saved,) = (folder / "s").rglob("*.json")
    assert names(saved) == [f"test_cell[{CELL}]"]
    assert os.fsencode(saved.name) == b"0001_\xff.json"
    assert list((folder / "odd").rglob("benchmark.json")) == []
    assert [p.name for p in folder.glob("plot*")] == ["plot.svg"]


def test_a_pipe_is_written_once_and_whole(sessions):
    """One that was opened to see whether it can be is at its end for whoever reads it."""
    _, told, piped = sessions

    assert told["piped"].returncode == pytest.ExitCode.OK, told["piped"].stdout
    (document,) = map(json.loads, piped)
    assert [b["name"] for b in document["benchmarks"]] == [f"test_cell[{CELL}]"]


def test_a_saved_run_without_these_cells_is_not_taken_for_a_comparison(sessions):
    _, told, _ = sessions

    said = told["odd"].stdout
    assert f"not in the saved run, not compared: test_cell[{CELL}]" in said
    assert "saved on another machine, which differs in \\x1b[2J, cpu, " in said


def test_a_session_is_ended_behind_a_plugin_that_raises(monkeypatch):
    """Else a JUnit file that a full disk refuses would lose what --rebase approves."""
    ended = []
    monkeypatch.setattr(pytest_plugin, "_end", ended.append)
    finish = pytest_plugin.pytest_sessionfinish("session")
    next(finish)

    with pytest.raises(OSError, match="full"):
        finish.throw(OSError("full"))
    assert ended == ["session"]


@pytest.mark.parametrize(
    "arguments", [[], ["--benchmark-timer"], ["--benchmark-timer="], ["tests", "-q"]]
)
def test_arguments_without_a_clock_are_left_to_pytest(arguments):
    """Plain ``pytest`` has none at all."""
    refuse_timer(arguments)


def test_a_clock_is_found_behind_its_option_and_beside_it():
    for arguments in (["-q", "--benchmark-timer", "no.such"], ["--benchmark-timer=no.such", "-q"]):
        with pytest.raises(pytest.UsageError, match=r"no\.such"):
            refuse_timer(arguments)
