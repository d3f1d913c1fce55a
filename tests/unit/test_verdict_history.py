"""The history: nothing lost, nothing torn, nothing changed behind its back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.history import verify
from tests.helpers.records import CELLS, make_record, make_run
from w2v_core.errors import RecordError
from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.history import History
from w2v_core.records.history_table import Night

RECORD = make_record()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.sqlite"


def test_what_was_appended_is_read_back(path):
    """Records come back whole, oldest first, whatever the order of appending."""
    later, earlier = make_run(5), make_run(3)
    with History(path) as history:
        assert history.append(later) == 3
        assert history.append(earlier) == 3
    with History(path) as history:
        assert history.records(cell=CELLS[1]) == [earlier[1], later[1]]
        assert verify(path) == 6


def test_the_same_record_twice_is_one(path):
    """A run that is filed again changes nothing; another record of its name is refused."""
    with History(path) as history:
        history.append([RECORD])

        assert history.append([RECORD]) == 0
        with pytest.raises(RecordError, match="append-only"):
            history.append([replace(RECORD, rtfx=1.0)])
        assert verify(path) == 1


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "file::memory:"])
def test_a_name_that_means_memory_to_sqlite_is_a_file(name, tmp_path, monkeypatch):
    """A history in memory is lost when its run is over."""
    monkeypatch.chdir(tmp_path)
    with History(Path(name)) as history:
        history.append([make_record()])

    with History.reading(Path(name)) as history:
        assert len(history.query()) == 1


def test_a_refused_batch_leaves_nothing_behind(path):
    """A transaction is whole: the records before the refused one are not kept either."""
    other = make_record(run=1)
    with History(path) as history:
        history.append([RECORD])
        with pytest.raises(RecordError):
            history.append([other, replace(RECORD, rtfx=1.0)])

        assert verify(path) == 1


def test_the_table_has_a_row_a_record(path):
    """The query gives typed columns, filtered and cut to the newest."""
    with History(path) as history:
        for night in range(4):
            history.append(make_run(night, release="1.23" if night < 2 else "1.24"))
        table = history.query(cell=CELLS[0], release="1.24")
        newest = history.query(last=3)

    assert table["created_utc"].dt.day.tolist() == [3, 4]
    assert table["valid"].dtype == bool
    assert table["rtfx"].dtype == float
    assert set(newest["cell"]) == set(CELLS)


def test_a_record_without_wer_is_kept(path):
    """WER is unknown where there are no references; the column says so."""
    with History(path) as history:
        history.append([replace(RECORD, wer=None, scores=())])

        assert history.query()["wer"].isna().tolist() == [True]


def test_drift_sees_valid_runs_of_its_card_only(path):
    """Invalid and simulated runs, and those of another card, are no nights."""
    good = make_record(run=1)
    with History(path) as history:
        history.append(
            [
                good,
                make_record(run=2, valid=False),
                make_record(run=3, device_name="simulated"),
                make_record(run=4, environment={**RECORD.environment, "driver": "other"}),
            ]
        )
        nights = history.nights(fingerprint_key(good.environment))

    assert nights == {good.cell: [Night.of(good)]}


@pytest.mark.parametrize("verb", ["UPDATE records SET rtfx = 1", "DELETE FROM payloads"])
def test_the_file_itself_refuses_changes(path, verb):
    """Any SQLite client is refused by the file's own triggers."""
    with History(path) as history:
        history.append([RECORD])
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(verb)
    connection.close()


@pytest.mark.parametrize(
    "forgery",
    [
        pytest.param("UPDATE records SET rtfx = 99 WHERE id = 2", id="column"),
        pytest.param("UPDATE payloads SET record = zeroblob(10) WHERE id = 2", id="record"),
        pytest.param("UPDATE payloads SET sha256 = 'x' WHERE id = 2", id="checksum"),
        pytest.param("DELETE FROM payloads WHERE id = 2", id="payload-taken-out"),
        pytest.param(
            "DELETE FROM payloads WHERE id = 3; DELETE FROM records WHERE id = 3", id="last"
        ),
    ],
)
def test_a_forgery_without_the_triggers_is_found(path, forgery):
    """Whoever drops the triggers first is found by the chain."""
    with History(path) as history:
        history.append(make_run(0))
    connection = sqlite3.connect(path)
    names = [
        r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
    ]
    for name in names:
        connection.execute(f"DROP TRIGGER {name}")
    connection.executescript(forgery)
    connection.close()
    with pytest.raises((AssertionError, zlib.error)):
        verify(path)


