"""``pytest --cards``: the fleet measures the session's cells, by the session's options."""

import json
import shlex
import sys
from types import SimpleNamespace

import pytest

from tests.helpers.suite import run_suite
from w2v_core import pytest_cards
from w2v_core.options.option import PYTEST, options_of

DEFAULTS = {o.on[PYTEST].dest: o.default_on(PYTEST) for o in options_of(PYTEST).values()}


@pytest.fixture
def measured_by(monkeypatch):
    """Run a session that was given these values by their places; return the fleet's arguments."""
    monkeypatch.setattr(sys, "argv", ["pytest"])

    def run(**given):
        called = []
        monkeypatch.setattr(pytest_cards, "main", lambda words: called.append(words) or 2)
        config = SimpleNamespace(
            stash=pytest.Stash(),
            invocation_params=SimpleNamespace(args=()),
            getoption=lambda dest, default=None: {**DEFAULTS, **given}.get(dest, default),
        )
        status = pytest_cards.pytest_cmdline_main(config)
        return (status, called[0]) if called else (status, None)

    return run


def test_what_the_session_was_given_is_what_the_fleet_is_given(measured_by):
    """The device that a mark asks for is one of them; what was not given keeps its default."""
    status, words = measured_by(
        cards="0,2", markexpr="hpu", models="base", limit=4, autocast=True, execution="lazy"
    )

    assert status == 2
    assert words[:3] == ["fleet", "--device", "hpu"]
    assert sorted(words[3:]) == sorted(
        ["--models=base", "--limit=4", "--autocast", "--execution=lazy", "--cards=0,2"]
    )
    assert sys.argv == ["w2v", *words]


def test_a_session_without_cards_is_a_session(measured_by):
    assert measured_by(models="base") == (None, None)


@pytest.mark.parametrize(
    ("dest", "value", "flag"),
    [
        *((dest, "x", flag) for dest, flag in pytest_cards.ONE_SESSION.items()),
        *((n, "x", f"--{n}") for n in ("baseline", "history", "inconclusive")),
        ("confirm", 3, "--confirm"),
        ("rebase", "x", "--rebase"),
    ],
)
def test_what_a_fleet_would_ignore_is_refused(measured_by, dest, value, flag):
    with pytest.raises(pytest.UsageError, match=f"^{flag} is for a session"):
        measured_by(cards="all", **{dest: value})


@pytest.mark.slow  # two processes on the simulator
def test_a_session_on_all_simulated_cards_leaves_a_fleets_run(tmp_path):
    cell = ("--models", "canary-base", "--dtypes", "float32", "--graphs", "off", "--limit", "3")
    small = (*cell, "--rounds", "1", "--buckets", "1", "--batch-size", "1")
    place = f"--reports-dir={tmp_path}"

    done = run_suite("-m", "hpu", "--simulate-hpu", "--cards", "all", *small, place)

    (file,) = tmp_path.glob("dev/*/fleet.json")
    verdict = json.loads(file.with_name("verdict.json").read_text())["verdict"]
    assert done.returncode == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}[verdict], done.stderr
    fleet = json.loads(file.read_text())
    assert [card["name"] for card in fleet["cards"]] == ["hpu 0", "hpu 4"]
    assert not any(run["problem"] for run in fleet["runs"])
    told = shlex.split(done.stderr.split("by: ")[1].splitlines()[0])
    assert told[:4] == ["w2v", "fleet", "--device", "hpu"]
