"""Baselines: the rules of approval, and files that cannot be bent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, START, make_run, write_run
from w2v_core.errors import ConfigError, RecordError
from w2v_core.records.store import Session, StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.baseline import baseline_file, load_baseline, save_baseline


def runs(first=0, *, slowdown=0.0, count=5, **changes):
    return [
        StoredRun(source=f"run {i}", records=make_run(i, slowdown=slowdown, sd=0.001, **changes))
        for i in range(first, first + count)
    ]


def test_five_runs_are_a_baseline_and_four_are_not():
    """The least that says how much runs vary is five."""
    assert set(approve(runs()).cells) == set(CELLS)
    with pytest.raises(ConfigError, match="has 4 runs"):
        approve(runs(count=4))


def test_a_slower_baseline_needs_a_reason_and_keeps_it():
    """Getting worse is refused without a reason; with one, it is written down for ever."""
    first = approve(runs())
    with pytest.raises(ConfigError, match="slower"):
        approve(runs(10, slowdown=0.05), previous=first)

    second = approve(runs(10, slowdown=0.05), previous=first, reason="new firmware")
    third = approve(runs(20), previous=second)

    assert [a.reason for a in third.approvals] == [
        "first baseline",
        "new firmware",
        "no cell got worse",
    ]
    assert "slower by 4.9 %" in third.approvals[1].worse[0]


def test_a_reason_of_blanks_is_none():
    """Spaces do not explain anything."""
    with pytest.raises(ConfigError, match="give reason"):
        approve(runs(10, slowdown=0.05), previous=approve(runs()), reason="  ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda r: r.records[1:], "is gone", id="vanished-cell"),
        pytest.param(
            lambda r: tuple(
                replace(
                    x,
                    wer=5 / 120,
                    substitutions=5,
                    scores=(
                        replace(
                            x.scores[0],
                            substitutions=3,
                            hypothesis="A B C " + x.scores[0].reference.split(" ", 3)[3],
                        ),
                        *x.scores[1:],
                    ),
                )
                for x in r.records
            ),
            "has WER",
            id="higher-wer",
        ),
    ],
)
def test_other_ways_of_getting_worse_need_a_reason_too(change, said):
    """A cell that is gone, or a higher WER, is worse."""
    worse = [replace(r, records=change(r)) for r in runs(10)]

    with pytest.raises(ConfigError, match=said):
        approve(worse, previous=approve(runs()))


@pytest.mark.parametrize(
    ("session", "said"),
    [
        pytest.param(Session(xdist=True), "xdist", id="xdist"),
        pytest.param(Session(exit_status=1), "was red", id="red"),
        pytest.param(Session(outcomes={CELLS[0]: "failed"}), "was failed", id="failed-cell"),
        pytest.param(Session(outcomes={"other": "xfailed"}), "was xfailed", id="xfailed-cell"),
    ],
)
def test_a_red_session_is_no_baseline(session, said):
    """The records may be valid: a session that was not green does not qualify."""
    with pytest.raises(ConfigError, match=said):
        approve([replace(r, session=session) for r in runs()])


def test_a_cell_that_the_device_cannot_do_may_be_skipped():
    """A skipped cell without a record is no part of the baseline, and does not forbid it."""
    skipping = [replace(r, session=Session(outcomes={"other": "skipped"})) for r in runs()]

    assert set(approve(skipping).cells) == set(CELLS)


def test_another_machine_does_not_continue_a_baseline():
    """Approvals of one fingerprint do not lead to another."""
    other = runs(10, environment={**ENVIRONMENT, "driver": "9"})

    with pytest.raises(ConfigError, match="belongs to"):
        approve(other, previous=approve(runs()), reason="driver")


def test_a_baseline_survives_its_file(tmp_path):
    """What is read is what was approved; only the newest run keeps its transcripts."""
    approved = approve(runs(), reason="start", approved_by="me", now=START)
    save_baseline(approved, tmp_path / "b.json")
    read = load_baseline(tmp_path / "b.json")

    assert read.approvals == approved.approvals
    assert read.key == approved.key
    assert [r.rtfx for r in read.cells[CELLS[0]]] == [r.rtfx for r in approved.cells[CELLS[0]]]
    assert read.cells[CELLS[0]][-1] == approved.cells[CELLS[0]][-1]
    assert read.cells[CELLS[0]][0].scores == ()


def test_an_approval_cannot_be_taken_out_with_a_new_checksum(tmp_path):
    """Approvals are chained: leaving out the one that made it worse is found."""
    from w2v_core.records.record import checksum

    path = tmp_path / "b.json"
    first = approve(runs())
    second = approve(runs(10, slowdown=0.05), previous=first, reason="slower, sorry")
    save_baseline(approve(runs(20), previous=second), path)
    data = json.loads(path.read_text())
    del data["baseline"]["approvals"][1]
    data["sha256"] = checksum(data["baseline"])
    path.write_text(json.dumps(data))

    with pytest.raises(RecordError, match="missing or edited"):
        load_baseline(path)


def test_two_approvals_at_once_do_not_lose_one(tmp_path):
    """Who approves on top of a baseline that somebody else has replaced is told so."""
    path = tmp_path / "b.json"
    first = approve(runs())
    save_baseline(first, path)
    mine, theirs = (
        approve(runs(10), previous=first, reason="m"),
        approve(runs(20), previous=first, reason="t"),
    )
    save_baseline(theirs, path)

    with pytest.raises(ConfigError, match="does not continue"):
        save_baseline(mine, path)
    assert load_baseline(path).approvals[-1].reason == "t"


def test_a_directory_holds_one_file_a_fingerprint(tmp_path):
    """The same fingerprint finds its file, another one does not."""
    written = [write_run(tmp_path / f"{i}", r.records) for i, r in enumerate(runs())]
    _, path = approve_runs(written, tmp_path / "baselines")

    assert path == baseline_file(tmp_path / "baselines", ENVIRONMENT)
    assert load_baseline(tmp_path / "baselines", ENVIRONMENT).cells.keys() == set(CELLS)
    with pytest.raises(RecordError, match="missing baseline"):
        load_baseline(tmp_path / "baselines", {**ENVIRONMENT, "firmware": "other"})


def test_the_command_approves_on_top_of_what_is_in_force(tmp_path):
    """A second approval continues the first one's file."""
    for first, reason in ((0, ""), (10, "again")):
        written = [
            write_run(tmp_path / f"{first}-{i}", r.records) for i, r in enumerate(runs(first))
        ]
        _, path = approve_runs(written, tmp_path / "b.json", reason=reason)

    assert [a.reason for a in load_baseline(path).approvals] == ["first baseline", "again"]