def test_files_that_are_no_history_are_refused(tmp_path):
    """Another SQLite file, a newer schema and plain text are told apart from a history."""
    text, other, newer = (tmp_path / name for name in ("text", "other", "newer"))
    text.write_text("not a database, but long enough to have a header of sixteen bytes")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    History(newer).close()
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    for path, said in ((text, "not a database"), (other, "no history"), (newer, "schema 99")):
        with pytest.raises(RecordError, match=said):
            History(path)


def test_a_writer_waits_for_another_one(path):
    """An append that finds the file locked is done after the other's commit, on top of it."""
    History(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE something (x)")
    with ThreadPoolExecutor(1) as pool:
        appended = pool.submit(write_many, path, 0, 1)
        time.sleep(0.1)
        assert not appended.done()
        other.execute("COMMIT")
        appended.result()
    other.close()

    assert verify(path) == 1


def write_many(path: Path, writer: int, count: int) -> None:
    with History(path) as history:
        for i in range(count):
            history.append([replace(RECORD, run_id=f"{writer}-{i}")])


def write_from_processes(path, *, writers, count, kills=0):
    """Append from processes while others are killed; return those kills' acknowledged ids."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(path, w, count)) for w in range(writers)]
    for process in processes:
        process.start()
    acknowledged = {i for k in range(kills) for i in append_until_killed(path, f"killed{k}")}
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * writers
    written = {f"{w}-{i}" for w in range(writers) for i in range(count)}
    with History(path) as history:
        found = set(history.query()["run_id"])
        assert verify(path) == len(found)
    assert written | acknowledged <= found


def test_concurrent_writers_lose_nothing(path):
    """Two processes append 20 records each: all 40 are there, whole, and chained."""
    write_from_processes(path, writers=2, count=20)


@pytest.mark.slow
def test_eight_concurrent_writers_and_five_kills_lose_nothing(path):
    """Eight processes append 1,000 records each while five others are killed at it."""
    write_from_processes(path, writers=8, count=1000, kills=5)


@pytest.mark.slow
def test_ten_thousand_runs_are_queried_within_a_second(path):
    """The table of 10,000 runs, by the processor's clock."""
    with History(path) as history:
        for start in range(0, 10_000, 500):
            history.append([replace(RECORD, run_id=str(start + i)) for i in range(500)])
        started = time.process_time()
        table = history.query(cell=RECORD.cell)
        took_s = time.process_time() - started

    assert len(table) == 10_000
    assert took_s < 1.0


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.helpers.records import make_record
from w2v_core.records.history import History
from w2v_core.records.history_table import Night
record = make_record()
with History(Path(sys.argv[1])) as history:
    for i in range(10**6):
        history.append([replace(record, run_id=f"{sys.argv[2]}-{i}")])
        sys.stdout.write(f"{sys.argv[2]}-{i}\\n")
        sys.stdout.flush()
"""


def append_until_killed(path, name):
    """Kill a writer in the middle of appending; return the ids it had acknowledged."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    acknowledged = [process.stdout.readline().strip() for _ in range(5)]
    time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    return acknowledged


def test_a_killed_writer_loses_nothing_that_it_had_appended(path):
    """kill -9 in the middle of appending: every acknowledged record is there, none is torn."""
    acknowledged = append_until_killed(path, "killed")

    with History(path) as history:
        assert history.append([make_record(run=9)]) == 1
        assert set(acknowledged) <= set(history.query()["run_id"])
        assert verify(path) > len(acknowledged)
