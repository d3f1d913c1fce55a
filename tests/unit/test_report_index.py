"""reports/index.html: every run, newest first, and how it ended."""

import pytest

from tests.helpers.html import Page
from tests.helpers.pages import verdict_of
from tests.helpers.records import make_record
from w2v_core.cli import main
from w2v_core.records.store import VERDICT, reserve
from w2v_core.report.files import write_index, write_run
from w2v_core.verdict.run import Run, load_run


def write(reports, run_id, *records, release="1.24", **known):
    directory = reserve(reports, release=release, run_id=run_id)
    if records:
        write_run(directory, Run(records=records, **known))
    return directory


def parse(reports):
    return Page((reports / "index.html").read_text())


def rows(reports):
    write_index(reports)
    return parse(reports).tables[""][0]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    reports = tmp_path_factory.mktemp("reports")
    write(reports, "20260101T020000Z-hpu-a", make_record(), make_record(valid=False))
    write(reports, "20260103T020000Z-hpu-c")
    write(reports, "20260102T020000Z-hpu-b", make_record(), release="1.25")
    (reports / "baselines" / "old").mkdir(parents=True)
    return reports


def test_runs_are_listed_newest_first_across_releases(reports):
    assert [row["run"] for row in rows(reports)] == [
        "20260103T020000Z-hpu-c",
        "20260102T020000Z-hpu-b",
        "20260101T020000Z-hpu-a",
    ]


def test_each_run_shows_its_release_and_its_verdict(reports):
    assert [(row["release"], row["verdict"]) for row in rows(reports)] == [
        ("1.24", "incomplete"),
        ("1.25", "sound, 1 cell"),
        ("1.24", "FAIL: 1 FAIL, 1 cell"),
    ]


@pytest.mark.parametrize(
    ("verdict", "kind"), [("FAIL", "bad"), ("INCONCLUSIVE", "doubt"), ("PASS", "good")]
)
def test_a_run_has_the_colour_of_its_verdict(tmp_path, verdict, kind):
    record = make_record()
    write(tmp_path, "night", record, verdict=verdict_of({record.cell: verdict}))

    page = parse(tmp_path)
    assert page.tables[""][0][0]["verdict"] == f"{verdict}: 1 {verdict}, 1 cell"
    assert page.kinds[""][0][0]["verdict"] == [kind]


def test_a_sound_run_without_a_baseline_is_not_green(tmp_path):
    write(tmp_path, "night", make_record())

    assert parse(tmp_path).kinds[""][0][0]["verdict"] == ["plain"]


def test_a_page_made_again_the_index_and_a_script_read_the_same_verdict(tmp_path, capsys):
    """D3: the index took its verdict from the page, which lost it when it was made again."""
    records = [make_record(), make_record(cell="base-float32-test_clean-graphs-exact")]
    red = verdict_of({records[0].cell: "FAIL", records[1].cell: "PASS"})
    directory = write(tmp_path, "night", *records, verdict=red)
    before = rows(tmp_path), (directory / VERDICT).read_bytes()

    assert main(["report", str(directory)]) == 0

    assert (rows(tmp_path), (directory / VERDICT).read_bytes()) == before
    assert load_run(directory).verdict == red
    page = Page((directory / "summary.html").read_text())
    assert page.headings[0][1] == "FAIL: 1 FAIL, 1 PASS; 2 of 2 cells valid"


@pytest.mark.parametrize("content", [b"\xff\xfe nonsense", b"{}", b"[]", b""])
def test_a_damaged_verdict_is_marked_and_hides_no_other_run(tmp_path, content):
    write(tmp_path, "20260101T020000Z-hpu-a", make_record())
    broken = write(tmp_path, "20260102T020000Z-hpu-b", make_record())
    (broken / VERDICT).write_bytes(content)

    assert [row["verdict"] for row in rows(tmp_path)] == ["unreadable", "sound, 1 cell"]


def test_a_run_from_before_there_were_verdicts_is_listed(tmp_path):
    directory = write(tmp_path, "night", make_record())
    (directory / VERDICT).unlink()

    assert rows(tmp_path)[0]["verdict"].startswith("none was written")


def test_the_list_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("w2v_core.report.index.MOST_RUNS", 2)
    for night in range(3):
        reserve(tmp_path, release="1.24", run_id=f"night-{night}")

    assert [row["run"] for row in rows(tmp_path)] == ["night-2", "night-1"]
    assert "1 older runs are not listed" in parse(tmp_path).texts[""]


def test_no_run_is_said(tmp_path):
    write_index(tmp_path)

    assert "no run has been written yet" in (tmp_path / "index.html").read_text()
