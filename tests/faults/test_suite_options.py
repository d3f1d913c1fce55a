"""The suite from outside: exit codes, JSON, reports and errors, as a nightly job sees them."""

import json

import pytest

from tests.helpers.suite import run_sessions, run_suite, tiny_inputs
from w2v_core.records.record import PHASES

KEYS = (
    "cell",
    "device",
    "device_name",
    "model",
    "dtype",
    "dataset",
    "graphs",
    "forward",
    "batch_plan",
    "num_utterances",
    "audio_s",
    "wer",
    "substitutions",
    "deletions",
    "insertions",
    "reference_words",
    "rtfx",
    "utterances_per_s",
    "latency_s",
    "padding_efficiency",
    "graph_captures",
    "compilations_timed",
    "cpu_fallbacks_timed",
    "peak_memory_bytes",
    "valid",
    "invalid_reasons",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return tiny_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def sound(inputs, tmp_path_factory):
    """One sound cell: the finished process, its JSON and its reports."""
    folder = tmp_path_factory.mktemp("sound")
    out = folder / "out.json"
    reports = folder / "reports"
    done = run_suite(
        *inputs, "--rounds", "2", "--reports-dir", str(reports), "--benchmark-json", str(out)
    )
    return done, json.loads(out.read_text()), reports


def test_a_sound_suite_is_green(sound):
    assert sound[0].returncode == 0, sound[0].stdout


@pytest.mark.parametrize("key", KEYS)
def test_the_json_carries(sound, key):
    assert key in sound[1]["benchmarks"][0]["extra_info"]


def test_the_json_names_the_cell(sound):
    assert (
        sound[1]["benchmarks"][0]["name"] == "test_cell[tiny-float32-"
        f"{sound[1]['benchmarks'][0]['extra_info']['cell'].split('-')[2]}-nographs-exact]"
    )


def test_the_json_carries_the_fingerprint(sound):
    fingerprint = sound[1]["machine_info"]["fingerprint"]

    assert fingerprint["torch"]
    assert len(fingerprint) >= 25


def test_rtfx_is_of_the_rounds_that_pytest_benchmark_timed(sound):
    benchmark = sound[1]["benchmarks"][0]

    assert benchmark["extra_info"]["rounds_s"] == benchmark["stats"]["data"]


def matrix_of(done):
    """Return the lines of the matrix at the end of a session's output."""
    lines = done.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if "cells valid" in line)
    end = next(i for i in range(start, len(lines)) if lines[i].startswith("time: "))
    return lines[start + 1 : end]


def test_the_terminal_ends_with_the_matrix(sound):
    header, rule, cell = matrix_of(sound[0])

    assert header.startswith("cell ")
    assert set(rule) == {"-", " "}
    assert cell.startswith("tiny-float32-")


def test_the_terminal_tells_where_the_time_went(sound):
    """Each phase of the cells, and what is left."""
    (line,) = [one for one in sound[0].stdout.splitlines() if one.startswith("time: ")]

    assert all(f" {phase} " in line for phase in (*PHASES, "other"))


@pytest.mark.parametrize("column", ["cell", "WER %", "RTFx", "p50 ms", "p99 ms", "verdict"])
def test_the_matrix_has_the_column(sound, column):
    assert column in matrix_of(sound[0])[0]


def test_a_cell_without_a_ceiling_is_not_judged(sound):
    assert matrix_of(sound[0])[-1].endswith("not judged")


def test_no_progress_is_shown_where_output_is_captured(sound):
    assert "timed rounds" not in sound[0].stdout + sound[0].stderr


def test_reports_are_written(sound):
    files = sorted(p.name for p in sound[2].glob("dev/*/*"))

    assert files == [
        "hypotheses.jsonl",
        "perf_metric.csv",
        "run.json",
        "summary.csv",
        "summary.html",
        "summary.md",
        "summary.parquet",
        "verdict.json",
    ]


def test_the_run_is_listed_in_the_index(sound):
    run = next(sound[2].glob("dev/*")).name

    assert f"dev/{run}/summary.html" in (sound[2] / "index.html").read_text()


