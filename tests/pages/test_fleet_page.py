"""A fleet's page and its lines for a terminal: who is slow or wrong, in words and in a table."""

import json
from dataclasses import replace

import pytest

from tests.fleet.test_cards_judged import CELL, outcome, wrong_at
from tests.helpers.html import Page
from w2v_core.fleet.cards import Card
from w2v_core.fleet.report import FleetRun, write_fleet
from w2v_core.fleet.verdict import judge_cards
from w2v_core.fleet.ways import Again, SharedCost
from w2v_core.records.store import read_verdict, reserve
from w2v_core.report.fleet import cores, render_fleet, render_fleet_text


def fleet_run(**changes):
    """Four cards: hpu 1 has other ids, hpu 3 was in use, as it says in its own words."""
    outcomes = {
        f"hpu {n}": [outcome(f"hpu {n}", frames=wrong_at(8) if n == 1 else None)] for n in range(3)
    }
    busy = replace(outcome("hpu 3"), records={}, frames={}, problem="<b>in use</b>", refused=True)
    outcomes["hpu 3"] = [busy]
    cost = SharedCost(
        card="hpu 0", cell=CELL, alone=1000.0, together=900.0, ratio=0.9, lower=0.85, upper=0.95
    )
    again = Again(card="hpu 1", neighbour="hpu 0", cell=CELL, told="hpu 1 computes wrong")
    values = {
        "way": "together",
        "cards": tuple(Card(device="hpu", number=n, cpus=(n, n + 4)) for n in range(4)),
        "outcomes": outcomes,
        "judged": judge_cards(outcomes),
        "again": (again,),
        "costs": (cost,),
        **changes,
    }
    return FleetRun(**values)


@pytest.fixture(scope="module")
def page():
    run = fleet_run()
    return Page(render_fleet(run.to_json(), run.result))


def test_the_headline_names_the_cards_that_stand_out(page):
    assert page.headings[0] == ["h1", "FAIL: 2 of 4 cards: hpu 1, hpu 3"]
    assert page.problems == []


def test_there_is_a_row_a_card(page):
    (table,) = page.tables["Cards"]

    assert [row["card"] for row in table] == ["hpu 0", "hpu 1", "hpu 2"]
    assert [row["verdict"] for row in table].count("FAIL") == 1


def test_a_wrong_id_is_there_with_utterance_frame_and_both_ids(page):
    ((row,),) = page.tables["Wrong frame ids"]

    assert list(row.values()) == ["hpu 1", CELL, "u1", "8", "3", "1", "1"]
    assert "hpu 1 computes wrong" in page.texts[""]


def test_the_cost_of_sharing_has_its_bounds(page):
    ((row,),) = page.tables["What sharing the host costs"]

    assert row["together / alone"] == "0.900 [0.850, 0.950]"


def test_a_card_that_was_not_measured_is_told_and_its_words_are_text(page):
    row = page.tables["Processes"][0][-1]

    assert (row["card"], row["cores"], row["problem"]) == ("hpu 3", "3,7", "<b>in use</b>")
    assert "b" not in page.tags


def test_a_terminal_gets_the_same_rows():
    run = fleet_run()
    text = render_fleet_text(run.to_json(), run.result)

    assert text.startswith("FAIL (1 FAIL")
    assert "- hpu 3: <b>in use</b>" in text


def test_a_fleet_is_listed_with_its_verdict(tmp_path):
    directory = reserve(tmp_path, release="dev", run_id="20260101T000000Z-hpu-fleet-abc")
    write_fleet(directory, fleet_run())

    assert not (directory / "INCOMPLETE").exists()
    assert read_verdict(directory)["verdict"] == "FAIL"
    assert json.loads((directory / "fleet.json").read_text())["way"] == "together"
    index = Page((tmp_path / "index.html").read_text())
    assert any("fleet.json" in str(link) for link in index.links)


@pytest.mark.parametrize(
    ("cpus", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 8), "0-2,8"), ((5, 4), "4-5")]
)
def test_cores_are_written_as_the_kernel_does(cpus, text):
    assert cores(cpus) == text
