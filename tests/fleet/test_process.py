"""The process of a card: it is pinned, watched, and what ends it is said; nothing is left behind.

Most of these run a stand-in of the worker that speaks its lines and loads no torch.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from w2v_core.fleet import process
from w2v_core.fleet.cards import Card
from w2v_core.fleet.job import Job
from w2v_core.fleet.process import run_job

PRELUDE = "import json, os, signal, sys, time; job = json.loads(sys.stdin.readline());"
ROOT = Path(__file__).resolve().parents[2]


def tell(**said):
    return f"print({json.dumps(json.dumps(said))}, flush=True);"


def make_job(folder="unused", **options):
    return Job(
        card="hpu 3", front_end="fleet", folder=str(folder), options=options, command="w2v fleet"
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(script, *, silence_s=30.0, **pins):
        monkeypatch.setattr(process, "WORKER", ("-c", PRELUDE + script))
        job = make_job(tmp_path)
        return run_job(job, Card(device="hpu", number=3, pins=pins), silence_s=silence_s)

    return run


def test_a_process_that_is_killed_says_by_what_and_where(run):
    script = tell(stage="timed rounds") + "os.kill(os.getpid(), signal.SIGKILL)"

    assert run(script).problem == "was killed by SIGKILL in 'timed rounds'"


def test_one_that_hangs_is_killed_after_its_silence(run):
    started_s = time.perf_counter()
    found = run(tell(stage="warm-up") + "time.sleep(600)", silence_s=1.0)

    assert "gave no sign of life for 1 s in 'warm-up' and was killed" in found.problem
    assert time.perf_counter() - started_s < 60


def test_one_that_was_stopped_is_killed_as_well_and_says_where(run, tmp_path):
    script = "import faulthandler; faulthandler.register(signal.SIGUSR1);" + tell(stage="d2h")
    found = run(script + "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(600)", silence_s=1.0)

    assert "no sign of life" in found.problem
    assert 'File "<string>", line 1 in <module>' in (tmp_path / "output.log").read_text()


def test_signs_of_life_keep_it_alive(run):
    script = "[(print(), sys.stdout.flush(), time.sleep(0.3)) for _ in range(8)]"

    assert run(script, silence_s=1.5).problem == ""


def test_what_it_says_itself_is_a_refusal(run):
    found = run(tell(error="the Gaudi card cannot be acquired (busy)") + "sys.exit(3)")

    assert (found.problem, found.refused) == ("the Gaudi card cannot be acquired (busy)", True)


def test_one_that_crashes_points_to_its_log(run, tmp_path):
    found = run("raise ZeroDivisionError('in the driver')")

    assert found.problem == "ended with status 1 in 'starting'; see output.log"
    assert not found.refused
    assert "ZeroDivisionError: in the driver" in (tmp_path / "output.log").read_text()


def test_one_that_ends_before_it_reads_its_job_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "WORKER", ("-c", "raise SystemExit(7)"))
    job = make_job(tmp_path, x="y" * 2**20)
    found = run_job(job, Card(device="hpu", number=3), silence_s=30.0)

    assert found.problem == "ended with status 7 in 'starting'; see output.log"


def test_one_that_cannot_be_started_says_why(tmp_path):
    """A full disk, or no more files or processes: the other cards may have what they need."""
    (tmp_path / "cards").write_text("in the way")
    found = run_job(
        make_job(tmp_path / "cards" / "1"), Card(device="cpu", number=0), silence_s=30.0
    )

    assert found.problem.startswith("could not be started: Not a directory")


def test_the_kernels_want_of_memory_is_told(run, monkeypatch):
    kills = iter([4, 5])
    monkeypatch.setattr(process, "_oom_kills", lambda: next(kills))
    found = run("os.kill(os.getpid(), signal.SIGKILL)")

    assert "for want of memory" in found.problem


def test_it_sees_its_card_and_no_other(run, tmp_path):
    seen = tmp_path / "seen"
    run(
        f"open({str(seen)!r}, 'w').write(os.environ['HABANA_VISIBLE_MODULES'])",
        HABANA_VISIBLE_MODULES="3",
    )

    assert seen.read_text() == "3"


def test_a_worker_ends_with_whoever_started_it():
    """A card must not stay taken by an orphan."""
    job = make_job()
    script = (
        "import time, w2v_core.fleet.worker as w; w.work = lambda *_: time.sleep(600); w.main()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    worker.stdin.write(job.to_json().encode() + b"\n")
    worker.stdin.flush()
    assert worker.poll() is None
    worker.stdin.close()

    assert worker.wait(timeout=60) == 4


def test_a_worker_that_hangs_says_where_when_it_is_asked(tmp_path):
    script = "import w2v_core.fleet.worker as w; w.work = lambda *_: w.time.sleep(600); w.main()"
    job = make_job()
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        worker.stdin.write(job.to_json().encode() + b"\n")
        worker.stdin.flush()
        deadline_s = time.perf_counter() + 60
        while not (tmp_path / "log").stat().st_size and time.perf_counter() < deadline_s:
            time.sleep(0.5)
            if _catches_usr1(worker.pid):
                worker.send_signal(signal.SIGUSR1)
        worker.kill()
        worker.wait()
        worker.stdin.close()

    assert "in main" in (tmp_path / "log").read_text()


def _catches_usr1(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)
