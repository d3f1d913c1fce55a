"""A soak's page: what the cards are, which weights changed, and the series over the passes."""

import json
from dataclasses import replace

import pytest

from tests.fleet.test_soak import CELL, a_pass, altered, card_of, flipped
from tests.helpers.html import Page
from w2v_core.fleet.soak import Soaked
from w2v_core.fleet.soak_report import Asked, write_soak
from w2v_core.fleet.soak_verdict import judge_soak
from w2v_core.fleet.weights import Weights
from w2v_core.records.store import reserve

FLIP = {"altered": (altered(),), "num_altered": 1}


def soaked(*, device="cpu", name="AMD EPYC", weights=None, wrong=False):
    """Two cards of 30 passes; behind pass 17 to 30 of cpu 0 a weight is another one."""
    held = {CELL: weights or Weights(digests={"a": "1"}, num_bytes=4_000_000)}
    more = {"software": json.dumps({"card": name}), "device": device, "weights": held}
    passes = [
        a_pass(n, weights="ab"[n > 16], digest_s=0.25, **(FLIP if n > 16 else {}))
        for n in range(1, 31)
    ]
    if wrong:
        passes[8] = a_pass(9, wrong=(flipped(),))
    cards = (card_of("cpu 0", passes, **more), card_of("cpu 1", map(a_pass, range(1, 31)), **more))
    judged, slopes = judge_soak(cards)
    return Soaked(cards=cards, judged=judged, slopes=slopes, again=(), interrupted=False)


def written(tmp_path, run):
    directory = reserve(tmp_path, release="dev", run_id="20260101T000000Z-soak")
    write_soak(directory, Asked(options={}, passes=30), run)
    return Page((directory / "summary.html").read_text()), json.loads(
        (directory / "soak.json").read_text()
    )


def test_a_changed_weight_has_one_row_where_it_began(tmp_path):
    page, _ = written(tmp_path, soaked())

    ((row,),) = page.tables["Weights that are not as they were loaded"]
    assert row == {
        "card": "cpu 0",
        "cell": CELL,
        "from pass": "17",
        "ended": "2026-11-26T06:00:17Z",
        "tensor": "encoder.head.weight",
        "its SHA-256": "abababababababab",
        "as loaded": "cdcdcdcdcdcdcdcd",
        "tensors": "1",
    }
    assert page.problems == []


def test_the_json_has_whole_digests_and_what_reading_them_costs(tmp_path):
    _, found = written(tmp_path, soaked())

    (cell, _) = found["cells"]
    assert (cell["altered_passes"], cell["digest_s"]) == (14, 0.25)
    assert (cell["tensors"], cell["weights_bytes"]) == (1, 4_000_000)
    assert (cell["altered"][0]["own"], cell["altered"][0]["others"]) == ("ab" * 32, "cd" * 32)


@pytest.mark.parametrize(
    ("device", "name", "says"),
    [
        ("cpu", "AMD EPYC", "processes, each with its share of a processor's cores (AMD EPYC)"),
        ("hpu", "simulated", "The cards are simulated: nothing here is about a real one."),
    ],
)
def test_it_says_what_the_cards_are(tmp_path, device, name, says):
    page, _ = written(tmp_path, soaked(device=device, name=name))

    assert says in page.texts[""]


def test_a_real_card_is_said_to_be_nothing_else(tmp_path):
    page, _ = written(tmp_path, soaked(device="hpu", name="Gaudi3"))

    assert "The cards are" not in page.texts[""]


def test_weights_that_were_not_read_are_told_with_the_reason(tmp_path):
    unread = Weights(digests={}, unread="openvino computes with copies of its own")
    run = soaked(weights=unread)
    page, _ = written(tmp_path, replace(run))

    assert f"{CELL}: its weights are not read: openvino computes" in page.texts[""]
    assert {row["altered passes"] for row in page.tables["Cells"][0]} == {"-"}


def test_a_pass_that_returned_other_ids_is_a_row(tmp_path):
    page, _ = written(tmp_path, soaked(wrong=True))

    ((row,),) = page.tables["Passes that returned other ids, the first 20 of a cell"]
    assert (row["pass"], row["utterance"], row["its id"]) == ("9", "b", "5")
