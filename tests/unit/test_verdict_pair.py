"""Interleaved pairs: their order, their judgement, and commands that misbehave."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, make_run, make_scores, write_run
from w2v_core.errors import ConfigError, RecordError
from w2v_core.verdict.commands import calibrate_command
from w2v_core.verdict.pair import run_pairs
from w2v_core.verdict.paired import Pair, judge_pairs

LARGE = make_scores(utterances=100, words=50, speakers=20)


def stage(first, *, slowdown=0.0, pairs=4, sd=0.003, b=lambda records: records):
    return [
        Pair(
            a=make_run(first + 2 * i, seed=1, sd=sd, scores=LARGE),
            b=b(make_run(first + 2 * i + 1, seed=2, sd=sd, slowdown=slowdown, scores=LARGE)),
        )
        for i in range(pairs)
    ]


def test_equal_sides_pass_on_the_screen():
    """Nothing differs: PASS without a confirmation."""
    assert judge_pairs(stage(0)).exit_code == 0


def test_a_slower_side_needs_its_confirmation_to_fail():
    """5 % slower: suspicious on the screen, FAIL once fresh pairs show it too."""
    screen, confirm = stage(0, slowdown=0.05), stage(20, slowdown=0.05)
    alone, both = judge_pairs(screen), judge_pairs(screen, confirm)

    assert (alone.verdict, both.verdict) == ("INCONCLUSIVE", "FAIL")
    assert alone.cells[0].throughput.suspicious
    assert both.cells[0].throughput.ratio == pytest.approx(0.95, abs=0.01)
    assert both.cells[0].throughput.runs == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda r: r[1:], "not measured by side b 0", id="vanished-cell"),
        pytest.param(
            lambda r: (replace(r[0], valid=False, invalid_reasons=("bad",)), *r[1:]),
            "was not valid: bad",
            id="invalid",
        ),
        pytest.param(
            lambda r: tuple(replace(x, batch_plan="packed-1x1") for x in r),
            "changed parameter batch_plan",
            id="other-parameters",
        ),
        pytest.param(
            lambda r: tuple(replace(x, environment={**ENVIRONMENT, "module_id": 5}) for x in r),
            "another host or card",
            id="other-card",
        ),
        pytest.param(
            lambda r: tuple(replace(x, compilations_timed=1) for x in r),
            "compilations inside",
            id="compiled",
        ),
    ],
)
def test_a_bent_side_fails_its_cell(change, said):
    """A pair is fair only where both sides measured the same thing on one card."""
    result = judge_pairs(stage(0, b=change))

    assert result.exit_code == 1
    assert said in result.cell(CELLS[0]).reasons[0]


def test_releases_may_differ_in_software():
    """Another driver or SynapseAI build is what pairs are for."""
    newer = {**ENVIRONMENT, "synapse_build": "1.25.0.1", "torch": "2.10"}
    result = judge_pairs(stage(0, b=lambda r: tuple(replace(x, environment=newer) for x in r)))

    assert result.exit_code == 0


def test_more_errors_on_side_b_fail():
    """The paired WER test runs on the pairs' transcripts."""
    worse = make_scores(speakers=20, words=50, errors=[2] * 100)
    pairs = [
        Pair(a=make_run(2 * i, scores=LARGE), b=make_run(2 * i + 1, scores=worse)) for i in range(3)
    ]

    assert "the WER rose" in judge_pairs(pairs).cells[0].reasons[0]


def test_the_same_run_as_both_sides_is_noticed():
    """A run compared with itself is no pair."""
    run = make_run(0)
    result = judge_pairs([Pair(a=run, b=run), Pair(a=make_run(1), b=make_run(2))])

    assert result.exit_code == 1
    assert "duplicate cell" in result.reasons[0]


def test_a_machine_too_noisy_to_judge_is_said_to_be():
    """Pairs that vary by 40 % decide nothing, and no affordable number of them would."""
    result = judge_pairs(stage(0, sd=0.3, pairs=6))
    speeds = [f for c in result.cells for f in c.findings if f.kind == "throughput"]

    assert {f.verdict for f in speeds} == {"INCONCLUSIVE"}
    assert all("pairs vary by" in f.reason and "machine" in f.reason for f in speeds)
    assert result.cells[0].throughput.further_runs is None


@pytest.mark.parametrize(("screen", "confirm"), [(0, 0), (1, 0), (3, 1)])
def test_too_few_pairs_are_unusable(screen, confirm):
    """One pair says nothing about how much pairs vary."""
    assert judge_pairs(stage(0, pairs=screen), stage(20, pairs=confirm)).exit_code == 3


