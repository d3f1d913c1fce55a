"""``w2v soak``: what cards leave becomes files and a code, and goes on; bad input is one error."""

import json
import os
import select
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.fleet.test_commands_fleet import said
from tests.fleet.test_soak import CELL, a_pass
from w2v_core.cli import main
from w2v_core.fleet import process
from w2v_core.fleet.frames import write_frames
from w2v_core.fleet.passes import PASSES, append_pass, read_passes
from w2v_core.fleet.process import Outcome
from w2v_core.types import Hypothesis, Transcription

HOST = (
    *("soak", "--models", "canary-base", "--dtypes", "float32", "--datasets", "canary-speech"),
    *("--device", "cpu", "--graphs", "off", "--limit", "1", "--cards", "2"),
)


@pytest.fixture
def jobs(monkeypatch):
    """Cards that soak at once, ten passes a process at most; returns the jobs that they got."""
    given = []

    def run_job(job, card, *, silence_s, stop=None):
        given.append(job)
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        ids = np.array([1, 2, 3], np.int32)
        first = Hypothesis(utterance_id="b", text="", num_frames=3, frame_ids=ids, latency_s=1.0)
        write_frames(folder / f"frames-{CELL}.npz", transcription(first))
        done = len(read_passes(folder / PASSES))
        last = min(done + 10, job.soak.passes or 30)
        for number in range(done + 1, last + 1):
            append_pass(folder / PASSES, a_pass(number, process=f"p{done}"))
        problem = "was killed by SIGKILL" if last < (job.soak.passes or 30) else ""
        return Outcome(card=job.card, folder=folder, records={}, frames={}, problem=problem)

    monkeypatch.setattr(process, "run_job", run_job)
    monkeypatch.setattr("w2v_core.fleet.cards.os.sched_getaffinity", lambda _: set(range(4)))
    return given


def transcription(*hypotheses):
    return Transcription(
        hypotheses=hypotheses,
        failures=(),
        wall_s=1.0,
        audio_s=1.0,
        padded_samples=1,
        real_samples=1,
        host_times=None,
    )


def left(tmp_path):
    (directory,) = tmp_path.glob("dev/*")
    return directory, json.loads((directory / "soak.json").read_text())


def test_a_lost_process_is_started_again_and_told(capsys, tmp_path, jobs):
    code = main([*HOST, "--passes", "30", "--reports-dir", str(tmp_path)])
    directory, found = left(tmp_path)

    assert code == 1
    assert [c["passes"] for c in found["cards"]] == [30, 30]
    assert found["cards"][0]["problems"] == ["was killed by SIGKILL"] * 2
    assert len(jobs) == 6
    assert "was killed by SIGKILL" in (directory / "summary.html").read_text()
    assert "soak.json" in (tmp_path / "index.html").read_text()
    assert not list(directory.glob("corpus*"))
    capsys.readouterr()
    again = len(jobs)
    assert main(["soak", "--resume", str(directory)]) == 1  # nothing is left to do
    assert len(jobs) == again
    assert main(["soak", "--resume", str(directory), "--passes", "40", "--json"]) == 1
    assert len(jobs) == again + 2
    assert {j.soak.passes for j in jobs[again:]} == {40}
    assert {json.dumps(j.options, sort_keys=True) for j in jobs} == {
        json.dumps(jobs[0].options, sort_keys=True)
    }
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cards"][0]["passes"] == 40


