"""``--rebase``: this session's run and the release's others like it become the baseline."""

from __future__ import annotations

import pytest

from tests.helpers.records import make_run, write_run
from w2v_core.errors import ConfigError
from w2v_core.verdict.approving import approver, rebase
from w2v_core.verdict.baseline import load_baseline


@pytest.fixture
def release(tmp_path):
    """Four good runs of a release; ``session(...)`` adds this session's."""
    for night in range(4):
        write_run(tmp_path / "1.24" / f"run-{night}", make_run(night, sd=0.002))
    return tmp_path / "1.24"


def session(release, night=4, *, session=None, **changes):
    options = {"sd": 0.002, **changes}
    extra = {} if session is None else {"session": session}
    return write_run(release / f"run-{night}", make_run(night, **options), **extra)


def test_the_fifth_run_of_a_release_makes_the_baseline(release, tmp_path):
    """Five valid runs are approved; what is said names the file, the reason and the noise."""
    told = rebase(session(release), baseline=tmp_path / "b.json", reason="first card")
    approval = load_baseline(tmp_path / "b.json").approvals[-1]

    assert (approval.reason, len(approval.run_ids)) == ("first card", 5)
    assert f"3 cells of 5 runs approved: {tmp_path / 'b.json'}" in told
    assert "runs vary by 0." in told


def test_four_runs_are_not_enough(release, tmp_path):
    """The rules are those of the command."""
    ours = release / "run-0"

    with pytest.raises(ConfigError, match="has 4 runs"):
        rebase(ours, baseline=tmp_path / "b.json", reason="first")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"device_name": "simulated"}, "simulated", id="simulated"),
        pytest.param({"valid": False, "invalid_reasons": ("parity",)}, "parity", id="invalid"),
        pytest.param({"session": {"outcomes": {"x": "failed"}}}, "x was failed", id="red"),
    ],
)
def test_a_session_that_does_not_qualify_is_refused(release, tmp_path, changes, said):
    """This session's run is never left out in favour of the others."""
    write_run(release / "run-9", make_run(9, sd=0.002))

    with pytest.raises(ConfigError, match=said):
        rebase(session(release, **changes), baseline=tmp_path / "b.json", reason="try")
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"valid": False, "invalid_reasons": ("parity",)}, id="invalid"),
        pytest.param({"limit": 3}, id="other-parameters"),
        pytest.param({"cells": ("base-float32-other-graphs-exact",)}, id="other-cells"),
    ],
)
def test_earlier_runs_that_do_not_qualify_are_left_out_and_named(release, tmp_path, changes):
    """A bad night of the release does not stand in the way for ever."""
    write_run(release / "bad", make_run(7, **{"sd": 0.002, **changes}))
    told = rebase(session(release), baseline=tmp_path / "b.json", reason="first")

    assert "5 runs approved" in told
    assert "1 other runs left out, first bad: " in told


def test_an_unfinished_run_is_left_out(release, tmp_path):
    """A run that was killed leaves a mark, and no record of it is believed."""
    write_run(release / "killed", make_run(7, sd=0.002))
    (release / "killed" / "INCOMPLETE").touch()

    assert "first killed: " in rebase(
        session(release), baseline=tmp_path / "b.json", reason="first"
    )


def test_a_slower_release_needs_its_reason_and_keeps_it(release, tmp_path):
    """Re-approving to a worse value: refused without a reason, kept with one."""
    path = tmp_path / "b.json"
    rebase(session(release), baseline=path, reason="first")
    slower = tmp_path / "1.25"
    for night in range(10, 14):
        write_run(slower / f"run-{night}", make_run(night, sd=0.002, slowdown=0.1))
    ours = session(slower, 14, slowdown=0.1)

    with pytest.raises(ConfigError, match="the gate fails this run"):
        rebase(ours, baseline=path, reason="")
    told = rebase(ours, baseline=path, reason="10 % slower with firmware 7")

    assert "accepted as worse: base-bfloat16" in told
    assert [a.reason for a in load_baseline(path).approvals] == [
        "first",
        "10 % slower with firmware 7",
    ]


@pytest.mark.parametrize(
    ("reason", "is_said"),
    [("accepted", False), ("3 % are the price", False), ("about 10 % lost to firmware 7", True)],
)
def test_a_night_that_the_gate_fails_needs_its_loss_spelled_out(release, tmp_path, reason, is_said):
    """-10 % becomes the baseline by a reason with that figure in it, and by no other."""
    path = tmp_path / "b.json"
    rebase(session(release), baseline=path, reason="first")
    for night in range(10, 14):
        write_run(tmp_path / "1.25" / f"run-{night}", make_run(night, sd=0.002, slowdown=0.1))
    ours = session(tmp_path / "1.25", 14, slowdown=0.1)
    if not is_said:
        with pytest.raises(ConfigError, match=r"gate fails this run: .* slower by (9|10).*spell"):
            rebase(ours, baseline=path, reason=reason)
    else:
        rebase(ours, baseline=path, reason=reason)

    assert len(load_baseline(path).approvals) == 1 + is_said


def test_a_night_that_is_far_from_the_releases_others_is_no_baseline(release, tmp_path):
    """This session's run is not left out for being outlying either: it is refused."""
    with pytest.raises(ConfigError, match="outlying: 5"):
        rebase(session(release, slowdown=0.5), baseline=tmp_path / "b.json", reason="try")


def test_a_uid_without_a_name_approves_as_its_number(monkeypatch):
    """As in a container: no file names the uid, no variable the user."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)

    assert approver() == "uid 54321"
    assert approver("me") == "me"
