"""Several processes at once: approvals, runs of one second, a history in a folder to be read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.records import make_run, make_scores, write_run
from w2v_core.errors import RecordError, ReportError
from w2v_core.records.history import History
from w2v_core.records.store import locked, new_run_id, reserve
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.baseline import load_baseline
from w2v_core.verdict.commands import gate_runs

ROOT = Path(__file__).resolve().parents[2]
SCORES = make_scores(utterances=4, words=5, speakers=2)


def nights(folder, count, **changes):
    made = (make_run(i, scores=SCORES, **changes) for i in range(count))
    return [write_run(folder / f"run-{i}", night) for i, night in enumerate(made)]


def test_of_four_approvals_at_once_none_is_lost(tmp_path):
    """Each process exits with 0 and its approval is in the file, chained to the one before."""
    runs, baseline = nights(tmp_path, 5), tmp_path / "baselines" / "b.json"
    command = [sys.executable, "-m", "w2v_core.cli", "baseline", "approve", *runs]
    started = [
        subprocess.Popen(
            [*command, "--baseline", baseline, "--reason", f"reason {i}", "--by", "somebody"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        for i in range(4)
    ]

    assert [process.wait(timeout=120) for process in started] == [0] * 4
    told = {approval.reason for approval in load_baseline(baseline).approvals}
    assert told == {f"reason {i}" for i in range(4)}
    assert [path.name for path in baseline.parent.iterdir()] == ["b.json"]


def test_a_lock_is_one_at_a_time_and_leaves_nothing(tmp_path):
    """Processes that count one up under the lock lose no count."""
    code = (
        "import sys; from pathlib import Path; from w2v_core.records.store import locked\n"
        "path = Path(sys.argv[1])\n"
        "for _ in range(50):\n"
        "    with locked(path):\n"
        "        path.write_text(str(int(path.read_text()) + 1))\n"
    )
    counter = tmp_path / "counter"
    counter.write_text("0")
    started = [subprocess.Popen([sys.executable, "-c", code, counter], cwd=ROOT) for _ in range(4)]

    assert [process.wait(timeout=120) for process in started] == [0] * 4
    assert counter.read_text() == "200"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_a_lock_is_let_go_when_what_it_guards_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "x"):
        raise ZeroDivisionError
    with locked(tmp_path / "x"):
        pass


def test_runs_of_one_second_have_names_and_directories_of_their_own(tmp_path):
    from datetime import datetime, timezone

    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    names = {new_run_id(now, device="hpu", commit="abc+") for _ in range(4)}

    assert len({reserve(tmp_path, release="1.24", run_id=name) for name in names}) == len(names)
    assert all(name.startswith("20260101T000000Z-hpu-abc-") for name in names)


@pytest.fixture
def kept(tmp_path):
    """Five runs, their baseline, and a history with one more; then nobody may write there."""
    runs = nights(tmp_path, 7)
    _, baseline = approve_runs(runs[:5], tmp_path / "b.json")
    folder = tmp_path / "kept"
    folder.mkdir()
    with History(folder / "h.sqlite") as history:
        history.append(make_run(5, scores=SCORES))
    for path in (folder / "h.sqlite", folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield runs[6], baseline, folder / "h.sqlite"
    folder.chmod(0o755)


def test_a_history_in_a_read_only_folder_is_judged_over(kept):
    run, baseline, history = kept
    found = gate_runs([run], baseline, history=history, max_age=None)

    assert "drift" in found.by_kind
    assert [path.name for path in history.parent.iterdir()] == ["h.sqlite"]


def test_commits_that_another_process_has_not_folded_in_are_read(tmp_path):
    """The write-ahead log is part of the history, also for a reader that may not write."""
    path = tmp_path / "h.sqlite"
    with History(path) as writer:
        writer.append(make_run(0, scores=SCORES))
        assert (tmp_path / "h.sqlite-wal").stat().st_size > 0
        with History.reading(path) as reader:
            assert len(reader.records()) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_history_that_cannot_be_written_is_found_before_measuring(kept):
    with pytest.raises((RecordError, ReportError)):
        History.check_writable(kept[2])


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\x00" + b"\x00" * 200])
def test_a_file_that_is_no_history_is_found_before_measuring(tmp_path, content):
    path = tmp_path / "h.sqlite"
    path.write_bytes(content)

    with pytest.raises(RecordError, match=r"h\.sqlite"):
        History.check_writable(path)
    assert path.read_bytes() == content


def test_a_history_below_a_file_is_found_before_measuring(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ReportError, match="give another history"):
        History.check_writable(tmp_path / "file" / "h.sqlite")


def test_a_history_that_can_be_written_is_not_made_by_looking(tmp_path):
    History.check_writable(tmp_path / "new" / "h.sqlite")

    assert list((tmp_path / "new").iterdir()) == []