SCRIPT = """
import shutil, sys
from pathlib import Path
prepared, out = Path(sys.argv[1]), Path(sys.argv[2])
clock = Path(__file__).with_name("clock")
run = int(clock.read_text()) if clock.exists() else 0
clock.write_text(str(run + 1))
shutil.copytree(prepared / str(run), out / "1.24" / "run")
"""


@pytest.fixture
def command(tmp_path):
    """A stand-in for the suite: the n-th call leaves the n-th run, slower by the given fraction."""
    script = tmp_path / "suite.py"
    script.write_text(SCRIPT)

    def line(slowdown):
        prepared = tmp_path / f"prepared-{slowdown}"
        for run in range(12):
            records = make_run(run, slowdown=slowdown, sd=0.0003, scores=LARGE)
            write_run(prepared / str(run), records)
        return f"{sys.executable} -S {script} {prepared} {{out}}"

    return line


def test_equal_commands_run_as_abba_and_pass(tmp_path, command):
    """Two pairs run A B B A; the screen passes, so nothing is confirmed."""
    told = []
    found = run_pairs(
        command(0.0), command(0.0), pairs=2, directory=tmp_path / "out", report=told.append
    )

    assert [line.split(":")[0] for line in told] == [
        "screen-warm-up-b",
        "screen-warm-up-a",
        "screen-0-a",
        "screen-0-b",
        "screen-1-b",
        "screen-1-a",
    ]
    assert found.confirm == ()
    assert found.result.verdict == "PASS"


def test_the_first_pair_of_a_stage_is_not_judged(tmp_path, command):
    """Runs that are cold by a third, first of their stage, hide no loss."""
    line_a, line_b = command(0.0), command(0.1)
    for run in (0, 6):  # b is first in a warm-up
        cold = make_run(run, slowdown=0.4, sd=0.0003, scores=LARGE)
        write_run(tmp_path / "prepared-0.1" / str(run), cold)
    found = run_pairs(line_a, line_b, pairs=2, directory=tmp_path / "out")

    assert found.result.verdict == "FAIL"
    assert all(-0.11 < c.throughput.ratio - 1 < -0.09 for c in found.result.cells)


def test_a_slower_command_is_confirmed_and_fails(tmp_path, command):
    """A 10 % slower installation fails on screen and confirmation; all runs are kept."""
    found = run_pairs(command(0.0), command(0.1), pairs=2, directory=tmp_path / "out")

    assert (found.result.verdict, found.result.exit_code) == ("FAIL", 1)
    assert len(list((tmp_path / "out").glob("*/1.24/run/run.json"))) == 12


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("false {out}", "exit status 1", id="fails"),
        pytest.param("true {out}", "holds 0 runs", id="writes-nothing"),
        pytest.param("no-such-program {out}", "no-such-program", id="does-not-exist"),
        pytest.param("sh -c 'sleep 30' {out}", "timed out", id="hangs"),
    ],
)
def test_a_command_that_fails_is_no_measurement(tmp_path, line, said):
    """The error names the command and what it did."""
    with pytest.raises(RecordError, match=said):
        run_pairs(line, line, pairs=2, directory=tmp_path / "out", timeout_s=0.2)


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        pytest.param("suite", 2, id="no-out"),
        pytest.param("suite '{out}", 2, id="open-quote"),
        pytest.param("suite {out}", 1, id="one-pair"),
    ],
)
def test_bad_use_is_refused_before_anything_runs(tmp_path, line, pairs):
    """A command has to say where its run goes, and a stage needs two pairs."""
    with pytest.raises(ConfigError):
        run_pairs(line, line, pairs=pairs, directory=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_of_another_comparison_is_not_reused(tmp_path):
    """Old runs are never taken for new ones."""
    write_run(tmp_path / "out" / "screen-warm-up-b", make_run(0))

    with pytest.raises(ConfigError, match="not empty"):
        run_pairs("true {out}", "true {out}", pairs=2, directory=tmp_path / "out")


def test_a_command_calibrates_the_gate_on_its_machine(tmp_path, command):
    """Pairs of a command with itself give the deviation, and from it the gate's error rates."""
    found = calibrate_command(command(0.0), pairs=3, directory=tmp_path / "out", nights=50)

    assert (found.cells, found.pairs) == (3, 3)
    assert 0 < max(found.pair_sd) < 0.002
    assert found.power_at_3_percent > 0.9


def test_invalid_runs_calibrate_nothing(tmp_path, command):
    """A machine whose runs are not valid has no error rate."""
    line = command(0.0)
    for run in range(12):
        write_run(
            tmp_path / "prepared-0.0" / str(run),
            make_run(run, valid=False, invalid_reasons=("parity",)),
        )

    with pytest.raises(RecordError, match="parity"):
        calibrate_command(line, pairs=3, directory=tmp_path / "out")