def test_a_decoder_that_drops_double_letters_turns_the_suite_red(tmp_path):
    out = tmp_path / "out.json"
    done = run_suite(
        *("-p", "tests.helpers.saboteur", "--models", "canary-base", "--dtypes", "float32"),
        *("--datasets", "canary-speech", "--limit", "8", "--rounds", "1"),
        *("--reports-dir", str(tmp_path / "reports"), "--benchmark-json", str(out)),
    )

    info = json.loads(out.read_text())["benchmarks"][0]["extra_info"]
    assert done.returncode == 1
    assert info["valid"] is False
    assert "transcripts differ from the goldens" in info["invalid_reasons"][0]


USAGE = {
    "no-bucket": (["--buckets", "0"], "--buckets is 0"),
    "no-utterance": (["--limit", "0"], "--limit is 0"),
    "no-round": (["--rounds", "0"], "--rounds is 0"),
    "device": (["--device", "gpu"], "unknown device 'gpu'"),
    "model": (["--models", "canary-bas"], "did you mean 'canary-base'"),
    "dataset": (["--datasets", "test-clen"], "'test-clean'"),
    "device-missing": (["--device", "hpu"], "device hpu"),
    "mark-of-a-missing-device": (["-m", "hpu"], "device hpu"),
    "mark-in-brackets": (["-m", "(hpu)"], "device hpu"),
    "mark-and-more": (["-m", "hpu and not slow"], "device hpu"),
    "either-mark": (["-m", "hpu or cuda"], "device hpu"),
    "mark-and-another-device": (["-m", "hpu", "--device", "cpu"], "contradicts -m 'hpu'"),
    "nothing-but-commas": (["--models=,"], "--models is empty"),
    "an-unset-variable": (["--datasets="], "--datasets is empty"),
    "one-dtype-by-two-names": (["--dtypes=fp32,float32"], "--dtypes names 'float32' twice"),
    "dataset-twice": (["--datasets=canary-speech, canary-speech"], "--datasets names 'canary-s"),
    "history-no-database": (["--history={folder}/no-database"], "not a database"),
    "history-below-a-file": (["--history={folder}/no-database/inner"], "give another history"),
    "reports-not-writable": (["--reports-dir", "/dev/null"], "--reports-dir: /dev/null cannot be"),
    "reports-below-a-file": (
        ["--reports-dir={folder}", "--release=no-database"],
        "no-database cannot be written (Not a directory); name another folder",
    ),
}
OTHERS = {
    "device-cannot": ["--graphs", "on", "--device", "cpu"],
    "marked-and-cannot": ["--graphs", "on", "-m", "cpu"],
    "limit-beyond": ["--limit", "4"],
}


@pytest.fixture(scope="module")
def ended(inputs, tmp_path_factory):
    """All sessions, in one process; ``reports`` is where none of wrong usage leaves anything."""
    folder = tmp_path_factory.mktemp("sessions")
    (folder / "no-database").write_bytes(b"no database" * 100)
    given = {**{name: options for name, (options, _) in USAGE.items()}, **OTHERS}
    return run_sessions(
        {
            name: [
                *inputs,
                *("--reports-dir", folder / name / "reports"),
                *(o.format(folder=folder) for o in options),
            ]
            for name, options in given.items()
        }
    ), folder


def test_a_cell_that_the_device_cannot_do_is_skipped_with_its_reason(ended):
    done = ended[0]["device-cannot"]

    assert done.returncode == 0
    assert "no C++ compiler (no-such-compiler" in done.stdout


def test_a_session_of_marked_cells_that_all_skip_is_not_green(ended):
    done = ended[0]["marked-and-cannot"]

    assert "4 skipped" in done.stdout
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_limit_beyond_the_set_is_an_error(ended):
    done = ended[0]["limit-beyond"]

    assert done.returncode == 1
    assert "ConfigError" in done.stdout


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage_ends_the_session_with_one_line_before_anything_is_measured(name, ended):
    sessions, folder = ended

    assert sessions[name].returncode == pytest.ExitCode.USAGE_ERROR
    assert USAGE[name][1] in sessions[name].stdout
    assert not (folder / name / "reports").exists()
