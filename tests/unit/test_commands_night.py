"""w2v night: the nightly job in one command, on a suite that left what it would have left."""

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.records import make_run, make_scores, write_run
from w2v_core.cli import main
from w2v_core.commands import night
from w2v_core.commands.child import run_session
from w2v_core.records.store import DIRECTORY_NOTE, write_verdict
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.commands import gate_runs

NOW = datetime(2026, 1, 10, 5, tzinfo=timezone.utc)
RED = """<testsuite><testcase name="test_gate[a]"><failure message="100% of&#10;it"/></testcase>
<testcase name="fine"/></testsuite>"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Run a night whose suite leaves a run like these; returns its status and what was called."""
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    runs = [write_run(tmp_path / f"old-{i}", make_run(i, sd=0.001)) for i in range(5)]
    approve_runs(runs, tmp_path / "b.json", now=NOW)

    def run(*options, records=(), status=0, doctor=0, junit="", complete=True):
        called = []

        def suite(command, *, env=None, check):
            called.append([str(word) for word in command])
            if "doctor" in command:
                return SimpleNamespace(returncode=doctor)
            reports = tmp_path / "reports"
            if junit:
                (reports / "junit.xml").write_text(junit)
            if records:
                left = write_run(reports / "1.24" / records[0].run_id, records)
                write_verdict(left, gate_runs([left], tmp_path / "b.json", now=NOW).to_json())
                (left / "summary.md").write_text("# the night\n")
                if not complete:
                    (left / "INCOMPLETE").touch()
                Path(env[DIRECTORY_NOTE]).write_text(str(left))
            return SimpleNamespace(returncode=status)

        monkeypatch.setattr(night.subprocess, "run", suite)
        folder = ["--reports-dir", str(tmp_path / "reports")]
        return main(["night", "--release", "1.24", *folder, *options]), called

    return run


def good(**changes):
    return make_run(9, sd=0.001, **changes)


def test_a_night_without_red_ends_with_0_and_says_so(job, capsys):
    assert job(records=good())[0] == 0
    assert "PASS" in capsys.readouterr().out


@pytest.mark.parametrize("records", [good(slowdown=0.2), good(peak_memory_bytes=10**11)])
def test_a_red_verdict_ends_with_1(job, records, capsys):
    assert job(records=records, status=1)[0] == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_red_verdict_is_red_whatever_pytest_says(job):
    """A hook that turns gate items green does not turn the night green."""
    assert job(records=good(slowdown=0.2), status=0)[0] == 1


def test_a_red_suite_is_red_whatever_the_verdict_says(job):
    assert job(records=good(), status=1)[0] == 1


def test_without_a_device_nothing_is_measured(job):
    code, called = job(doctor=3)

    assert (code, len(called)) == (3, 1)


@pytest.mark.parametrize(
    "left",
    [
        pytest.param({"status": 2}, id="interrupted"),
        pytest.param({"status": 4}, id="usage"),
        pytest.param({"status": -9}, id="killed"),
        pytest.param({"status": 0}, id="no-run"),
        pytest.param({"status": 0, "records": good(), "complete": False}, id="incomplete"),
    ],
)
def test_a_suite_that_did_not_end_shows_no_earlier_run(job, left, capsys):
    """Yesterday's run is not tonight's."""
    job(records=make_run(8, sd=0.001))
    capsys.readouterr()

    assert job(**left)[0] == 3
    assert "run: " not in capsys.readouterr().out


def test_yesterdays_junit_says_nothing_of_tonight(job, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    job(records=make_run(8, sd=0.001), status=1, junit=RED)
    capsys.readouterr()
    job(records=good())

    assert "::error" not in capsys.readouterr().out


def test_the_suite_is_told_all_that_the_night_was(job, tmp_path):
    baseline = ["--baseline", str(tmp_path / "b.json")]
    _, (_, suite) = job(*baseline, "--", "--execution", "lazy", records=good())

    assert suite[-2:] == ["--execution", "lazy"]
    assert f"--baseline={tmp_path / 'b.json'}" in suite
    assert f"--history={tmp_path / 'reports' / 'history.sqlite'}" in suite
    assert suite[suite.index("-m", 3) + 1] == "hpu"


def test_a_night_on_any_device_asks_for_no_marker(job):
    _, (_, suite) = job("--device", "auto", records=good())

    assert "-m" not in suite[3:]


def test_on_github_the_summary_and_what_is_red_are_shown(job, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step"))
    job(records=good(slowdown=0.2), status=1, junit=RED)

    assert (tmp_path / "step").read_text() == "# the night\n"
    assert "::error title=test_gate[a]::100%25 of it\n" in capsys.readouterr().out


def test_what_changed_and_what_is_open_are_annotations(job, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    changed = {**good()[0].environment, "kernel": "6.9"}
    scores = make_scores(errors=[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    job(records=good(environment=changed, scores=scores))
    printed = capsys.readouterr().out

    assert "::notice title=changed since the baseline::kernel 6.8.0 -> 6.9\n" in printed
    assert "::warning title=base-" in printed


def test_a_chat_gets_a_line_a_night(job, tmp_path):
    chat = tmp_path / "chat.jsonl"
    job("--chat", str(chat), records=good(slowdown=0.2), status=1)
    job("--chat", str(chat), doctor=3)
    red, unmeasured = map(json.loads, chat.read_text().splitlines())

    assert red["text"].startswith("w2v 1.24: FAIL")
    assert (red["verdict"], red["exit_code"], len(red["reasons"])) == ("FAIL", 1, 3)
    assert (unmeasured["verdict"], unmeasured["exit_code"]) == ("FAIL", 3)


@pytest.mark.parametrize("file", ["/dev/full", "/proc/none", "/"])
def test_a_page_or_chat_that_takes_nothing_costs_no_verdict(file, job, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", file)
    base = ["--chat", file]

    assert job(*base, records=good())[0] == 0
    printed = capsys.readouterr()
    assert "PASS" in printed.out
    for what in ("the job's summary", "--chat"):
        assert f"w2v night: {what} {file} cannot be written (" in printed.err


RESERVE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from w2v_core.session import RunConfig, ValidationRun
run = ValidationRun(RunConfig(reports_dir=Path(sys.argv[1])))
run.provenance = SimpleNamespace(run_id="id")
run.directory
"""


def test_a_session_tells_of_its_run_whatever_its_path_is_called(tmp_path):
    reports = tmp_path / os.fsdecode(b"no utf-8 \xff\r\n")
    told = run_session([sys.executable, "-c", RESERVE, str(reports)])

    assert told == (0, reports / "dev" / "id")


def test_an_empty_baseline_is_refused(job):
    """``--baseline=$VAR`` with VAR unset must not be an ungated night."""
    code, called = job("--baseline=")

    assert code == 3
    assert called == [] or all("doctor" in c for c in called)
