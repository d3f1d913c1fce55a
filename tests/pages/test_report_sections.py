"""What the sections of summary.html show, down to the figure."""

import re
from dataclasses import replace

import pytest

from tests.helpers.pages import rich_page
from tests.helpers.records import make_record
from w2v_core.report.html import render_page
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import CellVerdict, Finding, GateResult


@pytest.fixture(scope="module")
def page():
    return rich_page()


def text_of(page, title):
    start = page.index(f"<h2>{title}</h2>")
    return page[start : page.index("</section>", start)]


def test_the_statuses_are_counted_in_the_order_of_their_weight(page):
    bar = page[page.index('<div class="states">') :]
    spans = re.findall(r'<span class="(\w+)" style="flex:\d+">([^<]*)</span>', bar)

    assert spans == [("bad", "1 INVALID"), ("bad", "3 FAIL"), ("doubt", "4 INCONCLUSIVE")]


def test_a_tile_shows_the_speed_the_wer_and_the_verdict_of_its_cell(page):
    tiles = text_of(page, "Matrix").split("<h3>")[0]

    row = tiles[tiles.index("large on test_clean") :]
    tile = re.search(r'<td class="(\w+)"><b>6669 <small>-5.0 %</small></b>(.*?)</td>', row)
    assert tile.groups() == ("bad", 'WER 1.82 %<span class="state">FAIL</span>')


def test_a_vanished_cell_has_its_tile():
    (one, two) = (make_record(), make_record(cell="base-float32-test_clean-graphs-exact"))
    finding = Finding(kind="integrity", verdict="FAIL", reason="vanished")
    cells = tuple(CellVerdict(cell=r.cell, findings=(finding,)) for r in (one, two))
    gate = GateResult(cells=cells, findings=(), policy=Policy())

    page = render_page([one], gate=gate)

    assert '<td class="bad"><span class="state">vanished</span></td>' in page
    assert '<span class="bad" style="flex:1">1 vanished</span>' in page


def test_the_worst_change_against_the_baseline_is_on_the_first_screen(page):
    first = page[: page.index("</header>")]

    assert "<dt>Slowest against the baseline</dt><dd>-5.0 %</dd>" in first


def test_a_buckets_row_shows_its_frames_and_its_efficiency(page):
    text = text_of(page, "Buckets and padding")

    assert '<th scope="row">400 \u00d7 8</th>' in text
    assert '<td class="n">2,900</td><td class="n">6,400</td>' in text
    assert '<td class="n doubt">0.453</td>' in text  # 2900 / 6400
    assert '<td class="n">0.660</td>' in text  # (5970 + 2900) / (7040 + 6400)


def test_cells_that_use_their_buckets_alike_share_a_table(page):
    assert "test-clean, plan optimal-8x8: 8 cells" in text_of(page, "Buckets and padding")


def test_the_stages_of_a_pass_are_shown_with_what_overlapping_them_gains():
    stages = {"h2d": 0.5, "compute": 1.0, "d2h": 0.25, "decode": 0.25}
    record = replace(make_record(), serial_stage_s=stages, rounds_s=(1.0, 1.0, 1.0))

    text = text_of(render_page([record]), "Stages")

    row = re.findall(r'<td class="n">([^<]*)</td>', text)
    assert row == ["500", "1000", "250", "250", "2", "1", "2.00"]


@pytest.mark.parametrize(
    ("title", "says"),
    [("Stages", "no cell holds stage times"), ("Buckets and padding", "no cell holds the use")],
)
def test_a_record_of_the_first_schema_version_has_a_page(title, says):
    old = replace(make_record(), serial_stage_s=None, buckets=None)

    assert says in text_of(render_page([old]), title)


def test_a_chart_leaves_out_what_all_cells_share_and_says_so(page):
    text = text_of(page, "Latency")

    assert "All cells are of test_clean, graphs." in text
    assert ">large-float32-stock</text>" in text
