"""The page over all runs: each cell's trend, and what changed, alarmed and was approved when."""

import time

import numpy as np
import pytest

from tests.helpers.html import Page
from tests.helpers.records import ENVIRONMENT, START, make_run, write_run
from w2v_core.cli import main
from w2v_core.records.history import History
from w2v_core.verdict.approving import acknowledge, approve_runs

CELLS = tuple(f"m{i}-float32-test_clean-graphs-exact" for i in range(8))
SLOWED = CELLS[-1]  # by name it would come last
NEW = {**ENVIRONMENT, "transformers": "5.0"}


def run(night, loss=0.0, **changes):
    plain = make_run(night, cells=CELLS, sd=0.003, **changes)
    slower = make_run(night, cells=CELLS, sd=0.003, slowdown=loss, **changes)
    return (*plain[:-1], slower[-1])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    paths = [write_run(folder / "r" / str(i), run(i)) for i in range(8)]
    approve_runs(paths, folder / "b" / "x.json", reason="the first", now=START.replace(day=9))
    with History(folder / "h.sqlite") as history:
        for i in range(8):
            history.append(run(i))
        for i in range(10, 16):
            history.append(run(i, environment=NEW if i > 11 else ENVIRONMENT))
        for i in range(16, 24):
            history.append(run(i, 0.03, environment=NEW))
        for i in range(10, 12):
            other = {**ENVIRONMENT, "module_id": 5}
            history.append(
                tuple(
                    r
                    for r in make_run(i, cells=CELLS[:2], seed=4, environment=other, run_id=f"o{i}")
                )
            )
    acknowledge(folder / "b", folder / "h.sqlite", reason="waits for 1.25", acknowledged_by="me")
    words = ["--baseline", str(folder / "b"), "-o", str(folder / "all.html")]
    assert main(["report", str(folder / "h.sqlite"), *words]) == 0
    return Page((folder / "all.html").read_text())


def events(page):
    return [(row["what"], row["which"]) for row in page.tables["What happened when"][0]]


def test_each_card_has_its_cells_the_one_in_trouble_first(page):
    first = page.tables["host gaudi-1, module_id 3"][0]

    assert len(first) == 8
    assert first[0]["cell"] == SLOWED
    assert float(first[0]["last"]) == pytest.approx(0.97, abs=0.01)
    assert len(page.tables["host gaudi-1, module_id 5"][0]) == 2


def test_every_cell_has_a_line_over_its_nights(page):
    lines = [a["points"] for tag, a in page.elements if tag == "polyline"]

    assert [len(points.split()) for points in lines[:8]] == [22] * 8


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("machine changed", None),
        ("software changed", "host gaudi-1, module_id 3: transformers 4.55.0 -> 5.0"),
        ("drift alarm", f"host gaudi-1, module_id 3: {SLOWED}"),
        ("approved", "8 runs by : the first"),
        ("drift acknowledged", "by me: waits for 1.25"),
    ],
)
def test_what_happened_is_listed(page, what, said):
    found = [text for kind, text in events(page) if kind == what]

    assert bool(found) == (said is not None)
    assert said is None or any(said in text for text in found)


def test_the_newest_comes_first(page):
    dates = [row["when"] for row in page.tables["What happened when"][0]]

    assert dates == sorted(dates, reverse=True)


def test_a_history_without_a_baseline_has_no_sums(tmp_path, capsys):
    with History(tmp_path / "h.sqlite") as history:
        history.append(run(0))
    assert main(["report", str(tmp_path / "h.sqlite"), "--json"]) == 0
    page = Page((tmp_path / "history.html").read_text())

    assert page.tables["host gaudi-1, module_id 3"][0][0]["CUSUM"] == "-"
    assert page.problems == []


def test_an_export_of_a_history_is_refused(tmp_path, capsys):
    with History(tmp_path / "h.sqlite") as history:
        history.append(run(0))

    assert main(["report", str(tmp_path / "h.sqlite"), "--export", "trn"]) == 2
    assert "exports are of a run" in capsys.readouterr().err


@pytest.mark.slow  # writes 8,640 records
def test_ninety_nights_of_96_cells_are_a_small_page_soon(tmp_path):
    """Under 1 MB; the time is printed, not asserted."""
    many = tuple(f"m{i}-float32-test_clean-graphs-exact" for i in range(96))
    with History(tmp_path / "h.sqlite") as history:
        for night in range(98):
            history.append(make_run(night, cells=many))
    paths = [write_run(tmp_path / "r" / str(i), make_run(i, cells=many)) for i in range(8)]
    approve_runs(paths, tmp_path / "b.json")
    start = time.perf_counter()
    words = ["--baseline", str(tmp_path / "b.json"), "-o", str(tmp_path / "all.html")]
    assert main(["report", str(tmp_path / "h.sqlite"), *words]) == 0
    size = (tmp_path / "all.html").stat().st_size
    print(f"{size} bytes in {time.perf_counter() - start:.1f} s")  # noqa: T201

    assert size <= 1_000_000
    assert np.isfinite(size)
