"""The suite beside other people's plugins: one measurement, one record and one red a cell."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.helpers.suite import ROOT, Ended, run_sessions, run_suite, tiny_inputs

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
    "--reruns": "pytest_rerunfailures",
}
CELL = "tiny-float32-librispeech_corpus-nographs-exact"
OLD = ROOT / "tests/data/d110d4f/benchmark.json"
"""What d110d4f wrote for the same inputs."""
NIGHTLY = (
    *("--benchmark-autosave", "--benchmark-compare", "--benchmark-compare-fail=mean:9999%"),
    "--benchmark-storage={folder}/saved",
)
GREEN = {
    "in-order": ("-p", "no:randomly"),
    "reversed": ("break=order",),
    "random-order": ("-p", "randomly"),
    "repeated": ("--count", "2"),
    "xdist-off": ("-n", "0"),
    "timeout-and-html": ("--timeout", "600", "--html={folder}/x.html"),
    "one-claim": ("-k", "ceiling"),
    "run-again": ("break=measuring-once", "--reruns", "1", "--history={folder}/h.sqlite"),
    "all-run-again": ("break=every-test-once", "--reruns", "1", "--history={folder}/h.sqlite"),
    "tried-again-in-its-report": ("break=every-test-once", "break=again-in-report"),
    "profiled": ("--benchmark-cprofile", "tottime"),
    "first-night": NIGHTLY,
    "second-night": NIGHTLY,
    "compared-with-d110d4f": ("--benchmark-compare={old}",),
}
SESSIONS = {
    **GREEN,
    "raises": ("break=measuring",),
    "hangs": ("break=hanging", "--timeout", "2"),
    "regressed": ("--benchmark-compare={regressed}", "--benchmark-compare-fail=mean:5%"),
    "disabled": ("--benchmark-disable",),
    "two-workers": ("-n", "2"),
}


def lacks(options):
    """Name a plugin that options need and that is not installed."""
    needed = (m for o, m in PLUGINS.items() if any(x.startswith(o) for x in options))
    return next((m for m in needed if find_spec(m) is None), None)


@dataclass
class Night:
    """A session, and what it left."""

    ended: Ended
    folder: Path

    @property
    def runs(self):
        return list((self.folder / "r").glob("dev/*"))

    @property
    def records(self):
        files = [json.loads((run / "run.json").read_text()) for run in self.runs]
        return [row["record"] for file in files for row in file["records"]]

    @property
    def outcomes(self):
        (run,) = self.runs
        return json.loads((run / "run.json").read_text())["session"]["outcomes"]

    @property
    def benchmarks(self):
        out = self.folder / "out.json"
        return json.loads(out.read_text())["benchmarks"] if out.exists() else []

    @property
    def cases(self):
        """JUnit's cases by test."""
        cases = ET.parse(self.folder / "junit.xml").iter("testcase")
        return {case.get("name").partition("[")[0]: case for case in cases}


def options_of(name, folder, inputs, regressed):
    """Return a session's options; both nights have one folder of saved runs."""
    own = folder / name
    own.mkdir()
    files = [f"--junit-xml={own / 'junit.xml'}"]
    files += [f"--benchmark-json={own / 'out.json'}"] if name != "disabled" else []
    given = (o.format(folder=folder, old=OLD, regressed=regressed) for o in SESSIONS[name])
    return [*inputs, "--rounds", "1", "--reports-dir", own / "r", *files, *given]


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """All sessions, in one process."""
    folder = tmp_path_factory.mktemp("nights")
    inputs = tiny_inputs(tmp_path_factory.mktemp("inputs"))
    document = json.loads(OLD.read_text())
    document["benchmarks"][0]["stats"]["mean"] = 1e-9
    regressed = folder / "regressed.json"
    regressed.write_text(json.dumps(document))
    names = [name for name, options in SESSIONS.items() if lacks(options) is None]
    ended = run_sessions({n: options_of(n, folder, inputs, regressed) for n in names})
    return {name: Night(ended[name], folder / name) for name in names}


@pytest.fixture
def night(nights):
    """Return a session by name; skips where it needs a plugin that is not installed."""

    def of(name):
        if name not in nights:
            pytest.skip(f"needs {lacks(SESSIONS[name])}")
        return nights[name]

    return of


def outcome(case):
    """Return JUnit's word for how a test came out."""
    kinds = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
    return kinds or ["passed"]


@pytest.mark.parametrize("name", GREEN)
def test_a_cell_is_measured_once_whatever_orders_repeats_or_times_its_tests(name, night):
    one = night(name)

    assert one.ended.returncode == 0, one.ended.stdout
    assert [record["cell"] for record in one.records] == [CELL]
    assert one.outcomes == {CELL: "deselected" if name == "one-claim" else "passed"}
    full = f"tests/validation/test_cells.py::test_cell[{CELL}]"
    told = [(b["name"], b["fullname"]) for b in one.benchmarks]
    assert told == [(f"test_cell[{CELL}]", full)]


