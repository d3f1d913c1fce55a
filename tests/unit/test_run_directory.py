"""A run's directory is whole or marked incomplete; what cannot be written or read says so."""

import json

import pytest

from tests.helpers.records import make_record
from w2v_core.errors import RecordError, ReportError
from w2v_core.report import run_directory
from w2v_core.report.run_directory import INCOMPLETE, read_run, reserve, write_run


@pytest.fixture
def directory(tmp_path):
    return reserve(tmp_path, release="1.24", run_id="night")


def test_a_reserved_directory_is_marked_incomplete(directory):
    assert (directory / INCOMPLETE).exists()


def test_a_written_run_reads_back_the_same(directory):
    records = [make_record(), make_record()]
    write_run(directory, records)

    assert read_run(directory) == records
    assert not (directory / INCOMPLETE).exists()


def test_a_written_run_has_its_four_files_and_nothing_else(directory):
    write_run(directory, [make_record()])

    assert sorted(p.name for p in directory.iterdir()) == [
        "hypotheses.jsonl",
        "run.json",
        "summary.csv",
        "summary.md",
    ]


def test_an_incomplete_run_is_not_read(directory):
    write_run(directory, [make_record()])
    (directory / INCOMPLETE).touch()

    with pytest.raises(RecordError, match="incomplete"):
        read_run(directory)


def test_a_cut_off_run_is_not_read(directory):
    write_run(directory, [make_record()])
    path = directory / "run.json"
    path.write_text(path.read_text()[:-20])

    with pytest.raises(RecordError, match=r"run\.json cannot be read"):
        read_run(directory)


def test_an_edited_record_is_not_read(directory):
    write_run(directory, [make_record()])
    path = directory / "run.json"
    data = json.loads(path.read_text())
    data["records"][0]["record"]["rtfx"] *= 2
    path.write_text(json.dumps(data))

    with pytest.raises(RecordError, match="checksum"):
        read_run(directory)


def test_a_full_disk_leaves_the_mark_and_no_half_file(directory, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_directory.os, "fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write_run(directory, [make_record()])

    assert [p.name for p in directory.iterdir()] == [INCOMPLETE]


def test_a_reports_directory_that_is_a_file_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "reports").write_text("")

    with pytest.raises(ReportError, match="--reports-dir"):
        reserve(tmp_path / "reports", release="dev", run_id="night")


@pytest.mark.parametrize("name", ["../../etc", "/abs", "..", "", "a b\n"])
def test_a_name_cannot_leave_the_reports_directory(tmp_path, name):
    directory = reserve(tmp_path, release=name, run_id="night")

    assert directory.resolve().parent.parent == tmp_path.resolve()
