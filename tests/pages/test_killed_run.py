"""kill -9 while a run is being written: marked incomplete, and never a half file."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.records import make_record
from w2v_core.errors import RecordError
from w2v_core.records.store import INCOMPLETE, read_run
from w2v_core.report.files import write_index, write_run
from w2v_core.verdict.run import Run

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "run.json",
    "verdict.json",
    "hypotheses.jsonl",
    "summary.csv",
    "perf_metric.csv",
    "summary.parquet",
    "summary.md",
    "summary.html",
)
# One child per file, each killed when half of that file is written; forked, so that the libraries
# are imported once.
WRITER = """
import os, signal, sys
from pathlib import Path
from tests.helpers.records import make_record
from w2v_core.records import store
from w2v_core.report import files
from w2v_core.verdict.run import Run

class Dying:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.file.close()
    def fileno(self):
        return self.file.fileno()
    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

reports, names = Path(sys.argv[1]), sys.argv[2:]
files.write_run(reports, Run(records=(make_record(),)))  # imports what writing needs
for name in names:
    directory = store.reserve(reports, release="1.24", run_id=name)
    child = os.fork()
    if not child:
        real = Path.open
        Path.open = lambda self, mode="r", *rest, **more: (
            Dying(real(self, mode, *rest, **more))
            if "w" in mode and name in self.name
            else real(self, mode, *rest, **more)
        )
        files.write_run(directory, Run(records=(make_record(),)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(name, os.WTERMSIG(status))
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    reports = tmp_path_factory.mktemp("reports")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WRITER, str(reports), *FILES],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    killed = dict(line.split() for line in done.stdout.splitlines())
    assert killed == dict.fromkeys(FILES, str(int(signal.SIGKILL)))
    return reports


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    write_run(directory, Run(records=(make_record(),)))
    return directory


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_whole_or_not_there(reports, whole, name):
    directory = reports / "1.24" / name
    finished = [p.name for p in directory.iterdir() if not p.name.startswith(".")]

    assert sorted(finished) == sorted([INCOMPLETE, *FILES[: FILES.index(name)]])
    for other in FILES[: FILES.index(name)]:
        assert (directory / other).read_bytes() == (whole / other).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_killed_run_is_never_judged(reports, name):
    with pytest.raises(RecordError, match="incomplete"):
        read_run(reports / "1.24" / name)


def test_the_index_marks_every_killed_run(reports):
    write_index(reports)

    assert (reports / "index.html").read_text().count(">incomplete<") == len(FILES)


def test_what_a_killed_run_measured_can_be_rescued_once_its_records_are_written(reports):
    data = json.loads((reports / "1.24" / "summary.html" / "run.json").read_text())

    assert len(data["records"]) == 1