@pytest.mark.parametrize(
    ("name", "why"), [("raises", "RuntimeError: the link went down"), ("hangs", "Failed: Timeout")]
)
def test_a_cell_that_is_not_measured_is_one_red_and_stands_in_every_report(name, why, night):
    one = night(name)
    (run,) = one.runs

    assert one.ended.returncode == 1
    assert [outcome(one.cases[c]) for c in CLAIMS] == [["error"], *[["skipped"]] * 3]
    assert "0 of 1 cells valid" in one.ended.stdout
    assert f"not measured: {CELL}: {why}" in one.ended.stdout
    assert (one.records, one.benchmarks) == ([], [])
    (told,) = json.loads((run / "run.json").read_text())["session"]["errors"].values()
    assert told.startswith(why)
    for page in ("summary.md", "summary.html", "verdict.json"):
        text = (run / page).read_text()
        assert CELL in text, page
        assert why in text, page


def test_junit_carries_wer_rtfx_and_verdict_beside_each_claim(night):
    one = night("in-order")
    (record,) = one.records

    for claim in CLAIMS:
        told = {p.get("name"): p.get("value") for p in one.cases[claim].iter("property")}
        assert float(told["WER"]) == record["wer"]
        assert float(told["RTFx"]) == record["rtfx"]
        assert told["verdict"] == "not judged"


def test_junit_holds_what_its_schema_knows_and_no_more(night):
    """xunit2, as Jenkins reads it: a case has properties, one outcome, output."""
    known = {"properties", "skipped", "failure", "error", "system-out", "system-err"}
    for name in ("in-order", "raises"):
        for case in night(name).cases.values():
            assert set(case.attrib) <= {"classname", "name", "time"}
            assert {child.tag for child in case} <= known


def test_cprofile_profiles_a_pass_that_is_no_round(night):
    one = night("profiled")

    assert one.records[0]["rounds_s"] == one.benchmarks[0]["stats"]["data"]
    assert one.benchmarks[0]["cprofile"]


def test_the_first_night_is_saved_and_the_second_is_compared_with_it(night):
    assert "no saved run to compare with yet" in night("first-night").ended.stdout
    assert "(NOW)" in night("second-night").ended.stdout


def test_a_benchmark_file_of_an_earlier_version_is_compared_with(night):
    """Names of benchmarks are what they were, so that stored files go on comparing."""
    text = night("compared-with-d110d4f").ended.stdout
    rows = [line for line in text.splitlines() if line.startswith(f"test_cell[{CELL}]")]

    assert any("(NOW)" in row for row in rows), text
    assert any("d110d4f/benchmark)" in row for row in rows), text


def test_a_regression_that_pytest_benchmark_finds_still_shows_the_cells(night):
    ended = night("regressed").ended

    assert ended.returncode == 1
    assert "Performance has regressed" in ended.stdout
    assert "Traceback" not in ended.stdout
    assert "1 of 1 cells valid" in ended.stdout


def test_no_benchmark_is_timed_where_benchmarks_are_off_and_the_claims_still_hold(night):
    one = night("disabled")

    assert one.ended.returncode == 0, one.ended.stdout
    assert (len(one.records), len(one.benchmarks)) == (1, 0)


def test_two_workers_are_refused_by_name(night):
    one = night("two-workers")

    assert one.ended.returncode != 0
    assert "-n 2 is refused" in one.ended.stdout
    assert not list((one.folder / "r").rglob("run.json"))


@pytest.mark.slow
def test_one_worker_measures_and_is_told_of(tmp_path):
    """A process of its own: one worker is no parallel timing, but the gate is told of it."""
    pytest.importorskip("xdist")
    options = ["-n", "1", "--rounds", "1", "--reports-dir", tmp_path / "r"]
    done = run_suite(*tiny_inputs(tmp_path), *options)

    assert done.returncode == 0, done.stdout
    assert "1 of 1 cells valid" in done.stdout


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
    "--benchmark-compare-fail=mean:5%": "needs --benchmark-compare",
    "-p no:benchmark": "leave out -p no:benchmark",
    "break=traced --baseline=x": "--baseline beside a tracer or profiler (__main__), ",
    "--benchmark-disable --benchmark-json=/dev/null": "leave out --benchmark-disable or",
    "--benchmark-disable --benchmark-autosave": "--benchmark-autosave would write and compare",
    "--benchmark-disable --benchmark-cprofile=tottime": "--benchmark-cprofile would write",
}
ACCEPTED = (
    (
        "--benchmark-sort=name --benchmark-columns=min,rounds "
        "--benchmark-group-by=param:dtype,func "
        "--benchmark-name=short --benchmark-time-unit=ms --benchmark-disable-gc --benchmark-quiet "
        "--benchmark-warmup=off --benchmark-timer=time.perf_counter --benchmark-only"
    ),
    "--benchmark-verbose --benchmark-save=x --benchmark-save-data --benchmark-enable",
    "--benchmark-skip",
    "break=traced",
)


@pytest.fixture(scope="module")
def answers():
    """What collecting the suite answers to options."""
    collect = ["--models", "canary-base", "--co", "-q", "-W", "ignore"]
    lines = (*REFUSED, *ACCEPTED)
    return run_sessions({line: [*collect, *line.split()] for line in lines})


@pytest.mark.parametrize("line", REFUSED)
def test_an_option_that_cannot_hold_is_refused_by_name_before_anything_is_measured(line, answers):
    code, said = answers[line]

    assert code == pytest.ExitCode.INTERRUPTED
    assert REFUSED[line] in said
    assert "Traceback" not in said


@pytest.mark.parametrize("line", ACCEPTED)
def test_options_that_hold_are_taken(line, answers):
    assert answers[line][0] == pytest.ExitCode.OK, answers[line][1]
