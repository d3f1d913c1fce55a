"""Fresh processes of one night: what is run, kept and read, and what ends it."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import timedelta

from tests.helpers.records import START, make_run, write_run
from w2v_core.records.store import StoredRun, read_confirmations
from w2v_core.verdict.approve import approve
from w2v_core.verdict.confirm import asked_cells, confirm, not_confirmed, rerun
from w2v_core.verdict.judge import judge, wanted_cells

CELLS = tuple(f"m{i}-float32-test_clean-graphs-exact" for i in range(8))
NOW = START + timedelta(days=20)
SLOW = CELLS[0]

CHILD = """
import json, os, pathlib, sys
sys.path.insert(0, {root!r})
from tests.helpers.records import make_run, write_run
cells = json.loads(os.environ["W2V_CONFIRM_CELLS"])
number = int(pathlib.Path(sys.argv[1]).name)
records = [r for r in make_run(10 + number, cells={cells!r}, sd=0.003) if r.cell in cells]
run = write_run(pathlib.Path(sys.argv[1]) / "dev" / f"run-{{number}}", records)
pathlib.Path(os.environ["W2V_DIRECTORY_NOTE"]).write_text(str(run))
"""


def baseline():
    runs = [make_run(i, cells=CELLS, sd=0.003) for i in range(8)]
    return approve([StoredRun(source=str(i), records=run) for i, run in enumerate(runs)])


def first_run(loss=0.025):
    first = list(make_run(10, cells=CELLS, sd=0.003))
    slow = make_run(10, cells=CELLS, sd=0.003, slowdown=loss)[0]
    return (slow, *first[1:])


def child(pytestconfig):
    code = CHILD.format(root=str(pytestconfig.rootpath), cells=CELLS)
    return lambda folder: [sys.executable, "-c", code, str(folder)]


def asker(night, known):
    return lambda found: wanted_cells(night, known, confirmations=found, now=NOW, max_age=None)


def test_a_cold_cell_is_measured_again_until_it_passes(tmp_path, pytestconfig):
    """-2.5 % on the first process run only: one fresh run of nine cells at most, and a PASS."""
    night, known = first_run(), baseline()
    run = write_run(tmp_path / "run", night)

    found = confirm(run, asked=asker(night, known), command=child(pytestconfig))
    result = judge(night, known, confirmations=found.records, now=NOW, max_age=None)

    assert found.problem is None
    assert SLOW in {r.cell for r in found.records}
    assert read_confirmations(run) == found.records
    assert result.cell(SLOW).verdict == "PASS"


def test_without_a_fresh_run_the_cell_stays_open():
    """The same night without them is INCONCLUSIVE: nothing fails on one run of this size."""
    result = judge(first_run(), baseline(), now=NOW, max_age=None)

    assert result.cell(SLOW).verdict == "INCONCLUSIVE"


def test_a_decided_night_starts_no_process(tmp_path):
    """Everything passed on the first run: nothing is run, and nothing is left behind."""
    night, known = first_run(loss=0.0), baseline()
    run = write_run(tmp_path / "run", night)

    found = confirm(run, asked=asker(night, known), command=lambda folder: ["false"])

    assert (found.records, found.problem) == ((), None)
    assert not (run / "confirm").exists()


def test_a_process_that_leaves_no_record_ends_it_and_is_told(tmp_path):
    """It failed: no endless loop, its output is kept, and the night is not green."""
    night, known = first_run(), baseline()
    run = write_run(tmp_path / "run", night)
    failing = [sys.executable, "-c", "print('card busy'); raise SystemExit(3)"]

    found = confirm(run, asked=asker(night, known), command=lambda folder: failing)
    (finding,) = not_confirmed(found)

    assert (finding.verdict, found.records) == ("INCONCLUSIVE", ())
    assert "exit status 3" in finding.reason
    assert "card busy" in (run / "confirm" / "1" / "output.log").read_text()


def test_a_recorded_command_is_run_again_with_its_files_elsewhere(tmp_path):
    """The suite's and w2v's own: the last of two equal options counts, and no file is lost."""
    suite = rerun(shlex.join(["pytest", "-m", "hpu", "--junit-xml=night.xml"]))(tmp_path)
    tool = rerun("w2v run --model canary-base --reports-dir reports")(tmp_path)

    assert suite[1:6] == ["-m", "pytest", "-m", "hpu", "--junit-xml=night.xml"]
    assert suite[6:8] == ["--reports-dir", str(tmp_path)]
    assert suite[8] == f"--junit-xml={tmp_path / 'junit.xml'}"
    assert tool[-2:] == ["--reports-dir", str(tmp_path)]


def test_a_process_knows_what_it_was_started_for(monkeypatch):
    """The variable holds the cells; without it a process is nobody's confirmation."""
    assert asked_cells() is None
    monkeypatch.setenv("W2V_CONFIRM_CELLS", json.dumps([SLOW]))
    assert asked_cells() == (SLOW,)
