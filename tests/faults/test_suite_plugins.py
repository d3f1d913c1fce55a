"""The suite beside other people's plugins: one measurement, one record and one red a cell."""

import json
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from tests.helpers.suite import ROOT, run_suite, tiny_inputs

CLAIMS = (
    "test_every_utterance_is_accounted_for",
    "test_transcripts_meet_the_goldens",
    "test_wer_is_under_its_ceiling",
    "test_steady_state_throughput",
)
PLUGINS = {
    "--count": "pytest_repeat",
    "-n": "xdist",
    "--timeout": "pytest_timeout",
    "--html": "pytest_html",
    "randomly": "pytest_randomly",
}
FLAKY = """
import w2v_core.session as session
real, tries = session.ValidationRun.measure, []

def measure(self, cell, **options):
    tries.append(cell)
    if len(tries) <= {times}:
        raise RuntimeError("the link went down\\nand more")
    return real(self, cell, **options)

session.ValidationRun.measure = measure
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return tiny_inputs(tmp_path_factory.mktemp("inputs"))


def run(inputs, folder, *options):
    """Run one cell; return the process, its records, its benchmarks and JUnit's outcomes."""
    files = [f"--junit-xml={folder / 'junit.xml'}", f"--benchmark-json={folder / 'out.json'}"]
    done = run_suite(*inputs, "--rounds", "1", "--reports-dir", folder / "r", *files, *options)
    runs = [json.loads(p.read_text()) for p in (folder / "r").glob("dev/*/run.json")]
    records = [r["record"] for one in runs for r in one["records"]]
    out = folder / "out.json"
    benchmarks = json.loads(out.read_text())["benchmarks"] if out.exists() else []
    cases = {
        case.get("name").partition("[")[0]: case
        for case in ET.parse(folder / "junit.xml").iter("testcase")
    }
    return done, records, benchmarks, cases


def outcome(case):
    """Return JUnit's word for how a test came out."""
    kinds = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
    return kinds or ["passed"]


def break_measuring(folder, monkeypatch, *, times):
    (folder / "flaky.py").write_text(FLAKY.format(times=times))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "-p", "flaky"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-p", "no:randomly"), id="in-order"),
        pytest.param(("-p", "randomly"), id="random-order"),
        pytest.param(("--count", "2"), id="repeated"),
        pytest.param(("-n", "0"), id="xdist-off"),
        pytest.param(("--timeout", "600", "--html={folder}/x.html"), id="timeout-and-html"),
        pytest.param(("-k", "ceiling"), id="one-claim"),
    ],
)
def test_a_cell_is_measured_once_whatever_orders_or_repeats_its_tests(options, inputs, tmp_path):
    for option, module in PLUGINS.items():
        if any(o.startswith(option) for o in options):
            pytest.importorskip(module)
    done, records, benchmarks, _ = run(
        inputs, tmp_path, *(o.format(folder=tmp_path) for o in options)
    )

    assert done.returncode == 0, done.stdout
    assert len(records) == 1
    cell = records[0]["cell"]
    full = f"tests/validation/test_cells.py::test_cell[{cell}]"
    assert [(b["name"], b["fullname"]) for b in benchmarks] == [(f"test_cell[{cell}]", full)]


def test_a_cell_that_raises_is_one_red_and_stands_in_the_summary(inputs, tmp_path, monkeypatch):
    flaky = break_measuring(tmp_path, monkeypatch, times=99)
    done, records, benchmarks, cases = run(inputs, tmp_path, *flaky, "-p", "no:randomly")

    assert done.returncode == 1
    assert [outcome(cases[c]) for c in CLAIMS] == [["error"], *[["skipped"]] * 3]
    assert "0 of 1 cells valid" in done.stdout
    assert "not measured: tiny-float32-" in done.stdout
    assert "RuntimeError: the link went down" in done.stdout
    assert (records, benchmarks) == ([], [])
    (file,) = (tmp_path / "r").glob("dev/*/run.json")
    (why,) = json.loads(file.read_text())["session"]["errors"].values()
    assert why == "RuntimeError: the link went down"
    assert why in (file.parent / "verdict.json").read_text()


def test_one_worker_of_xdist_measures_and_the_cells_are_shown(inputs, tmp_path):
    pytest.importorskip("xdist")
    done, records, _, _ = run(inputs, tmp_path, "-n", "1")

    assert done.returncode == 0, done.stdout
    assert len(records) == 1
    assert "1 of 1 cells valid" in done.stdout
    assert "reports: " in done.stdout


def test_two_workers_of_xdist_are_refused_by_name(inputs, tmp_path):
    pytest.importorskip("xdist")
    done, records, _, _ = run(inputs, tmp_path, "-n", "2")

    assert done.returncode != 0
    assert "-n 2 is refused" in done.stdout
    assert records == []


def test_a_cell_that_is_run_again_leaves_one_record(inputs, tmp_path, monkeypatch):
    pytest.importorskip("pytest_rerunfailures")
    flaky = break_measuring(tmp_path, monkeypatch, times=1)
    history = ("--history", tmp_path / "h.sqlite")
    done, records, benchmarks, _ = run(inputs, tmp_path, *flaky, "--reruns", "1", *history)

    assert done.returncode == 0, done.stdout
    assert (len(records), len(benchmarks)) == (1, 1)


