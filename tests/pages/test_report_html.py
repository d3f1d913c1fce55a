"""summary.html: self-contained, escaped, small, the same bytes for the same input."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest

from tests.helpers.pages import rich_page
from tests.helpers.records import make_record, make_run, make_scores
from w2v_core.records.history_table import Night
from w2v_core.report import plots
from w2v_core.report.html import SECTIONS, render_page
from w2v_core.verdict.calibrate import simulate_nights
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import CellVerdict, Finding, GateResult

ROOT = Path(__file__).resolve().parents[2]


class Page(HTMLParser):
    """Collects tags, ids, references and headings; void elements close themselves."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.ids, self.links, self.headings = [], [], [], [], []
        self.problems = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)
            if name.startswith("on"):
                self.problems.append(f"{tag} has {name}")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append((self.open[-1], data))


@pytest.fixture(scope="module")
def page():
    return rich_page()


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page)


def text_of(page, title):
    start = page.index(f"<h2>{title}</h2>")
    return page[start : page.index("</section>", start)]


def test_the_page_is_well_formed(parsed):
    assert parsed.problems == []
    assert parsed.open == []


def test_the_verdict_is_the_first_thing_on_the_page(parsed):
    level, text = parsed.headings[0]

    assert level == "h1"
    assert text.startswith("FAIL: ")
    assert text.endswith("; 7 of 8 cells valid")


def test_the_first_screen_says_how_much_was_measured():
    records = [make_record(rounds=3), make_record(rounds=5)]

    assert "12 utterances and 3 to 5 timed rounds a cell" in render_page(records)


def test_every_section_is_there_in_order(parsed):
    assert [text for level, text in parsed.headings if level == "h2"] == list(SECTIONS)


def test_the_page_needs_no_network_and_no_script(page, parsed):
    assert "script" not in parsed.tags
    assert [x for x in parsed.links if not x.startswith(("#", "data:"))] == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page


def test_scripts_would_not_run_even_if_one_got_in(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)

    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_the_ids_of_all_charts_are_unique_and_every_reference_has_its_id(page, parsed):
    referred = {x[1:] for x in parsed.links if x.startswith("#")}
    referred |= set(re.findall(r"url\(#([^)]+)\)", page))

    assert len(parsed.ids) == len(set(parsed.ids))
    assert referred <= set(parsed.ids)


def test_charts_bring_no_style_for_the_whole_page(page):
    assert page.count("<style>") == page.count("<style") == 1


def test_charts_take_the_colours_of_the_page(page):
    used = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", page))

    assert {c for c in used if c.startswith("#")} == set()
    assert "var(--series-1)" in used


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
    tonight = make_run(90, cells=names)

    page = render_page(tonight, history=history)

    assert len(page.encode()) <= 1_000_000
    tiles, cells = text_of(page, "Matrix").split("<h3>All cells</h3>")
    assert cells.count('<th scope="row"') == 96
    assert tiles.count("<td") == tiles.count("<b>") == 96
    assert "Drawn are 24 of 96 cells" in text_of(page, "Throughput")
    assert "96 cells over 91 nights" in text_of(page, "Nights")


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

    assert says in text_of(render_page([bare]), title)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_run_without_a_cell_has_all_sections(title):
    assert text_of(render_page([]), title)


def test_without_matplotlib_the_page_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)

    page = render_page([make_record()])

    assert "pip install &#x27;w2v-core[report]&#x27;" in text_of(page, "Throughput")
    assert "<svg" not in page


def test_the_gates_error_rates_are_shown_where_they_were_measured():
    calibration = simulate_nights(nights=20, cells=3)

    assert "measured on 20 simulated nights of 3 cells" in render_page(
        [make_record()], calibration=calibration
    )
    assert "run w2v calibrate" in render_page([make_record()])


def test_a_valid_run_that_no_gate_judged_is_not_called_good():
    page = render_page([make_record()])

    assert "No gate has judged this run" in page
    assert "valid, not judged" in page


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        pytest.param([make_record()], "plain", id="valid-not-judged"),
        pytest.param([make_record(), make_record(valid=False)], "bad", id="invalid"),
        pytest.param([], "bad", id="nothing-measured"),
    ],
)
def test_without_a_gate_no_verdict_is_green(records, kind):
    assert f'<h1 class="{kind}">' in render_page(records)


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
    finding = Finding(kind="throughput", verdict=verdict, reason="because")
    gate = GateResult(
        cells=(CellVerdict(cell=record.cell, findings=(finding,)),), findings=(), policy=Policy()
    )

    assert f'<h1 class="{kind}">' in render_page([record], gate=gate)


def test_an_axis_does_not_blow_up_the_noise_of_rounds():
    steady = text_of(render_page([make_record(rtfx=1000.0)]), "Throughput")

    ticks = [float(t) for t in re.findall(r">(\d+(?:\.\d+)?)</text>", steady)]
    assert max(ticks) - min(ticks) > 50
    assert "+1e" not in steady


def test_the_alignment_marks_what_differs(page):
    text = text_of(page, "Worst utterances")

    assert "<del>BROWN</del> <ins>BRAUN</ins>" in text


def test_a_field_that_differs_by_cell_is_not_shown_as_one_value():
    records = [make_record(environment={"x": str(i)}) for i in range(2)]

    assert "differs by cell: 0, 1" in text_of(render_page(records), "Fingerprint")


def test_a_dollar_in_a_name_is_no_formula_to_a_chart():
    cell = "base$x$-float32-test_clean-graphs-exact"

    assert f">{cell}</text>" in text_of(render_page([make_record(cell=cell)]), "Throughput")


def test_every_section_can_be_reached_from_the_top(page, parsed):
    linked = [x[1:] for x in parsed.links if x.startswith("#") and f'href="{x}">' in page]

    assert len([x for x in linked if f'<section id="{x}">' in page]) == len(SECTIONS)
