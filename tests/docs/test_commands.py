"""The documented commands are run, in a folder that holds what they name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, RUN_FILES, commands, prose
from tests.helpers.records import make_run, write_run
from w2v_core.cli import main
from w2v_core.records.history import History
from w2v_core.records.record import to_json

OLD, NEW = "1.23.0.695", "1.24.0.1007"  # the releases that the documents name
COMMANDS = [c for d in DOCUMENTS for c in commands(d) if c.program == "w2v"]


def chosen(*names, without=()):
    """Select commands by their name; leave those out that have one of these words."""
    found = [c for c in COMMANDS if c.words[1] in names and not set(without).intersection(c.words)]
    return pytest.mark.parametrize("command", [pytest.param(c, id=str(c)) for c in found])


def night(number, *, days_ago, release):
    """Make the records of a night that ended an hour ago, or some days before."""
    ended = datetime.now(timezone.utc) - timedelta(days=days_ago, hours=1)
    return make_run(
        number,
        sd=0.002,
        release=release,
        run_id=f"{ended:%Y%m%dT%H%M%SZ}-hpu-0123456789ab",
        created_utc=f"{ended:%Y-%m-%dT%H:%M:%SZ}",
    )


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder as after some nights on two releases, tonight's RUN after the newer one's baseline.

    The baseline is of all nights on the newer release but RUN, which is no older than the gate
    allows and as fast as they are.
    """
    folder = tmp_path_factory.mktemp("desk")
    nights = [night(n, days_ago=12 - n, release=OLD if n < 6 else NEW) for n in range(13)]
    with History(folder / "reports" / "history.sqlite") as history:
        for records in nights:
            name = "RUN" if records is nights[-1] else records[0].run_id
            write_run(folder / "reports" / records[0].release / name, records)
            history.append(records)
    rows = [{"extra_info": {"record": to_json(r)}} for r in nights[-1]]
    (folder / "out.json").write_text(json.dumps({"benchmarks": rows}))
    speech = next((ROOT / "w2v_core/data/canary_speech/audio").rglob("*.flac"))
    shutil.copy(speech, folder / "speech.flac")
    runs = [str(r) for r in sorted((folder / "reports" / NEW).iterdir()) if r.name != "RUN"]
    baselines = str(folder / "reports" / "baselines")
    assert main(["baseline", "approve", *runs, "--baseline", baselines]) == 0
    return folder


@pytest.fixture
def at_desk(desk, tmp_path, monkeypatch):
    """A copy of the desk: a command that approves does not change what the next one reads."""
    monkeypatch.chdir(shutil.copytree(desk, tmp_path / "desk"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run(command, *more):
    """Run a command in this process as a shell would, with ``more`` at its end."""
    words = []
    for word in command.words[1:]:
        matches = sorted(map(str, Path().glob(word))) if "*" in word else []
        words += matches or [word]
    return main([*words, *more])


@chosen("gate", "compare", "baseline", "completion")
def test_a_command_on_recorded_runs_works(command, at_desk, capsys):
    code = run(command)

    assert code == 0, capsys.readouterr().err
    assert capsys.readouterr().out


@chosen("calibrate", without=("--command",))
def test_the_gate_is_calibrated(command, at_desk, capsys):
    assert run(command, "--nights", "20") == 0
    assert "power_at_3_percent" in capsys.readouterr().out


RATES = re.compile(
    r"^\|.*\| (?P<alarms>[\d.]+) % \| (?P<found>[\d.]+) % \| `w2v (?P<line>[^`]+)` \|$"
)


@pytest.mark.slow  # thousands of nights
@pytest.mark.parametrize(
    "row",
    [m for _, line in prose("docs/measuring.md") if (m := RATES.match(line))],
    ids=lambda m: m["line"],
)
def test_the_error_rates_are_what_their_commands_print(row, capsys):
    assert main([*row["line"].split(), "--json"]) == 0
    rates = json.loads(capsys.readouterr().out)

    assert f"{rates['family_false_alarm_rate']:.1%}" == f"{row['alarms']}%"
    assert f"{rates['power_at_3_percent']:.1%}" == f"{row['found']}%"


@pytest.mark.slow  # a page of three cells
@chosen("report")
def test_a_report_is_written(command, at_desk, capsys):
    assert run(command) == 0
    assert Path(capsys.readouterr().out.strip()).stat().st_size > 10_000


@pytest.mark.slow  # loads a checkpoint and measures
@chosen("run", without=("--use_graphs", "--large", "./my-checkpoint", "hpu"))
def test_a_cell_is_measured(command, at_desk, capsys):
    assert run(command, "--limit", "5", "--repeat", "1") == 0
    assert "canary_base" in capsys.readouterr().out


@pytest.mark.slow  # loads a checkpoint
@chosen("transcribe")
def test_a_file_is_transcribed(command, at_desk, capsys):
    assert run(command) == 0
    assert capsys.readouterr().out.startswith("speech.flac\t")


@pytest.mark.slow  # waits for the hub
@chosen("doctor", without=("hpu",))
def test_the_machine_is_looked_at(command, at_desk, capsys):
    assert run(command) == 0
    assert "device cpu" in capsys.readouterr().out


@pytest.mark.slow  # a session of its own
def test_the_main_job_leaves_the_files_that_are_listed(tmp_path):
    (command,) = [
        c for c in commands("README.md") if c.program == "pytest" and "tests/validation" in c.words
    ]
    small = ["--models", "canary-base", "--dtypes", "float32", "--limit", "2", "--rounds", "1"]
    places = [f"--reports-dir={tmp_path}", "--benchmark-json", str(tmp_path / "out.json")]

    done = subprocess.run(
        [sys.executable, "-m", *command.words, *small, *places, "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    (directory,) = (tmp_path / "dev").iterdir()
    assert {file.name for file in directory.iterdir()} == RUN_FILES
