"""The gate's verdicts on fit records: throughput, WER, drift, and what is said about them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.records import CELLS, START, make_run, make_scores, write_run
from w2v_core.records.history import History
from w2v_core.records.history_table import Night
from w2v_core.records.store import Session, StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.baseline import save_baseline
from w2v_core.verdict.commands import gate_runs
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.judge import judge, judge_alone
from w2v_core.verdict.run import judged as judged_run
from w2v_core.verdict.wer import align_words

NIGHT = 10
LARGE = make_scores(utterances=500, speakers=20)
"""5,000 reference words of 20 speakers: enough for 0.1 points."""


def baseline(**changes):
    runs = [StoredRun(source=str(i), records=make_run(i, sd=0.002, **changes)) for i in range(6)]
    return approve(runs)


def tonight(*, nights=1, slowdown=0.0, sd=0.002, **changes):
    return [
        r for i in range(nights) for r in make_run(NIGHT + i, slowdown=slowdown, sd=sd, **changes)
    ]


def judged(records, approved=None, **options):
    now = START + timedelta(days=NIGHT + 10)
    return judge(records, approved or baseline(), now=now, max_age=None, **options)


def test_an_equal_night_on_a_large_set_passes():
    """Nothing changed: PASS with exit code 0, and the evidence says so."""
    result = judged(tonight(scores=LARGE), baseline(scores=LARGE))
    cell = result.cells[0]

    assert (result.verdict, result.exit_code) == ("PASS", 0)
    assert cell.throughput.lower > 0.97
    assert cell.wer.delta == 0.0


def test_an_equal_night_on_a_small_set_passes():
    """No transcript of 12 changed, which is known and not sampled: PASS with exit code 0."""
    result = judged(tonight())

    assert (result.verdict, result.exit_code) == ("PASS", 0)
    assert "no transcript of 12 changed" in str(result.cells[0].findings)


def test_a_slow_night_fails_its_cells_only():
    """One cell loses 8 %: it fails, worst first, and the others pass."""
    records = tonight(scores=LARGE)
    slow = replace(
        records[1],
        rounds_s=tuple(r / 0.92 for r in records[1].rounds_s),
        rtfx=records[1].rtfx * 0.92,
    )
    result = judged([records[0], slow, records[2]], baseline(scores=LARGE))

    assert [c.verdict for c in result.cells] == ["FAIL", "PASS", "PASS"]
    assert result.cells[0].cell == slow.cell
    assert result.cells[0].throughput.ratio == pytest.approx(0.92, abs=0.01)
    assert result.exit_code == 1


def test_one_noisy_run_asks_for_more():
    """Runs that vary by 1 % against a baseline of 30: the number of further runs is said."""
    noisy = approve([StoredRun(source=str(i), records=make_run(i, sd=0.01)) for i in range(30)])
    result = judge(
        make_run(40, sd=0.0), noisy, now=START + timedelta(days=40, hours=3), max_age=None
    )
    speed = result.cells[0].throughput

    assert speed.further_runs > 0
    assert f"{speed.further_runs} further runs would decide" in " ".join(result.reasons)


def judged_beside_noise(sd):
    noisy = approve([StoredRun(source=str(i), records=make_run(i, sd=sd)) for i in range(6)])
    return judge(make_run(8), noisy, now=START + timedelta(days=8, hours=3))


def test_a_baseline_too_small_for_its_noise_is_said_to_be():
    """Runs that vary by 1 %: no number of runs against six decides; so many on either side do."""
    result = judged_beside_noise(0.015)
    speed = result.cells[0].throughput

    assert speed.further_runs is None
    assert speed.runs_on_both > 10
    assert f"{speed.runs_on_both} on either side would decide" in " ".join(result.reasons)


def test_a_machine_too_noisy_for_any_number_of_runs_is_said_to_be():
    """Runs that vary by 4 %: what the runs of a night share is more than the margin."""
    result = judged_beside_noise(0.04)

    assert result.cells[0].throughput.runs_on_both is None
    assert "quieten the machine" in " ".join(result.reasons)


def test_a_large_loss_beside_a_wide_baseline_is_red():
    """-20 % that runs varying by 10 % cannot exclude to be none: UNDECIDED LOSS, not a skip."""
    noisy = approve([StoredRun(source=str(i), records=make_run(i, sd=0.1)) for i in range(6)])
    result = judge(
        make_run(8, slowdown=0.2, sd=0.001), noisy, now=START + timedelta(days=8, hours=3)
    )

    assert result.exit_code == 1
    assert "UNDECIDED LOSS: throughput -" in result.reasons[0]


def test_several_runs_narrow_the_interval():
    """Six runs say more than one, at the same deviation of a run."""
    approved = baseline()
    one, six = judged(tonight(), approved), judged(tonight(nights=6), approved)

    def width(result):
        speed = result.cell(CELLS[0]).throughput
        return (speed.upper - speed.lower) / speed.run_sd

    assert width(six) < 0.7 * width(one)


def worse_scores(count):
    return make_scores(
        speakers=20, errors=[(1 if i % 4 == 0 else 0) + (1 if i < count else 0) for i in range(500)]
    )


def test_more_errors_fail_and_are_listed():
    """0.8 points more: FAIL, with every changed transcript and its alignment."""
    result = judged(tonight(scores=worse_scores(40)), baseline(scores=LARGE))
    wer = result.cells[0].wer
    reason = " ".join(result.cells[0].reasons)

    assert result.exit_code == 1
    assert wer.delta == pytest.approx(40 / 5000)
    assert "the WER rose" in reason
    assert len(wer.changed) == 40
    assert "[WORD1X0 -> WRONG]" in next(
        c.alignment for c in wer.changed if c.utterance_id == "utt-0001"
    )


def test_the_margins_are_the_policys():
    """A loss that fails at 3 % passes where 10 % are allowed."""
    records = tonight(slowdown=0.05, scores=LARGE)
    approved = baseline(scores=LARGE)

    assert judged(records, approved).verdict == "FAIL"
    assert (
        judged(records, approved, policy=Policy(margin=0.1, undecided_loss=0.2)).verdict == "PASS"
    )


def test_the_absolute_ceiling_stands_beside_the_paired_test():
    """A whole test-clean is held to 3.55 % as well, where nothing changed against the baseline."""
    scores = make_scores(speakers=20, errors=[1 if i % 2 else 0 for i in range(500)])
    approved = baseline(scores=scores)
    cells = {c: tuple(replace(r, limit=None) for r in rs) for c, rs in approved.cells.items()}
    result = judged(tonight(scores=scores, limit=None), replace(approved, cells=cells))

    assert "above the ceiling of 3.55 %" in " ".join(result.cell(CELLS[0]).reasons)
    assert result.cell(CELLS[0]).verdict == "FAIL"


def test_a_drift_that_no_single_night_shows_fails():
    """Each night is within 3 % of the baseline; fifteen of them at -1.5 % raise the alarm."""
    approved = baseline(scores=LARGE)
    nights = [make_run(NIGHT - 15 + 30 + i, slowdown=0.015, sd=0.002) for i in range(15)]
    history = {c: [Night.of(r) for n in nights for r in n if r.cell == c] for c in CELLS}
    record = tonight(scores=LARGE, slowdown=0.015)
    without = judged(record, approved)
    result = judged(record, approved, history=history)

    assert without.verdict == "PASS"
    assert result.verdict == "FAIL"
    assert "than the anchor since 2026-01" in result.cells[0].reasons[0]


def test_the_history_file_feeds_the_drift_alarm(tmp_path):
    """`w2v gate RUN --baseline PATH --history PATH`, from files alone."""
    runs = [write_run(tmp_path / f"{i}", make_run(i, sd=0.002)) for i in range(6)]
    approve_runs(runs, tmp_path / "b.json")
    with History(tmp_path / "h.sqlite") as history:
        for i in range(10, 22):
            history.append(make_run(i, slowdown=0.02, sd=0.002))
    night = write_run(tmp_path / "tonight", make_run(22, slowdown=0.02, sd=0.002))
    now = START + timedelta(days=22, hours=2)
    result = gate_runs([night], tmp_path / "b.json", history=tmp_path / "h.sqlite", now=now)
    missing = gate_runs([night], tmp_path / "b.json", history=tmp_path / "no.sqlite", now=now)

    assert any("drift: slower by" in r for r in result.reasons)
    assert missing.exit_code == 3


def test_a_result_is_json_rows_and_one_line():
    """Everything that is shown comes from values that JSON can hold."""
    result = judged(tonight(slowdown=0.08))
    text = json.dumps(result.to_json(), allow_nan=False)

    assert json.loads(text)["exit_code"] == 1
    assert len(result.rows()) == 3
    assert result.rows()[0]["ratio"] < 0.95
    assert result.summary().startswith("FAIL (3 FAIL: throughput FAIL, wer PASS); ")


def test_speed_and_wer_are_told_apart():
    """One word more on a small set is not decided: INCONCLUSIVE, by its WER only."""
    errors = [2 if i == 0 else int(i % 4 == 0) for i in range(12)]
    result = judged(tonight(scores=make_scores(errors=errors)))

    assert (result.verdict, result.exit_code) == ("INCONCLUSIVE", 2)
    assert result.to_json()["by_kind"] == {"throughput": "PASS", "wer": "INCONCLUSIVE"}


def test_nothing_to_judge_is_red():
    """No record, and no baseline, are no success."""
    assert judged([]).exit_code == 1
    assert judge(tonight(), None).exit_code == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("A B C", "A X C", "A [B -> X] C"),
        ("A B C", "A C", "A [B -> ~] C"),
        ("A C", "A B C", "A [~ -> B] C"),
        ("", "A", "[~ -> A]"),
        ("A", "A", "A"),
    ],
)
def test_alignment(old, new, expected):
    """Equal words once, differing ones in brackets."""
    assert align_words(old, new) == expected


RAISED = Session(outcomes={CELLS[0]: "error"}, errors={CELLS[0]: "RuntimeError: link down"})


@pytest.mark.parametrize("records", [[], tonight()[1:]], ids=["nothing-measured", "others-were"])
@pytest.mark.parametrize("against", [lambda r: judged(r, session=RAISED), None], ids=["gate", "-"])
def test_a_cell_that_raised_is_a_red_cell_of_its_own_that_says_why(against, records):
    result = against(records) if against else judge_alone(records, session=RAISED)
    cell = result.cell(CELLS[0])

    assert cell.verdict == "FAIL"
    assert [f.reason for f in cell.findings] == ["not measured: RuntimeError: link down"]
    assert not [f for f in result.findings if CELLS[0] in f.reason]


def test_a_cell_that_no_baseline_knows_and_that_raised_is_red():
    session = Session(outcomes={"new": "error"}, errors={"new": "RuntimeError: link down"})

    assert "link down" in judged(tonight(), session=session).cell("new").reasons[0]


@pytest.mark.parametrize("option", ["baseline", "history"])
def test_what_cannot_be_read_is_a_red_run_that_keeps_its_records(option, tmp_path):
    file = tmp_path / "file.json"
    file.write_text("{")
    save_baseline(baseline(), tmp_path / "baseline.json")
    options = {"baseline": tmp_path / "baseline.json", option: file}
    run = judged_run(tonight(), **options)

    assert run.result.unusable
    assert "file.json" in run.result.reasons[0]
    assert len(run.records) == len(tonight())
