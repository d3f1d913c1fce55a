"""Several releases against the first one: the matrix, and what is shown of it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, make_run, make_scores
from w2v_core.report.comparison import render_csv, render_markdown, render_text, to_json
from w2v_core.verdict.relative import compare, compare_many

NEWER = {**ENVIRONMENT, "torch": "2.10.0"}
LARGE = make_scores(utterances=100, words=50, speakers=20)


def side(first=0, **changes):
    options = {"sd": 0.003, "scores": LARGE, "seed": first, **changes}
    return [r for i in range(5) for r in make_run(first + i, **options)]


def test_several_releases_are_a_matrix():
    """Each against the first one; the worst decides."""
    matrix = compare_many(
        {
            "1.23": side(),
            "1.24": side(20),
            "1.25": side(40, slowdown=0.08, environment={**ENVIRONMENT, "torch": "2.10.0"}),
        }
    )

    assert [c.verdict for c in matrix.comparisons] == ["PASS", "FAIL"]
    assert (matrix.verdict, matrix.exit_code) == ("FAIL", 1)
    assert [r["verdict 1.24"] for r in matrix.rows()] == ["PASS"] * 3
    assert json.loads(json.dumps(to_json(matrix)))["releases"] == ["1.23", "1.24", "1.25"]


def three_releases():
    return compare_many({"1.23": side(), "1.24": side(20), "1.25": side(40, slowdown=0.08)})


def test_a_matrix_shows_every_release_and_then_each_in_full():
    """Release by cell with verdict and interval, the worst cell first; the figures follow."""
    slow = [r for r in side(40, slowdown=0.08) if r.cell == CELLS[1]]
    fine = [r for r in side(40) if r.cell != CELLS[1]]
    matrix = compare_many({"1.23": side(), "1.24": side(20), "1.25": [*fine, *slow]})
    lines = render_text(matrix).splitlines()

    assert lines[0] == "2 releases against 1.23: FAIL"
    assert lines[4].startswith(f"{CELLS[1]} ")
    assert "PASS 0.998x [" in lines[4]
    assert "FAIL 0.92" in lines[4]
    assert "1.25 against 1.23: FAIL (1 FAIL, 2 PASS)" in lines


def test_a_matrix_in_csv_has_every_figure_of_every_release():
    """One row a cell and release, named."""
    rows = list(csv.DictReader(io.StringIO(render_csv(three_releases()))))

    assert [(r["a"], r["b"]) for r in rows] == [("1.23", "1.24")] * 3 + [("1.23", "1.25")] * 3
    assert float(rows[0]["latency_p90_b_s"]) == 0.015


def test_a_matrix_in_markdown_is_bounded_too():
    """Twenty releases of 200 cells stay under 60 kB, the matrix first."""
    one = three_releases()
    cells = [replace(one.comparisons[1].cells[0], cell=f"cell-{i}") for i in range(200)]
    big = replace(one.comparisons[1], cells=tuple(cells))
    names = tuple(f"r{i}" for i in range(20))
    matrix = replace(
        one, releases=("0", *names), comparisons=tuple(replace(big, name_b=name) for name in names)
    )
    text = render_markdown(matrix)

    assert 30_000 < len(text.encode()) <= 60_000
    assert text.startswith("**20 releases against 0: FAIL**")


def test_counts_and_memory_are_shown():
    """Captures, compilations, fallbacks, warm-up and memory of both sides; energy is unknown."""
    text = render_text(compare(side(), side(20, graph_captures=9, peak_memory_bytes=2**31)))

    assert "8 | 9" in text
    assert "1907 | 2048" in text  # MiB, as everywhere
    assert "12.5 | 12.5" in text
    assert "- | -" in text


def test_a_run_on_both_sides_is_not_compared_with_itself():
    """A directory given within another one is no second release."""
    runs = side()
    found = compare(runs, runs[:6])

    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 3)
    assert "stands on either side" in found.cells[0].reasons[0]


@pytest.mark.parametrize(("slowdown", "verdict"), [(0.05, "INCONCLUSIVE"), (0.15, "FAIL")])
def test_a_loss_of_a_tenth_that_noise_cannot_exclude_is_red(slowdown, verdict):
    """As in the gate: two runs of 20 % noise a side, and 15 % lost, is an UNDECIDED LOSS."""
    a = [make_run(i, sd=0.0) for i in range(2)]
    b = [make_run(20 + i, sd=0.0, slowdown=slowdown, release="1.25.0") for i in range(2)]
    wide = [
        [replace(r, rtfx=r.rtfx * f, rounds_s=tuple(t / f for t in r.rounds_s)) for r in run]
        for side in (a, b)
        for run, f in zip(side, (0.87, 1.15), strict=True)
    ]
    found = compare([*wide[0], *wide[1]], [*wide[2], *wide[3]])

    assert {c.verdict for c in found.cells} == {verdict}
    assert all(("UNDECIDED LOSS" in c.reasons[0]) == (verdict == "FAIL") for c in found.cells)
