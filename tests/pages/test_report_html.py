"""summary.html: self-contained, escaped, small, the same bytes for the same input."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from tests.helpers.html import Page
from tests.helpers.pages import page_of, rich_page, verdict_of
from tests.helpers.records import make_record, make_run, make_scores
from w2v_core.records.history_table import Night
from w2v_core.verdict.calibrate import simulate_nights

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = {
    "verdict": "Worst cells",
    "matrix": "Matrix",
    "speed": "Throughput",
    "WER": "WER",
    "stages": "Stages",
    "utterances": "Worst utterances",
}
"""What a reader asks, in the order in which a night is read."""


@pytest.fixture(scope="module")
def page():
    return rich_page()


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page)


def text_of(page, title):
    return Page(page).texts[title]


def classes_of(page, tag):
    return next(attrs.get("class") for name, attrs in Page(page).elements if name == tag)


def test_the_page_is_well_formed(parsed):
    assert parsed.problems == []
    assert parsed.open == []


def test_the_verdict_is_the_first_thing_on_the_page(parsed):
    level, text = parsed.headings[0]

    assert level == "h1"
    assert text.startswith("FAIL: ")
    assert text.endswith("; 7 of 8 cells valid")


def test_the_first_screen_says_how_much_was_measured():
    page = page_of(make_record(rounds=3), make_record(rounds=5))

    assert "12 utterances and 3 to 5 timed rounds a cell" in text_of(page, "")


def test_the_sections_come_in_the_order_in_which_a_night_is_read(parsed):
    titles = [text for level, text in parsed.headings if level == "h2"]

    assert [t for t in titles if t in QUESTIONS.values()] == list(QUESTIONS.values())


def test_the_page_needs_no_network_and_no_script(page, parsed):
    assert "script" not in parsed.tags
    assert [x for x in parsed.links if not x.startswith(("#", "data:"))] == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page


def test_scripts_would_not_run_even_if_one_got_in(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)

    assert policy.startswith("default-src &#39;none&#39;")
    assert "script-src" not in policy


def test_ids_are_unique_and_every_reference_has_its_id(parsed):
    referred = {x[1:] for x in parsed.links if x.startswith("#")}

    assert len(parsed.ids) == len(set(parsed.ids))
    assert referred <= set(parsed.ids)


def test_every_section_can_be_reached_from_the_top(parsed):
    sections = [attrs["id"] for tag, attrs in parsed.elements if tag == "section"]

    assert [x[1:] for x in parsed.links if x.startswith("#")] == sections


def test_the_same_input_gives_the_same_bytes_in_another_process(page):
    code = (
        "import hashlib;from tests.helpers.pages import rich_page;"
        "print(hashlib.sha256(rich_page().encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == hashlib.sha256(page.encode()).hexdigest()


def test_a_quarter_of_ninety_six_cells_is_drawn_and_all_are_in_the_matrix():
    names = [
        "-".join(parts)
        for parts in product(
            ["base", "large", "canary_base", "canary_large"],
            ["float32", "bfloat16"],
            ["test_clean", "test_other", "canary_speech"],
            ["graphs", "nographs"],
            ["exact", "stock"],
        )
    ]
    scores = make_scores(errors=[0, 1])
    history = {}
    for night in range(90):
        for record in make_run(night, cells=names, scores=scores):
            history.setdefault(record.cell, []).append(Night.of(record))

    page = page_of(*make_run(90, cells=names), nights=history)

    parsed = Page(page)
    assert len(page.encode()) <= 1_000_000
    tiles, cells = parsed.tables["Matrix"]
    assert sorted(row["cell"] for row in cells) == sorted(names)
    assert sum("WER" in tile for row in tiles for tile in row.values()) == 96
    assert "Shown are 24 of 96 cells" in parsed.texts["Throughput"]
    assert "96 cells over 91 nights" in parsed.texts["Nights"]


@pytest.mark.parametrize(
    ("title", "says"),
    [
        ("WER", "no cell has references"),
        ("WER cost of stock padding", "needs both forwards"),
        ("Throughput", "no cell has a timed round"),
        ("Latency", "no cell has a timed round"),
        ("Stages", "no cell holds stage times"),
        ("Nights", "no history was given"),
        ("Worst utterances", "no cell has references"),
        ("Command", "the record does not hold it"),
    ],
)
def test_a_section_without_data_says_so(title, says):
    empty = {"scores": (), "rounds_s": (), "stage_s": {}, "latency_s": {}, "command": ""}
    bare = replace(make_record(), wer=None, **empty)

    assert says in text_of(page_of(bare), title)


def test_a_run_without_a_cell_has_all_sections(parsed):
    empty = Page(page_of())

    assert empty.problems == []
    assert [h for h in empty.headings if h[0] == "h2"] == [
        h for h in parsed.headings if h[0] == "h2"
    ]


def test_a_cell_that_measured_nothing_shows_dashes_and_why():
    """Beside a whole cell, so that no figure of the one passes for the other's."""
    gone = {"rounds_s": (), "latency_s": {}, "wer": None, "scores": (), "rtfx": 0.0}
    broken = replace(
        make_record(valid=False, invalid_reasons=("12 utterances failed",)), **gone, cell="broken"
    )

    page = Page(page_of(make_record(), broken))

    row = next(r for r in page.tables["Matrix"][-1] if r["cell"] == "broken")
    assert [row[h] for h in ("WER %", "RTFx", "p50 ms", "p99 ms")] == ["-"] * 4
    assert "RTFx (no round was timed)" in page.texts["Matrix"]
    assert "WER % (no references)" in page.texts["Matrix"]