def test_junit_carries_wer_rtfx_and_verdict_beside_each_claim(inputs, tmp_path):
    _, (record,), _, cases = run(inputs, tmp_path)

    for claim in CLAIMS:
        told = {p.get("name"): p.get("value") for p in cases[claim].iter("property")}
        assert float(told["WER"]) == record["wer"]
        assert float(told["RTFx"]) == record["rtfx"]
        assert told["verdict"] == "not judged"


def test_cprofile_profiles_a_pass_that_is_no_round(inputs, tmp_path):
    done, (record,), (benchmark,), _ = run(inputs, tmp_path, "--benchmark-cprofile", "tottime")

    assert done.returncode == 0, done.stdout
    assert record["rounds_s"] == benchmark["stats"]["data"]
    assert benchmark["cprofile"]


def test_the_first_night_is_saved_and_the_second_is_compared_with_it(inputs, tmp_path):
    nightly = ["--benchmark-autosave", "--benchmark-compare", "--benchmark-compare-fail=mean:999%"]
    nightly += [f"--benchmark-storage={tmp_path / 'saved'}"]
    first, second = (run(inputs, tmp_path, *nightly)[0] for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout
    assert "no saved run to compare with yet" in first.stdout
    assert "(NOW)" in second.stdout


def test_a_regression_that_pytest_benchmark_finds_still_shows_the_cells(inputs, tmp_path):
    storage = f"--benchmark-storage={tmp_path / 'saved'}"
    run(inputs, tmp_path, storage, "--benchmark-autosave")
    slower = ["--benchmark-compare", "--benchmark-compare-fail=mean:0%"]
    saved = next((tmp_path / "saved").rglob("*.json"))
    document = json.loads(saved.read_text())
    document["benchmarks"][0]["stats"]["mean"] /= 1e3
    saved.write_text(json.dumps(document))
    done = run(inputs, tmp_path, storage, *slower)[0]

    assert done.returncode == 1
    assert "Performance has regressed" in done.stdout + done.stderr
    assert "1 of 1 cells valid" in done.stdout


def test_no_benchmark_is_timed_where_benchmarks_are_off_and_the_claims_still_hold(inputs, tmp_path):
    done, records, benchmarks, _ = run(inputs, tmp_path, "--benchmark-disable")

    assert done.returncode == 0, done.stdout
    assert (len(records), len(benchmarks)) == (1, 0)


REFUSED = {
    "--benchmark-min-rounds=5": "--benchmark-min-rounds 5 is refused",
    "--benchmark-min-time=1": "--benchmark-min-time",
    "--benchmark-max-time=9": "--benchmark-max-time",
    "--benchmark-precision=0.1": "--benchmark-precision",
    "--benchmark-confidence=0.5": "--benchmark-confidence",
    "--benchmark-calibration-precision=3": "--benchmark-calibration-precision",
    "--benchmark-warmup=on": "--benchmark-warmup on is refused",
    "--benchmark-warmup-iterations=3": "--benchmark-warmup-iterations",
    "--benchmark-timer=time.process_time": "--benchmark-timer",
    "--benchmark-group-by=nothing": "--benchmark-group-by 'nothing'",
    "--benchmark-group-by=param:x": "--benchmark-group-by 'param:x'",
    "--benchmark-json=/no/such/folder.json": "there is no directory /no/such",
    "--benchmark-compare-fail=mean:5%": "needs --benchmark-compare",
    "--benchmark-compare=0099 --benchmark-compare-fail=mean:5%": "names no run",
    "-p no:benchmark": "leave out -p no:benchmark",
}
ACCEPTED = (
    "--benchmark-sort=name",
    "--benchmark-columns=min,rounds",
    "--benchmark-group-by=param:dtype,func",
    "--benchmark-name=short",
    "--benchmark-time-unit=ms",
    "--benchmark-disable-gc",
    "--benchmark-warmup=off",
    "--benchmark-timer=time.perf_counter",
    "--benchmark-only",
    "--benchmark-verbose",
    "--benchmark-quiet",
    "--benchmark-save=x",
    "--benchmark-save-data",
    "--benchmark-enable",
)
COLLECT = """
import contextlib, io, json, sys
import pytest

answers = {}
for line in json.load(sys.stdin):
    out = io.StringIO()
    options = ["--co", "-q", "-p", "no:cacheprovider", "-W", "ignore", *line.split()]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = pytest.main(["tests/validation", "--models", "canary-base", *options])
    answers[line] = [int(code), out.getvalue()]
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def answers():
    """What collecting the suite answers to options, all in one process."""
    lines = [*REFUSED, *ACCEPTED]
    done = subprocess.run(
        [sys.executable, "-c", COLLECT],
        input=json.dumps(lines),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", REFUSED)
def test_an_option_that_cannot_hold_is_refused_by_name_before_anything_is_measured(line, answers):
    code, said = answers[line]

    assert code == pytest.ExitCode.INTERRUPTED
    assert REFUSED[line] in said


@pytest.mark.parametrize("line", ACCEPTED)
def test_an_option_that_holds_is_taken(line, answers):
    assert answers[line][0] == pytest.ExitCode.OK, answers[line][1]
