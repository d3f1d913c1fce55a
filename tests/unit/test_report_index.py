"""reports/index.html: every run, newest first, and how it ended."""

import re

import pytest

from tests.helpers.records import make_record
from w2v_core.records.store import reserve
from w2v_core.report.run_directory import write_index, write_run
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import CellVerdict, Finding, GateResult


def write(reports, run_id, *records, release="1.24"):
    directory = reserve(reports, release=release, run_id=run_id)
    if records:
        write_run(directory, records)
    return directory


def rows(reports):
    write_index(reports)
    text = (reports / "index.html").read_text()
    return [re.sub(r"<[^>]+>", " ", row).split() for row in text.split("<tr>")[2:]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    reports = tmp_path_factory.mktemp("reports")
    write(reports, "20260101T020000Z-hpu-a", make_record(), make_record(valid=False))
    write(reports, "20260103T020000Z-hpu-c")
    write(reports, "20260102T020000Z-hpu-b", make_record(), release="1.25")
    (reports / "baselines" / "old").mkdir(parents=True)
    return reports


def test_runs_are_listed_newest_first_across_releases(reports):
    assert [row[0] for row in rows(reports)] == [
        "20260103T020000Z-hpu-c",
        "20260102T020000Z-hpu-b",
        "20260101T020000Z-hpu-a",
    ]


def test_each_run_shows_its_release_and_its_headline(reports):
    assert [" ".join(row[1:7]) for row in rows(reports)][1:] == [
        "1.25 1 of 1 cells valid",
        "1.24 1 of 2 cells valid",
    ]


def test_a_run_has_the_colour_of_its_verdict(tmp_path):
    directory = reserve(tmp_path, release="1.24", run_id="night")
    record = make_record()
    finding = Finding(kind="throughput", verdict="FAIL", reason="slower")
    cell = CellVerdict(cell=record.cell, findings=(finding,))
    write_run(directory, [record], gate=GateResult(cells=(cell,), findings=(), policy=Policy()))

    index = (tmp_path / "index.html").read_text()
    assert '<td class="bad">FAIL: 1 FAIL; 1 of 1 cells valid</td>' in index


def test_a_run_that_did_not_finish_is_marked(reports):
    assert rows(reports)[0][2] == "incomplete"


def test_a_damaged_page_is_marked_and_hides_no_other_run(tmp_path):
    write(tmp_path, "20260101T020000Z-hpu-a", make_record())
    broken = write(tmp_path, "20260102T020000Z-hpu-b", make_record())
    (broken / "summary.html").write_bytes(b"\xff\xfe nonsense")

    assert [row[2] for row in rows(tmp_path)] == ["unreadable", "1"]


def test_no_run_is_said(tmp_path):
    write_index(tmp_path)

    assert "no run has been written yet" in (tmp_path / "index.html").read_text()
