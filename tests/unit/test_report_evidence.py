"""What a report shows first, what it doubts, and how it counts words."""

from dataclasses import replace

import pytest

from tests.helpers.pages import verdict_of
from tests.helpers.records import CELLS, make_record, make_run, make_scores
from w2v_core.records.store import Session
from w2v_core.report.views.accuracy import padding_costs, wer_interval, worst
from w2v_core.report.views.ranking import (
    absent,
    doubts,
    headline,
    reasons,
    standings,
    status,
    warnings,
)
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import CellVerdict, Finding, GateResult
from w2v_core.verdict.run import Run


def test_a_valid_cell_that_no_gate_looked_at_is_not_a_pass():
    assert status(make_record(), None) == "not judged"
    assert status(make_record(), verdict_of({"another": "PASS"})) == "not judged"


def test_an_invalid_cell_stays_invalid_whatever_the_gate_says():
    record = make_record(valid=False, invalid_reasons=("x",))

    assert status(record, verdict_of({record.cell: "PASS"})) == "INVALID"


def test_cells_are_ranked_by_evidence():
    names = ["passed", "wobbly", "unclear", "failed", "invalid"]
    cells = {name: f"{name}-float32-test_clean-graphs-exact" for name in names}
    records = {name: make_record(cell=cell) for name, cell in cells.items()}
    records["invalid"] = replace(records["invalid"], valid=False, invalid_reasons=("x",))
    records["wobbly"] = replace(records["wobbly"], rounds_s=(1.0, 1.0, 2.0))
    gate = verdict_of(
        {
            cells["passed"]: "PASS",
            cells["wobbly"]: "PASS",
            cells["unclear"]: "INCONCLUSIVE",
            cells["failed"]: "FAIL",
        }
    )

    order = standings(Run(records=tuple(records[name] for name in names), verdict=gate))

    assert [cell.record.model for cell in order] == names[::-1]


def test_equal_cells_keep_the_order_of_the_matrix():
    records = make_run(0)

    assert tuple(cell.record for cell in standings(Run(records=records))) == tuple(records)


def test_the_headline_counts_cells_and_verdicts():
    run = Run(records=(make_record(), make_record(valid=False)))

    assert headline(run) == "1 of 2 cells valid"
    gate = verdict_of({"a": "FAIL", "b": "FAIL", "c": "PASS"})
    assert headline(replace(run, verdict=gate)) == "FAIL: 2 FAIL, 1 PASS; 1 of 2 cells valid"


def test_a_cell_that_the_gate_expected_and_nobody_measured_has_vanished():
    gate = verdict_of({CELLS[0]: "PASS", "gone": "FAIL"})
    run = Run(records=(make_record(cell=CELLS[0]),), verdict=gate)

    assert absent(run) == [("gone", "vanished", "throughput: it is FAIL")]


def test_a_cell_that_raised_is_counted_and_told_with_its_error_once():
    gate = verdict_of({CELLS[0]: "PASS", "gone": "FAIL"})
    session = Session(errors={"gone": "out of memory"})
    run = Run(records=(make_record(cell=CELLS[0]),), session=session, verdict=gate)

    assert absent(run) == [("gone", "not measured", "out of memory")]
    assert headline(run).endswith("1 of 2 cells valid")


def test_what_several_cells_share_is_told_once():
    one, two = make_record(cell=CELLS[0], notes=("n",)), make_record(cell=CELLS[1], notes=("n",))

    other = replace(two, notes=("m",))

    assert doubts(standings(Run(records=(one, two)))) == [("all 2 cells", "n")]
    assert doubts(standings(Run(records=(one, other)))) == [(CELLS[0], "n"), (CELLS[1], "m")]


def test_a_gate_that_repeats_the_record_says_it_once():
    record = make_record(valid=False, invalid_reasons=("2 utterances failed",))
    finding = Finding(kind="integrity", verdict="FAIL", reason="not valid: 2 utterances failed")
    cell = CellVerdict(cell=record.cell, findings=(finding,))
    gate = GateResult(cells=(cell,), findings=(), policy=Policy())

    assert reasons(record, gate) == ("2 utterances failed",)


