"""What the sections of summary.html show, down to the figure: each under its heading."""

from dataclasses import replace

import pytest

from tests.helpers.html import Page
from tests.helpers.pages import page_of, rich_page, verdict_of
from tests.helpers.records import make_record


@pytest.fixture(scope="module")
def page():
    return Page(rich_page())


def test_the_statuses_are_counted_in_the_order_of_their_weight(page):
    counts = ["1 INVALID", "2 FAIL", "3 INCONCLUSIVE", "2 PASS"]

    below = page.texts[""].split("cells valid")[-1]
    places = [below.index(count) for count in counts]
    assert places == sorted(places)


def test_a_tile_shows_the_speed_the_wer_and_the_verdict_of_its_cell(page):
    tiles, kinds = page.tables["Matrix"][0][1], page.kinds["Matrix"][0][1]

    assert tiles[""] == "large on test_clean"
    assert tiles["bfloat16, graphs, exact"] == "6669 -4.9 % WER 1.82 % FAIL"
    assert kinds["bfloat16, graphs, exact"] == ["bad"]


def test_a_line_of_the_matrix_shows_the_figures_of_its_cell(page):
    lines = {row["cell"]: row for row in page.tables["Matrix"][1]}

    row = lines["large-bfloat16-test_clean-graphs-exact"]
    assert row["status"] == "FAIL"
    assert (row["WER %"], row["RTFx"], row["p50 ms"], row["p99 ms"]) == ("1.82", "6669", "10", "20")
    assert row["vs baseline"] == "0.951 [0.895, 1.010]"


def test_a_vanished_cell_has_its_tile():
    (one, two) = (make_record(), make_record(cell="base-float32-test_clean-graphs-exact"))
    verdict = verdict_of({one.cell: "FAIL", two.cell: "FAIL"}, kind="integrity")

    page = Page(page_of(one, verdict=verdict))

    assert page.tables["Matrix"][0][0]["float32, graphs, exact"] == "vanished"
    assert page.kinds["Matrix"][0][0]["float32, graphs, exact"] == ["bad"]
    assert "1 vanished" in page.texts[""]


def test_the_worst_change_against_the_baseline_is_on_the_first_screen(page):
    assert "Slowest against the baseline -4.9 %" in page.texts[""]


def test_a_buckets_row_shows_its_frames_and_its_efficiency(page):
    use = {row["bucket, frames \u00d7 rows"]: row for row in page.tables["Buckets and padding"][0]}

    row, total = use["400 \u00d7 8"], use["all"]
    assert (row["real frames"], row["padded frames"]) == ("2,900", "6,400")
    assert row["efficiency"] == "0.453"  # 2900 / 6400
    assert total["efficiency"] == "0.660"  # (5970 + 2900) / (7040 + 6400)


def test_an_efficiency_below_a_half_is_marked(page):
    kinds = [row["efficiency"] for row in page.kinds["Buckets and padding"][0]]

    assert ["doubt" in kind for kind in kinds] == [False, True, False]


def test_cells_that_use_their_buckets_alike_share_a_table(page):
    assert "test-clean, plan optimal-8x8: 8 cells" in page.texts["Buckets and padding"]


def test_the_stages_of_a_pass_are_shown_with_what_overlapping_them_gains():
    stages = {"h2d": 0.5, "compute": 1.0, "d2h": 0.25, "decode": 0.25}
    record = replace(make_record(), serial_stage_s=stages, rounds_s=(1.0, 1.0, 1.0))

    ((row,),) = Page(page_of(record)).tables["Stages"]

    assert row == {
        "cell": record.cell,
        "staging and H2D ms": "500",
        "compute ms": "1000",
        "D2H ms": "250",
        "CTC decoding ms": "250",
        "serial s": "2",
        "median round s": "1",
        "gain \u00d7": "2.00",
    }


@pytest.mark.parametrize(
    ("title", "says"),
    [("Stages", "no cell holds stage times"), ("Buckets and padding", "no cell holds the use")],
)
def test_a_record_of_the_first_schema_version_has_a_page(title, says):
    old = replace(make_record(), serial_stage_s=None, buckets=None)

    assert says in Page(page_of(old)).texts[title]


def test_a_chart_leaves_out_what_all_cells_share_and_says_so(page):
    text = page.texts["Latency"]

    assert "All cells are of test_clean, graphs." in text
    assert "large-float32-stock" in text
