"""A month of synthesised nights through files, as ``w2v gate`` judges them: what each one said.

``python -m tests.simulation.test_month`` prints it, a line a night: baseline of nights 1 to 8, one
cell 5 % slower on night 20 and mended on night 23, transcripts of one cell worse on night 25, and
another driver from night 28.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.helpers.mutants import scaled
from tests.helpers.records import ENVIRONMENT, START, make_run, make_scores, write_run
from w2v_core.records.history import History
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.commands import gate_runs
from w2v_core.verdict.outcome import GateResult

CELLS = tuple(
    f"{model}-{dtype}-test_{kind}-graphs-exact"
    for model in ("base", "large")
    for dtype in ("bfloat16", "float32")
    for kind in ("clean", "other")
)
SLOW, FIXED, WORSE, DRIVER, LAST = 20, 23, 25, 28, 30
WRONG = make_scores(errors=[6] * 12)
APPROVED = 8


def night(number: int, *, sd: float) -> tuple:
    """Make the records of a night."""
    records = list(make_run(number, cells=CELLS, sd=sd, seed=1))
    if SLOW <= number < FIXED:
        records[0] = scaled(records[0], 1 / 0.95)
    if number == WORSE:
        records[1] = replace(records[1], scores=WRONG, substitutions=72, wer=72 / 120)
    if number >= DRIVER:
        changed = {**ENVIRONMENT, "driver": "1.25.0-def"}
        records = [replace(r, environment=changed) for r in records]
    return tuple(records)


def month(folder: Path, *, sd: float) -> dict[int, GateResult]:
    """Judge each night from files, with the history of those before it."""
    history, baselines, judged = folder / "h.sqlite", folder / "baselines", {}
    runs = []
    for number in range(1, LAST + 1):
        records = night(number, sd=sd)
        runs.append(write_run(folder / "1.24.0" / records[0].run_id, records))
        ended = START + timedelta(days=number, hours=1)
        if number == APPROVED:
            approve_runs(runs, baselines, reason="first baseline", now=ended)
        if number > APPROVED:
            judged[number] = gate_runs(runs[-1:], baselines, history=history, now=ended, once=True)
        with History(history) as opened:
            opened.append(records)
    return judged


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return month(tmp_path_factory.mktemp("month"), sd=0.003)


def test_no_night_before_the_slowdown_is_red(judged):
    assert [n for n in range(APPROVED + 1, SLOW) if judged[n].verdict == "FAIL"] == []


@pytest.mark.parametrize("number", range(SLOW, FIXED))
def test_a_slow_night_names_its_cell(judged, number):
    found = judged[number].cell(CELLS[0])

    assert found.verdict == "FAIL"
    assert any(f.kind == "throughput" and f.verdict == "FAIL" for f in found.findings)


def test_the_mended_night_is_no_throughput_loss(judged):
    assert judged[FIXED].by_kind["throughput"] != "FAIL"


@pytest.mark.parametrize("number", [FIXED + 1, WORSE + 1, WORSE + 2])
def test_a_night_after_what_is_over_passes(judged, number):
    assert judged[number].verdict == "PASS"


def test_the_night_of_the_worse_transcripts_is_red_for_its_wer(judged):
    assert judged[WORSE].by_kind["wer"] == "FAIL"
    assert "WER" in judged[WORSE].cell(CELLS[1]).reasons[0]


@pytest.mark.parametrize("number", range(DRIVER, LAST + 1))
def test_the_night_of_another_driver_names_both(judged, number):
    assert judged[number].exit_code == 3
    assert "driver '1.24.0-abc' -> '1.25.0-def'" in judged[number].reasons[0]


def main() -> None:
    """Print what each night said."""
    sd = float(sys.argv[1]) if len(sys.argv) > 1 else 0.003
    with tempfile.TemporaryDirectory() as folder:
        for number, result in month(Path(folder), sd=sd).items():
            sys.stdout.write(f"night {number:2}: {result.summary()[:230]}\n")


if __name__ == "__main__":
    main()
