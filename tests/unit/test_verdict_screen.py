"""Which runs become a baseline: the odd ones are left out and named, the doubtful need a word."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, START, make_run, write_run
from w2v_core.cli import main
from w2v_core.errors import ConfigError
from w2v_core.records.store import Session, StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.baseline import load_baseline
from w2v_core.verdict.judge import judge

MANY = tuple(f"m{i}-float32-test_clean-graphs-exact" for i in range(8))


def good(count=7, **changes):
    return [
        StoredRun(source=f"run-{i}", records=make_run(i, sd=0.005, **changes)) for i in range(count)
    ]


def replaced(runs, **changes):
    return [*runs[:-1], replace(runs[-1], **changes)]


def slower(run, share, cells=None):
    return tuple(
        replace(r, rounds_s=tuple(t / (1 - share) for t in r.rounds_s), rtfx=r.rtfx * (1 - share))
        if cells is None or r.cell in cells
        else r
        for r in run.records
    )


ODD = {
    "red": (lambda r: {"session": Session(outcomes={CELLS[0]: "failed"})}, "was failed"),
    "interrupted-session": (lambda r: {"session": Session(exit_status=2)}, "exit status 2"),
    "invalid": (
        lambda r: {
            "records": tuple(replace(x, valid=False, invalid_reasons=("p",)) for x in r.records)
        },
        "was not valid: p",
    ),
    "lacks-a-cell": (lambda r: {"records": r.records[1:]}, "incomplete: it lacks"),
    "a-third-of-the-speed": (lambda r: {"records": slower(r, 0.667)}, "outlying: 67 % slower"),
    "cold-by-seven-percent": (lambda r: {"records": slower(r, 0.07)}, "outlying: 7"),
    "one-cell-far-out": (
        lambda r: {"records": slower(r, 0.3, CELLS[1:2])},
        f"outlying: 30 % slower than the other runs in {CELLS[1]}",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_run_is_left_out_and_named(case):
    """Six good runs and an odd one: a baseline of six, whose approval says why."""
    bend, said = ODD[case]
    runs = good()
    last = approve(replaced(runs, **bend(runs[-1]))).approvals[-1]

    assert len(last.run_ids) == 6
    assert last.notes[0].startswith("left out: run-6: ")
    assert said in last.notes[0]


def test_usual_runs_are_all_kept():
    """Nothing is left out of runs that vary as runs do, few cells or many."""
    for seed in range(20):
        for cells in (MANY[:1], MANY):
            runs = [
                StoredRun(source=str(i), records=make_run(i, sd=0.01, seed=seed, cells=cells))
                for i in range(8)
            ]
            assert approve(runs).approvals[-1].notes == ()


def test_a_real_loss_is_red_although_a_night_of_the_baseline_was_a_third_as_fast():
    """-58 % against a baseline whose worst night was handed in too: FAIL, not INCONCLUSIVE."""
    runs = good()
    known = approve(replaced(runs, records=slower(runs[-1], 0.667)))
    tonight = slower(StoredRun(source="", records=make_run(9, sd=0.005)), 0.58)
    result = judge(tonight, known, now=START + timedelta(days=9, hours=1))

    assert result.verdict == "FAIL"


def test_a_run_that_was_interrupted_is_left_out_of_a_whole_release(tmp_path):
    """``approve reports/REL/*`` after an incident: the directory that is marked is named."""
    paths = [write_run(tmp_path / f"run-{i}", make_run(i, sd=0.005)) for i in range(6)]
    (paths[2] / "INCOMPLETE").touch()
    approved, _ = approve_runs(paths, tmp_path / "b.json")

    assert "run-2 is marked incomplete" in approved.approvals[-1].notes[0]
    assert len(approved.approvals[-1].run_ids) == 5


def test_what_is_left_has_to_be_enough():
    """Five runs of which one is odd are four, and the refusal names the odd one."""
    runs = good(5)

    with pytest.raises(ConfigError, match=r"has 4 runs.*left out: run-4: outlying"):
        approve(replaced(runs, records=slower(runs[-1], 0.5)))


DOUBTFUL = {
    "releases": (lambda r: replace(r, release="1.25.0"), "mixed", "mixed release"),
    "commits": (
        lambda r: replace(r, environment={**ENVIRONMENT, "commit": "feed"}),
        "mixed",
        "mixed commit (0123456789ab, feed)",
    ),
    "transformers": (
        lambda r: replace(r, environment={**ENVIRONMENT, "transformers": "5"}),
        "mixed",
        "mixed transformers",
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_mixed_runs_need_a_word(case):
    """Refused with any other reason; approved, and remembered, with the word in it."""
    bend, word, said = DOUBTFUL[case]
    runs = good()
    mixed = replaced(runs, records=tuple(map(bend, runs[-1].records)))

    with pytest.raises(ConfigError, match=f"say '{word}' in reason"):
        approve(mixed, reason="first baseline")
    approved = approve(mixed, reason="Mixed on purpose: the change is in a comment")
    assert said in approved.approvals[-1].notes[-1]


@pytest.mark.parametrize(("minutes", "is_refused"), [(11, True), (13, False)])
def test_runs_of_one_sitting_need_a_word(minutes, is_refused):
    """Six runs, the last within an hour of the first, say nothing about how days differ."""
    runs = [
        replace(
            run,
            records=tuple(
                replace(
                    r,
                    created_utc=f"{START + timedelta(minutes=i * minutes):%Y-%m-%dT%H:%M:%SZ}",
                    run_id=f"{START:%Y%m%dT%H%M%SZ}-{i}",
                )
                for r in run.records
            ),
        )
        for i, run in enumerate(good(6))
    ]
    if is_refused:
        with pytest.raises(ConfigError, match=r"within 55 minutes.*say 'one sitting'"):
            approve(runs, reason="first")
    assert approve(runs, reason="one sitting, a new host").approvals


def test_a_third_left_out_for_its_speed_needs_a_word():
    """Three of eight outlying: not a baseline of the five fast ones without a word."""
    runs = good(8)
    bent = [
        *runs[:5],
        *(replace(r, records=slower(r, 0.3 + i / 10)) for i, r in enumerate(runs[5:])),
    ]

    with pytest.raises(ConfigError, match=r"3 of 8 sound runs.*say 'left out'"):
        approve(bent, reason="quick")
    assert approve(bent, reason="left out: a neighbour's job").approvals


def test_notes_survive_the_file_and_their_loss_is_found(tmp_path):
    """What was left out is signed like the rest of the approval."""
    paths = [write_run(tmp_path / f"run-{i}", make_run(i, sd=0.005)) for i in range(6)]
    (paths[0] / "INCOMPLETE").touch()
    approved, file = approve_runs(paths, tmp_path / "b.json")

    assert load_baseline(file).approvals == approved.approvals
    without = replace(approved.approvals[-1], notes=())
    assert without.signature != approved.signature


def test_show_prints_what_stands_and_what_it_finds(tmp_path, capsys):
    """Cells, approvals with reasons and notes, and the power in figures; --json the same."""
    paths = [write_run(tmp_path / f"run-{i}", make_run(i, sd=0.002)) for i in range(6)]
    (paths[0] / "INCOMPLETE").touch()
    file = tmp_path / "b.json"
    arguments = ["--baseline", str(file)]
    words = ["--reason", "first of firmware 7", "--by", "me"]
    assert main(["baseline", "approve", *map(str, paths), *arguments, *words]) == 0
    assert "-3 % found with " in capsys.readouterr().out

    assert main(["baseline", "show", *arguments]) == 0
    told = capsys.readouterr().out
    assert main(["baseline", "show", *arguments, "--json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)

    assert all(cell in told for cell in CELLS)
    assert "approved by me, 5 runs: first of firmware 7" in told
    assert "left out: " in told
    assert "run-0 is marked incomplete" in told
    assert "power, one run a night" in told
    assert [len(rows) for rows in data["cells"].values()] == [5, 5, 5]
    assert data["approvals"][0]["reason"] == "first of firmware 7"


def test_show_without_a_baseline_is_unusable(tmp_path, capsys):
    """Neither a file that is not there nor an empty directory is a baseline."""
    assert main(["baseline", "show", "--baseline", str(tmp_path)]) == 3
    assert main(["baseline", "show", "--baseline", str(tmp_path / "b.json")]) == 3
    assert "baseline" in capsys.readouterr().err