@pytest.mark.parametrize(
    ("rounds", "part"),
    [
        pytest.param((1.0, 1.0, 1.35, 0.8), "standard deviation", id="spread"),
        pytest.param((1.0,) * 30 + (1.6,), "longest round", id="long"),
        pytest.param((1.0,) * 30 + (0.4,), "shortest round is", id="short"),
        pytest.param((0.0009,) * 3, "takes only 900 \u00b5s", id="tiny"),
        pytest.param((0.0009,), "only 1 rounds", id="few"),
    ],
)
def test_unstable_rounds_are_doubted(rounds, part):
    found = warnings(make_record(rounds_s=rounds))

    assert len(found) == 1
    assert part in found[0]


@pytest.mark.parametrize("rounds", [(), (1.0,), (1.0, 1.05, 0.95), (0.0011, 0.0011)])
def test_steady_rounds_are_not_doubted(rounds):
    assert warnings(make_record(rounds_s=rounds)) == ()


def test_the_wer_interval_holds_the_wer_and_grows_with_its_level_of_clustering():
    scattered = make_scores(utterances=160, speakers=160, errors=[i % 4 == 0 for i in range(160)])
    clustered = tuple(
        replace(s, speaker=f"speaker-{s.substitutions}-{i % 8}") for i, s in enumerate(scattered)
    )

    low, high = wer_interval(scattered)
    wide_low, wide_high = wer_interval(clustered)
    assert low < 0.025 < high
    assert wide_high - wide_low > 1.5 * (high - low)


def test_below_eight_speakers_utterances_are_the_units():
    scores = make_scores(utterances=40, speakers=7)
    unknown = tuple(replace(s, speaker=None) for s in scores)

    assert wer_interval(scores) == wer_interval(unknown)


@pytest.mark.parametrize("scores", [(), make_scores(utterances=1), make_scores(words=0)])
def test_where_nothing_can_be_said_there_is_no_interval(scores):
    assert wer_interval(scores) is None


def test_stock_is_compared_with_its_exact_twin_only():
    exact = make_record(cell="base-float32-test_clean-graphs-exact", wer=0.030)
    stock = make_record(cell="base-float32-test_clean-graphs-stock", wer=0.045)
    other = make_record(cell="base-bfloat16-test_clean-graphs-stock", wer=0.500)

    (cost,) = padding_costs([other, stock, exact])

    assert (cost.stock, cost.exact) == (stock, exact)
    assert cost.delta == pytest.approx(0.015)


def test_the_worst_utterances_come_once_each_from_their_worst_cell():
    mild = make_record(cell=CELLS[0], scores=make_scores(errors=[0, 1, 2]))
    bad = make_record(cell=CELLS[1], scores=make_scores(errors=[0, 3, 1]))

    found = worst([mild, bad])

    assert [(b.score.utterance_id, b.edits, b.cell) for b in found] == [
        ("utt-0001", 3, CELLS[1]),
        ("utt-0002", 2, CELLS[0]),
    ]


def test_the_alignment_holds_every_word_of_both_sides():
    score = replace(
        make_scores()[0], reference="the quick brown fox", hypothesis="THE QUICK BROWN FIX NOW"
    )
    (bad,) = worst([make_record(scores=(score,))])

    pieces = bad.pieces

    assert pieces[0].operation == "equal"
    assert [w for p in pieces for w in p.reference] == ["THE", "QUICK", "BROWN", "FOX"]
    assert [w for p in pieces for w in p.hypothesis] == ["THE", "QUICK", "BROWN", "FIX", "NOW"]


@pytest.mark.parametrize(("reference", "hypothesis"), [("", "A B"), ("A B", "")])
def test_an_empty_side_aligns(reference, hypothesis):
    score = replace(make_scores()[0], reference=reference, hypothesis=hypothesis)
    (bad,) = worst([make_record(scores=(score,))])

    (piece,) = bad.pieces
    assert " ".join(piece.reference) == reference
    assert " ".join(piece.hypothesis) == hypothesis