@pytest.mark.parametrize("energy", [None, 1234.25])
def test_energy_is_shown_where_it_was_measured(energy):
    page = Page(page_of(make_record(energy_j=energy), make_record(energy_j=None, cell="x-y-z-a-b")))

    shown = {row["cell"]: row.get("J / audio hour") for row in page.tables["Matrix"][-1]}
    wanted = {make_record().cell: "92569", "x-y-z-a-b": "-"}  # 48 s of audio
    assert shown == (wanted if energy is not None else dict.fromkeys(wanted))
    assert "J / audio hour (the device reports no energy)" in page.texts["Matrix"]


def test_the_gates_error_rates_are_shown_where_they_were_measured():
    calibration = simulate_nights(nights=20, cells=3)

    assert "measured on 20 simulated nights of 3 cells" in text_of(
        page_of(make_record(), calibration=calibration), ""
    )
    assert "run w2v calibrate" in text_of(page_of(make_record()), "")


@pytest.mark.parametrize("verdict", [None, "PASS"])
def test_a_sound_run_without_a_baseline_is_not_called_good(verdict):
    record = make_record()
    alone = verdict and verdict_of({record.cell: verdict}, kind="wer-ceiling", baseline=None)

    page = page_of(record, verdict=alone)

    assert "No gate has judged this run" in text_of(page, "")
    assert Page(page).tables["Matrix"][0][0]["status"] == "valid, not judged"
    assert classes_of(page, "h1") == "plain"


def test_a_wer_over_its_ceiling_is_red_without_a_baseline():
    """The record is sound; the verdict is not."""
    record = make_record()
    alone = verdict_of({record.cell: "FAIL"}, kind="wer-ceiling", baseline=None)

    page = page_of(record, verdict=alone)

    assert classes_of(page, "h1") == "bad"
    assert Page(page).headings[0][1] == "FAIL: 1 FAIL; 1 of 1 cells valid"
    assert Page(page).tables["Worst cells"][0][0]["evidence"] == "wer-ceiling: it is FAIL"


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        pytest.param([make_record()], "plain", id="valid-not-judged"),
        pytest.param([make_record(), make_record(valid=False)], "bad", id="invalid"),
        pytest.param([], "bad", id="nothing-measured"),
    ],
)
def test_without_a_verdict_nothing_is_green(records, kind):
    assert classes_of(page_of(*records), "h1") == kind


@pytest.mark.parametrize(
    ("verdict", "is_valid", "kind"),
    [
        ("PASS", True, "good"),
        ("INCONCLUSIVE", True, "doubt"),
        ("FAIL", True, "bad"),
        ("PASS", False, "bad"),
    ],
)
def test_the_verdict_has_the_colour_of_the_gate_unless_a_cell_is_invalid(verdict, is_valid, kind):
    record = make_record(valid=is_valid)

    page = page_of(record, verdict=verdict_of({record.cell: verdict}))

    assert classes_of(page, "h1") == kind


def test_the_alignment_marks_what_differs(page):
    section = page[page.index('id="worst-utterances"') :]

    assert "<del>BROWN</del> <ins>BRAUN</ins>" in section


def test_a_field_that_differs_by_cell_is_not_shown_as_one_value():
    records = [make_record(environment={"x": str(i)}) for i in range(2)]

    (table,) = Page(page_of(*records)).tables["Fingerprint"]
    assert table == [{"field": "x", "value": "differs by cell: 0, 1"}]
