"""w2v report: the page of a run, from whatever holds its records."""

import json

import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, make_run, write_run
from w2v_core.cli import main
from w2v_core.records.history import History
from w2v_core.records.record import to_json
from w2v_core.records.store import INCOMPLETE, StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.baseline import save_baseline


def run(*arguments):
    return main(["report", *map(str, arguments)])


@pytest.fixture
def tonight(tmp_path):
    return write_run(tmp_path / "reports" / "1.24" / "tonight", make_run(9))


def write_nights(tmp_path, count, **changes):
    for night in range(count):
        write_run(tmp_path / "reports" / "1.24" / f"night-{night}", make_run(night, **changes))
    return tmp_path / "reports"


def test_the_page_lies_beside_the_run_and_its_path_is_printed(tonight, capsys):
    assert run(tonight) == 0
    assert capsys.readouterr().out == f"{tonight / 'summary.html'}\n"
    assert "3 of 3 cells valid" in (tonight / "summary.html").read_text()


def test_run_json_itself_is_taken_too(tonight):
    run(tonight / "run.json")

    assert (tonight / "summary.html").exists()


def test_a_benchmark_json_gets_a_page_of_its_name(tmp_path, capsys):
    path = tmp_path / "out.json"
    rows = [{"extra_info": {"record": to_json(r)}} for r in make_run(0)]
    path.write_text(json.dumps({"benchmarks": rows}))

    assert run(path) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.html'}\n"


def test_the_output_can_be_named_in_a_directory_that_is_not_there(tonight, tmp_path):
    assert run(tonight, "-o", tmp_path / "a" / "b" / "page.html") == 0
    assert (tmp_path / "a" / "b" / "page.html").exists()


def test_a_reports_directory_gives_the_trend(tonight, tmp_path):
    write_nights(tmp_path, 6)

    run(tonight, "--history", tmp_path / "reports")

    assert "3 cells over 7 nights" in (tonight / "summary.html").read_text()


def test_a_history_file_gives_the_trend(tonight, tmp_path):
    with History(tmp_path / "history.sqlite") as history:
        for night in range(6):
            history.append(make_run(night))

    run(tonight, "--history", tmp_path / "history.sqlite")

    assert "3 cells over 7 nights" in (tonight / "summary.html").read_text()


def test_a_baseline_gives_the_anchor_and_the_cusum(tonight, tmp_path):
    baseline = approve([StoredRun(source=str(i), records=make_run(i)) for i in range(6)])
    save_baseline(baseline, tmp_path / "baseline.json")
    write_nights(tmp_path, 8)

    run(tonight, "--history", tmp_path / "reports", "--baseline", tmp_path / "baseline.json")

    page = (tonight / "summary.html").read_text()
    assert "1 is the anchor" in page
    assert "CUSUM, standard deviations" in page
    assert "No gate has judged this run" not in page


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"environment": {**ENVIRONMENT, "device_name": "GAUDI3"}}, id="other-card"),
        pytest.param({"valid": False}, id="invalid"),
        pytest.param({"device_name": "simulated"}, id="simulated"),
    ],
)
def test_nights_that_do_not_compare_are_left_out(tonight, tmp_path, changes):
    write_nights(tmp_path, 3, **changes)

    run(tonight, "--history", tmp_path / "reports")

    assert "no cell has two valid nights" in (tonight / "summary.html").read_text()


def test_a_night_that_cannot_be_read_is_named_and_the_others_are_drawn(tonight, tmp_path, capsys):
    reports = write_nights(tmp_path, 3)
    (reports / "1.24" / "night-1" / "run.json").write_text("{")
    (reports / "1.24" / "night-2" / INCOMPLETE).touch()

    assert run(tonight, "--history", reports) == 0
    errors = capsys.readouterr().err.splitlines()
    assert ["night-1" in errors[0], "night-2" in errors[1], len(errors)] == [True, True, 2]
    assert "3 cells over 2 nights" in (tonight / "summary.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        pytest.param(["{tmp}/gone"], 3, "no such run", id="no-run"),
        pytest.param(["{run}", "--history", "{tmp}/gone"], 2, "does not exist", id="no-history"),
        pytest.param(["{run}", "--baseline", "{tmp}/gone"], 3, "missing baseline", id="baseline"),
        pytest.param(["{run}", "-o", "{tmp}"], 2, "is a directory", id="output"),
        pytest.param(["{run}", "-o", "/dev/null/page.html"], 3, "--output FILE", id="read-only"),
    ],
)
def test_a_wrong_value_is_one_paragraph(tonight, tmp_path, capsys, arguments, code, part):
    filled = [a.replace("{tmp}", str(tmp_path)).replace("{run}", str(tonight)) for a in arguments]

    assert run(*filled) == code
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert part in printed


def test_an_incomplete_run_is_refused(tonight, capsys):
    (tonight / INCOMPLETE).touch()

    assert run(tonight) == 3
    assert "incomplete" in capsys.readouterr().err


def test_the_same_run_gives_the_same_bytes(tonight):
    run(tonight)
    first = (tonight / "summary.html").read_bytes()
    run(tonight)

    assert (tonight / "summary.html").read_bytes() == first


def test_every_cell_is_on_the_page(tonight):
    run(tonight)

    page = (tonight / "summary.html").read_text()
    assert all(cell in page for cell in CELLS)


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        run("--help")

    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(flag in text for flag in ("RUN", "--history", "--baseline", "--output"))
