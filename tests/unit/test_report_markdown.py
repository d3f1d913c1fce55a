"""summary.md: the verdict first, the worst cells next, and never too long for a CI."""

import pytest

from tests.helpers.records import ENVIRONMENT, make_record, make_run
from w2v_core.report.markdown import MAX_BYTES, render_markdown
from w2v_core.verdict.run import Run


def render(records, **more):
    return render_markdown(Run(records=tuple(records)), **more)


def cells(count):
    return [f"base{i:03d}-float32-test_clean-graphs-exact" for i in range(count)]


def test_the_first_line_is_the_verdict():
    records = [make_record(), make_record(valid=False, invalid_reasons=("lost one",))]

    assert render(records).splitlines()[0] == "# 1 of 2 cells valid"


@pytest.mark.parametrize("count", [20, 21])
def test_at_most_twenty_cells_are_shown_and_the_rest_is_counted(count):
    text = render(make_run(0, cells=cells(count)))

    assert text.count("-test_clean-graphs-exact ") == 20
    assert ("1 more cells" in text) == (count == 21)


def test_an_invalid_cell_is_shown_whatever_its_place_in_the_matrix():
    records = list(make_run(0, cells=cells(40)))
    records[39] = make_record(cell=cells(40)[39], valid=False, invalid_reasons=("lost one",))

    text = render(records)

    assert "base039-float32-test_clean-graphs-exact** is invalid: lost one" in text


@pytest.mark.parametrize("key", ["synapse_build", "driver", "torch", "transformers"])
def test_the_release_under_test_is_named_as_the_backend_writes_it(key):
    """D2: the summary read a key that no backend writes, and never named the release."""
    assert f"{key} {ENVIRONMENT[key]}" in render([make_record()])


def test_links_lead_to_the_rest():
    text = render([make_record()])

    assert "[summary.html](summary.html)" in text
    assert "[summary.csv](summary.csv)" in text


@pytest.mark.parametrize("words", [1, 10_000])
def test_it_fits_into_a_step_summary_whatever_the_run(words):
    reason = "\u4e2d" * 10_000
    records = [
        make_record(
            cell=f"{'m' * 3000}{i}-float32-test_clean-graphs-exact",
            valid=False,
            invalid_reasons=(reason,) * 200,
            command="x " * 50_000,
            release="r" * 10_000,
            device_name="d" * 10_000,
            environment={"torch": "t" * 100_000, "commit": "c" * words},
        )
        for i in range(96)
    ]

    text = render(records, left_out=("f" * 100_000,))

    assert len(text.encode()) <= MAX_BYTES == 60_000
    assert text.startswith("# 0 of 96 cells valid")


def test_what_is_cut_off_says_so(monkeypatch):
    monkeypatch.setattr("w2v_core.report.markdown.MAX_BYTES", 1000)

    text = render(make_run(0, cells=cells(20)))

    assert len(text.encode()) <= 1000
    assert text.endswith(" more lines left out; the rest is in [summary.html](summary.html).\n")


def test_a_run_without_a_cell_renders():
    assert "No cell." in render([])
