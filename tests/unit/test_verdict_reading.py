"""Runs from disk: what is read, and that the verdicts need no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers.records import make_run, write_run
from w2v_core.errors import RecordError
from w2v_core.records.record import to_json
from w2v_core.records.store import Session, read_run


def test_a_run_directory_and_its_file_are_the_same(tmp_path):
    """Both names of a run give its records, in their order."""
    records = make_run(0)
    directory = write_run(tmp_path, records)

    assert read_run(directory).records == records
    assert read_run(directory / "run.json").records == records
    assert read_run(directory).session is None


def test_a_benchmark_json_holds_records_in_extra_info(tmp_path):
    """The JSON of --benchmark-json is read by its records; other benchmarks are passed over."""
    records = make_run(0)
    benchmarks = [{"name": "other", "extra_info": {}}]
    benchmarks += [{"name": r.cell, "extra_info": {"record": to_json(r)}} for r in records]
    path = tmp_path / "out.json"
    path.write_text(json.dumps({"machine_info": {}, "benchmarks": benchmarks}))

    assert read_run(path).records == records


def test_a_benchmark_json_without_records_is_unusable(tmp_path):
    """Benchmarks of something else are no run of the suite."""
    path = tmp_path / "out.json"
    path.write_text(json.dumps({"benchmarks": [{"name": "x"}]}))

    with pytest.raises(RecordError, match="no record in it"):
        read_run(path)


def test_the_session_is_read(tmp_path):
    """What the session said about itself travels with the run."""
    session = {"xdist": True, "outcomes": {"cell": "skipped"}, "exit_status": 1}
    run = read_run(write_run(tmp_path, make_run(0), session=session))

    assert run.session == Session(xdist=True, outcomes={"cell": "skipped"}, exit_status=1)


@pytest.mark.parametrize("session", [[], "x", {"outcomes": []}, {"exit_status": "red"}])
def test_a_malformed_session_is_unusable(tmp_path, session):
    """It is an error, not an empty session."""
    with pytest.raises(RecordError, match="session"):
        read_run(write_run(tmp_path, make_run(0), session=session))


def test_verdicts_import_neither_torch_nor_transformers():
    """A gate is judged on a laptop that has neither."""
    code = (
        "import sys, w2v_core.verdict.commands, w2v_core.verdict.calibrate, w2v_core.verdict.pair;"
        "import w2v_core.report.comparison;"
        "sys.exit(bool({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
