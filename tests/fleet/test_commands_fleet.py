"""``w2v fleet``: bad input is one clear error; what the cards leave becomes files and a code."""

import fcntl
import json
import os
import select
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fleet.test_cards_judged import wrong_at
from tests.helpers.records import make_record
from w2v_core.cli import main
from w2v_core.fleet import process
from w2v_core.fleet.process import Outcome

CELL = ("--models", "canary-base", "--dtypes", "float32", "--datasets", "canary-speech")
HOST = ("fleet", *CELL, "--device", "cpu", "--limit", "3")


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """Cards that answer at once; returns the jobs that they were given."""
    given = []

    def run_job(job, card, *, silence_s, stop=None):
        given.append((job, card, silence_s))
        record = make_record(rtfx=1000.0 + len(given), run_id=f"r{len(given)}")
        return Outcome(
            card=job.card,
            folder=Path(job.folder),
            records={record.cell: record},
            frames={record.cell: wrong_at(0, 0)},
            share=job.share,
        )

    monkeypatch.setattr(process, "run_job", run_job)
    monkeypatch.setattr("w2v_core.fleet.cards.os.sched_getaffinity", lambda _: set(range(4)))
    return given


def said(capsys, *arguments):
    code = main([*arguments])
    return code, capsys.readouterr().err


def test_more_cards_than_there_are_is_an_error_that_says_how_many(capsys, tmp_path, jobs):
    code, err = said(capsys, *HOST, "--cards", "9", "--reports-dir", str(tmp_path))

    assert (code, jobs) == (3, [])
    assert "--cards 9: 9 processes on 4 usable cores" in err


def test_fewer_utterances_than_cards_cannot_be_shared(capsys, tmp_path, jobs):
    line = (*HOST, "--cards", "4", "--way", "shard", "--reports-dir", str(tmp_path))
    code, err = said(capsys, *line)

    assert (code, jobs) == (3, [])
    assert "canary-speech has 3 utterances for 4 cards to share; use at most --cards 3" in err
    assert not list(tmp_path.glob("dev/*")), "a run of which nothing was measured"


def test_a_second_fleet_on_a_reports_directory_is_refused_by_the_first_ones_name(
    capsys, tmp_path, jobs
):
    with (tmp_path / ".fleet.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("process 4711 of gaudi-1")
        file.flush()
        code, err = said(capsys, *HOST, "--cards", "2", "--reports-dir", str(tmp_path))

    assert (code, jobs) == (3, [])
    assert "another fleet (process 4711 of gaudi-1) writes to" in err
    assert "use --reports-dir DIR to give another" in err


def test_the_lock_goes_with_its_fleet(capsys, tmp_path, jobs):
    line = (*HOST, "--cards", "2", "--reports-dir", str(tmp_path))

    assert [main([*line]), main([*line])] == [2, 2]  # two cards alone decide nothing


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--models", "bas"), "unknown model 'bas'"),
        (("--way", "all"), "invalid choice"),
        (("--runs", "0"), "--runs is 0"),
        (("--datasets", "nowhere"), "unknown dataset"),
    ],
)
def test_what_cannot_be_meant_is_told_before_a_card_is_asked(capsys, tmp_path, jobs, option, says):
    try:
        code, err = said(capsys, *HOST, *option, "--reports-dir", str(tmp_path))
    except SystemExit as end:
        code, err = end.code, capsys.readouterr().err

    assert (code, jobs) == (3, [])
    assert says in err


def test_each_card_gets_its_job_with_the_one_decoded_set(capsys, tmp_path, jobs):
    line = (*HOST, "--cards", "4", "--runs", "2", "--timeout", "77", "--reports-dir", str(tmp_path))
    main([*line])

    assert len(jobs) == 8
    assert {silence_s for *_, silence_s in jobs} == {77.0}
    assert sorted({card.cpus for _, card, _ in jobs}) == [(0,), (1,), (2,), (3,)]
    ((name, path),) = {next(iter(job.corpora.items())) for job, *_ in jobs}
    assert name == "canary-speech"
    assert not Path(path).exists()  # gone with the fleet
    (directory,) = tmp_path.glob("dev/*")
    assert not (directory / "INCOMPLETE").exists()
    found = json.loads((directory / "fleet.json").read_text())
    assert [row["runs"] for row in found["cells"]] == [2, 2, 2, 2]


def test_json_is_what_the_file_holds(capsys, tmp_path, jobs):
    main([*HOST, "--cards", "2", "--json", "--reports-dir", str(tmp_path)])
    (file,) = tmp_path.glob("dev/*/fleet.json")

    assert json.loads(capsys.readouterr().out) == json.loads(file.read_text())


def test_cards_that_all_fail_alike_leave_a_run_that_says_so(capsys, tmp_path, jobs, monkeypatch):
    good = process.run_job

    def fail(job, card, *, silence_s, stop=None):
        found = good(job, card, silence_s=silence_s)
        return replace(found, records={}, frames={}, problem="no such driver", refused=True)

    monkeypatch.setattr(process, "run_job", fail)
    code = main([*HOST, "--cards", "2", "--reports-dir", str(tmp_path)])

    assert code == 2
    assert capsys.readouterr().out.count("no such driver") >= 2


@pytest.fixture
def heard():
    """A session in a shell's background ignores Ctrl-C, and what is ignored stays so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_cards_processes_and_leaves_no_decoded_set(
    capsys, tmp_path, jobs, monkeypatch, number
):
    """A launcher, ``kill`` or a service manager sends it to the first process alone."""

    def stopped(job, card, *, silence_s, stop):
        if card.number == 0:
            os.kill(os.getpid(), number)
        ended, *_ = select.select([stop], [], [], 60)
        assert ended, "the card measures to its end"
        return Outcome(
            card=job.card, folder=Path(job.folder), records={}, frames={}, problem="was stopped"
        )

    monkeypatch.setattr(process, "run_job", stopped)
    code, err = said(capsys, *HOST, "--cards", "2", "--reports-dir", str(tmp_path))
    (directory,) = tmp_path.glob("dev/*")

    assert code == 130
    assert "w2v: interrupted" in err
    assert not list(directory.glob("corpus*"))
    assert (directory / "INCOMPLETE").exists()
