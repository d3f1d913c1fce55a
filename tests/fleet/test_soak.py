"""A soak's passes: written one by one, read after a kill, judged, and gone on with."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.fleet.test_commands_fleet import said
from w2v_core.cli import main
from w2v_core.errors import RecordError
from w2v_core.fleet import process
from w2v_core.fleet.frames import Disagreement, write_frames
from w2v_core.fleet.passes import PASSES, CellPass, Pass, append_pass, drop_cut_off, read_passes
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.soak_verdict import CardSoak, judge_soak
from w2v_core.types import Hypothesis, Transcription

CELL = "canary_base-float32-canary_speech-nographs-exact"
HOST = (
    *("soak", "--models", "canary-base", "--dtypes", "float32", "--datasets", "canary-speech"),
    *("--device", "cpu", "--graphs", "off", "--limit", "1", "--cards", "2"),
)


def a_pass(number, *, process="p1", wrong=(), levels=None, **of_cell):
    cell = CellPass(cell=CELL, wall_s=1.0, audio_s=500.0, wrong=wrong, num_wrong=len(wrong))
    return Pass(
        number=number,
        process=process,
        at_utc=f"2026-11-26T06:00:{number % 60:02d}Z",
        wall_s=1.0,
        batches=10 * number,
        levels={"host_bytes": 10**8, "descriptors": 5, "threads": 2, **(levels or {})},
        cells=(replace(cell, **of_cell),),
    )


def flipped(card="cpu 0"):
    return Disagreement(card=card, utterance_id="b", frame=7, own=5, others=4, num_frames=1)


def card_of(name, passes, ids=(1, 2, 3), **more):
    frames = {CELL: {"b": np.array(ids, np.int32)}}
    return CardSoak(card=name, passes=tuple(passes), frames=frames, software="same", **more)


def verdicts(*cards):
    judged, _ = judge_soak(cards)
    return {(c.card, c.cell): c.verdict for c in judged}


def test_a_pass_is_a_line_and_what_a_kill_left_of_one_is_dropped(tmp_path):
    path = tmp_path / PASSES
    one, two = a_pass(1, wrong=(flipped(),)), a_pass(2)
    append_pass(path, one)
    append_pass(path, two)
    with path.open("ab") as file:
        file.write(json.dumps(asdict(a_pass(3))).encode()[:-20])

    assert read_passes(path) == [one, two]
    drop_cut_off(path)
    append_pass(path, a_pass(3))
    assert [p.number for p in read_passes(path)] == [1, 2, 3]


@pytest.mark.parametrize("length", [0, 1, 30])
def test_a_first_line_that_was_cut_off_leaves_no_pass(tmp_path, length):
    path = tmp_path / PASSES
    path.write_bytes(json.dumps(asdict(a_pass(1))).encode()[:length])
    drop_cut_off(path)

    assert read_passes(path) == []
    assert path.read_bytes() == b""


def test_a_whole_line_that_is_no_pass_is_named(tmp_path):
    path = tmp_path / PASSES
    append_pass(path, a_pass(1))
    with path.open("ab") as file:
        file.write(b'{"number": "two"}\n')

    with pytest.raises(RecordError, match=r"passes.jsonl line 2: number is .two."):
        read_passes(path)


def test_equal_passes_are_clean():
    assert {v.verdict for v in verdicts(card_of("cpu 0", map(a_pass, range(1, 31)))).values()} == {
        "PASS"
    }


def test_a_pass_that_differs_is_located():
    passes = [a_pass(n, wrong=(flipped(),) if n == 17 else ()) for n in range(1, 31)]
    found = verdicts(card_of("cpu 0", passes), card_of("cpu 1", map(a_pass, range(1, 31))))

    assert found["cpu 1", CELL].verdict == "PASS"
    (reason,) = found["cpu 0", CELL].reasons
    assert "1 of 30 passes" in reason
    assert "pass 17 on: b frame 7: id 5, the first pass's 4" in reason


def test_a_card_that_is_wrong_from_the_first_pass_on_is_found_by_the_others():
    passes = list(map(a_pass, range(1, 31)))
    cards = [card_of(f"cpu {n}", passes, ids=(1, 9, 3) if n == 1 else (1, 2, 3)) for n in range(3)]
    found = verdicts(*cards)

    assert [found[f"cpu {n}", CELL].verdict for n in range(3)] == ["PASS", "FAIL", "PASS"]
    assert "b frame 1: id 9, the others' 2" in found["cpu 1", CELL].reasons[0]


def test_two_cards_that_differ_from_the_first_pass_on_have_no_majority():
    passes = list(map(a_pass, range(1, 31)))
    found = verdicts(card_of("cpu 0", passes), card_of("cpu 1", passes, ids=(1, 9, 3)))

    assert found["cpu 0", CELL].verdict == found["cpu 1", CELL].verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("passes", "says"),
    [
        (
            [a_pass(n, num_failed=int(n == 9), failed=("b in d2h: x",)) for n in range(1, 31)],
            "pass 9: 1",
        ),
        ([a_pass(n, wall_s=1.0 + (n > 20)) for n in range(1, 31)], "at 0.500 of the first"),
        (
            [
                a_pass(n, wall_s=1.0 + (n > 20), temperature_c=60.0 + 30 * (n > 20), power_w=300.0)
                for n in range(1, 31)
            ],
            "60 C before, 90 C then; 300 W before",
        ),
    ],
)
def test_what_else_differs_is_told_with_its_pass(passes, says):
    found = verdicts(card_of("cpu 0", passes))[("cpu 0", CELL)]

    assert found.verdict == "FAIL"
    assert says in found.reasons[0]


@pytest.mark.parametrize("level", ["host_bytes", "descriptors", "threads", "graphs"])
def test_a_level_that_grows_is_named_with_its_slope(level):
    passes = [a_pass(n, levels={level: 100 + 30_000 * n}) for n in range(1, 31)]
    found = verdicts(card_of("cpu 0", passes))["cpu 0", "process"]

    assert found.verdict == "FAIL"
    assert f"{level} grows by 3000" in found.reasons[0]


def test_a_growth_that_starts_anew_with_each_process_is_judged_within_it():
    """What was lost with a process is no level of the next one."""
    passes = [
        a_pass(n, process=f"p{n // 20}", levels={"host_bytes": 10**8 * (1 + n // 20)})
        for n in range(1, 220)
    ]

    assert verdicts(card_of("cpu 0", passes))["cpu 0", "process"].verdict == "PASS"


@pytest.mark.parametrize(("count", "what"), [(19, "process"), (1, CELL)])
def test_too_few_passes_say_nothing(count, what):
    found = verdicts(card_of("cpu 0", map(a_pass, range(1, count + 1))))

    assert found["cpu 0", what].verdict == "INCONCLUSIVE"


def test_a_process_that_was_lost_is_told():
    card = card_of("cpu 0", map(a_pass, range(1, 31)), problems=("was killed by SIGSEGV",))

    assert "its process was killed by SIGSEGV" in verdicts(card)["cpu 0", "process"].reasons[0]


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
        (("--hours", "0"), "--hours is 0.0; it must be above 0"),
        (("--hours", "nan"), "--hours is nan"),
        (("--passes", "20", "--cards", "9"), "--cards 9"),
    ],
)
def test_wrong_usage_is_told_before_a_card_is_asked(capsys, tmp_path, jobs, options, says):
    code, err = said(capsys, *HOST, *options, "--reports-dir", str(tmp_path))

    assert (code, jobs) == (2, [])
    assert says in err


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