def test_sigterm_ends_it_with_its_page_and_the_command_that_goes_on(
    capsys, tmp_path, jobs, monkeypatch
):
    """As Ctrl-C does; a signal that comes before or behind it is none of its business."""
    run_job = process.run_job

    def stopped(job, card, *, silence_s, stop=None):
        done = run_job(job, card, silence_s=silence_s, stop=stop)
        if card.number == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        select.select([stop], [], [], 60)
        return replace(done, problem="was stopped in 'pass 11'")

    monkeypatch.setattr(process, "run_job", stopped)
    before = signal.getsignal(signal.SIGTERM)
    code, err = said(capsys, *HOST, "--passes", "30", "--reports-dir", str(tmp_path))
    directory, found = left(tmp_path)

    assert code == 130
    assert f"w2v: interrupted; w2v soak --resume {directory} goes on" in err
    assert (found["interrupted"], [c["problems"] for c in found["cards"]]) == (True, [[], []])
    assert not (directory / "INCOMPLETE").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_cards_that_made_no_pass_are_no_soak(capsys, tmp_path, jobs, monkeypatch):
    def refuse(job, card, *, silence_s, stop=None):
        folder = Path(job.folder)
        problem = "no such driver"
        return Outcome(
            card=job.card, folder=folder, records={}, frames={}, problem=problem, refused=True
        )

    monkeypatch.setattr(process, "run_job", refuse)
    code, err = said(capsys, *HOST, "--passes", "20", "--reports-dir", str(tmp_path))

    assert code == 3
    assert "no card made a pass; cpu 0: no such driver" in err


def test_hours_are_those_of_all_processes(tmp_path, jobs):
    code = main([*HOST, "--hours", "0.01", "--reports-dir", str(tmp_path)])

    assert code == 1
    assert [j.soak.seconds for j in jobs if j.card == "cpu 0"] == [36.0, 26.0, 16.0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "give --passes or --hours"),
        (("--passes", "30", "--hours", "1"), "give --passes or --hours"),
        (("--passes", "19"), "--passes is 19; levels are tested over 20"),
        (("--hours", "0"), "--hours is 0; it must be above 0"),
        (("--hours", "1e308"), "at most 100000"),
        (("--passes", "20", "--cards", "9"), "--cards 9"),
    ],
)
def test_wrong_usage_is_told_before_a_card_is_asked(capsys, tmp_path, jobs, options, says):
    code, err = said(capsys, *HOST, *options, "--reports-dir", str(tmp_path))

    assert (code, jobs) == (2, [])
    assert says in err


def test_a_set_that_cannot_be_read_leaves_no_soak(capsys, tmp_path, jobs):
    (tmp_path / "clips.jsonl").write_text('{"audio_filepath": "gone.wav", "text": "one"}\n')
    clips = ("--datasets", f"manifest:{tmp_path / 'clips.jsonl'}", "--passes", "20")
    code, err = said(capsys, *HOST, *clips, "--reports-dir", str(tmp_path / "reports"))

    assert (code, jobs) == (3, [])
    assert "gone.wav" in err
    assert not list(tmp_path.glob("reports/dev/*"))


def test_what_cannot_go_on_is_told(capsys, tmp_path, jobs):
    code, err = said(capsys, "soak", "--resume", str(tmp_path / "none"))
    assert (code, "soak.json" in err) == (3, True)
    main([*HOST, "--passes", "20", "--reports-dir", str(tmp_path)])
    directory, _ = left(tmp_path)
    count = len(jobs)

    code, err = said(capsys, "soak", "--resume", str(directory), "--limit", "2")
    assert (code, len(jobs)) == (2, count)
    assert "--limit with --resume" in err
    data = json.loads((directory / "soak.json").read_text())
    data["asked"]["cards"] = ["cpu 0"]
    (directory / "soak.json").write_text(json.dumps(data))
    code, err = said(capsys, "soak", "--resume", str(directory), "--passes", "40")
    assert (code, "the soak that is to go on ran on cpu 0" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("dtypes", 5, "dtypes is 5, which no --dtypes can be"),
        ("datasets", ["a"], "which no --datasets can be"),
        ("timeout", "long", "timeout is 'long', which no --timeout can be"),
        ("cards", 7, "cards is 7"),
        ("batch_size", -3, "--batch-size is -3"),
    ],
)
def test_a_soak_whose_file_was_edited_is_refused_by_what_stands_in_it(
    capsys, tmp_path, jobs, name, value, says
):
    main([*HOST, "--passes", "20", "--reports-dir", str(tmp_path)])
    directory, found = left(tmp_path)
    found["asked"]["options"][name] = value
    (directory / "soak.json").write_text(json.dumps(found))
    before = len(jobs)
    code, err = said(capsys, "soak", "--resume", str(directory))

    assert (code, len(jobs)) == (2 if value == -3 else 3, before)
    assert says in err
