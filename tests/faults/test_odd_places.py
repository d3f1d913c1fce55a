"""Containers as they are: no user name, no home, no git, a bare locale, closed stdin."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_chapter
from w2v_core.records import fingerprint
from w2v_core.records.history import History

NAMELESS = """
import os, pwd, sys
exec(os.environ.get("NAMELESS", ""))
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
from w2v_core.cli import main
sys.exit(main())
"""
NAMES = ("USER", "LOGNAME", "LNAME", "USERNAME")
ODD = {
    "no-home": {"HOME": None},
    "home-of-nobody": {"HOME": "/nonexistent"},
    "no-git": {"PATH": "/nonexistent"},
    "bare-locale": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"},
    "dumb-terminal": {"TERM": "dumb", "COLUMNS": "0"},
}
TOGETHER = {name: value for changes in ODD.values() for name, value in changes.items()}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    model = write_checkpoint(folder / "tiny")
    write_chapter(folder / "corpus", {"7-1-0000": "A WORD"})
    return ["--model", str(model), "--data_path", str(folder / "corpus"), "--device", "cpu"]


def w2v(*arguments, cwd, changes):
    kept = {k: v for k, v in os.environ.items() if k not in NAMES}
    environment = {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), **changes}
    return subprocess.run(
        [sys.executable, "-c", f"import os; os.close(0){NAMELESS}", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={k: v for k, v in environment.items() if v is not None},
        check=False,
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(TOGETHER, id="all-together"),
        *(pytest.param(ODD[n], id=n, marks=pytest.mark.slow) for n in ODD),
    ],
)
def test_a_run_needs_neither_a_name_nor_a_home_nor_git(inputs, tmp_path, changes):
    read_only = tmp_path / "cwd"
    read_only.mkdir(mode=0o555)

    done = w2v("run", *inputs, "--reports-dir", str(tmp_path), cwd=read_only, changes=changes)

    assert "Traceback" not in done.stderr
    assert "real-time factor" in done.stdout, done.stderr
    assert list(tmp_path.glob("dev/*/run.json"))


@pytest.mark.parametrize("command", ["run", "transcribe", "doctor", "load", "fleet", "soak"])
def test_a_deleted_working_directory_is_told_before_torch_would_end_the_process(command, tmp_path):
    more = {"transcribe": ["a.wav"], "soak": ["--passes=20"], "load": ["--dataset=canary-speech"]}
    (gone := tmp_path / "gone").mkdir()
    leave = {"NAMELESS": f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})"}
    done = w2v(command, *more.get(command, []), "--device=cpu", cwd=tmp_path, changes=leave)

    assert done.returncode == 3
    assert done.stderr == (
        "w2v: the working directory is gone (No such file or directory), and torch does not load "
        "without one; cd to a directory that exists\n"
    )


def test_python_without_docstrings_is_told_before_transformers_trips_over_it(inputs, tmp_path):
    done = w2v("run", *inputs, cwd=tmp_path, changes={"PYTHONOPTIMIZE": "2"})

    assert done.returncode == 3
    assert done.stderr.startswith("w2v: Python drops docstrings (PYTHONOPTIMIZE=2 or -OO), ")
    assert done.stderr.count("\n") == 1


def test_a_history_that_may_only_be_read_is_refused_before_a_session_measures(tmp_path):
    History(path := tmp_path / "h.sqlite").close()
    path.chmod(0o444)
    no_powers = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]  # root's, over modes
    command = [sys.executable, "-m", "pytest", "tests/validation", "--co", f"--history={path}"]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and there is no setpriv")
        command = [*no_powers, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert f"ERROR: history {path}: attempt to write a readonly database" in done.stderr


DENIES = """
from w2v_core.records import claims
claims.reasons_against = lambda *of: ["denied"]
"""


@pytest.mark.parametrize(
    ("assertions", "code"), [("plain", 2), pytest.param("rewrite", 1, marks=pytest.mark.slow)]
)
def test_a_suite_whose_assertions_python_skips_is_refused(assertions, code, tmp_path):
    """Else it would be green whatever it measured; those that pytest rewrites are kept."""
    (tmp_path / "denies.py").write_text(DENIES)
    command = [sys.executable, "-O", "-m", "pytest", "tests/validation", "-W", "ignore"]
    command += [f"--assert={assertions}", "--models=canary-base", "--limit=1", "--rounds=1"]
    command += ["-p", "no:cacheprovider", "-p", "denies", "-k", "accounted"]
    command += [f"--reports-dir={tmp_path}", "--dtypes=float32", "--graphs=off", "--device=cpu"]
    places = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=places)

    assert done.returncode == code, done.stdout
    assert ("--assert=plain is refused" in done.stdout) is (code == 2)


@pytest.mark.parametrize("command", [["baseline", "approve", "no-run"], ["gate", "no-run"]])
def test_what_judges_names_the_missing_run_there_too(tmp_path, command):
    done = w2v(*command, "--baseline=b", cwd=tmp_path, changes=TOGETHER)

    assert done.returncode == 3
    assert "no-run" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_checkout_of_another_user_is_a_commit_that_is_not_known_and_why(monkeypatch):
    refusal = "fatal: detected dubious ownership in repository at '/work'\nTo add an exception"

    def refuse(command, **options):
        raise subprocess.CalledProcessError(128, command, stderr=refusal)

    monkeypatch.setattr(fingerprint.subprocess, "run", refuse)
    monkeypatch.setattr(fingerprint.Path, "exists", lambda self: True)

    commit, why = fingerprint.source_commit()
    assert commit is None
    assert why == "git: fatal: detected dubious ownership in repository at '/work'"


def test_without_git_the_commit_is_not_known_and_why(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(fingerprint.Path, "exists", lambda self: True)

    commit, why = fingerprint.source_commit()
    assert commit is None
    assert "git" in why
