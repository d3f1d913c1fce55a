"""A run's directory is whole or marked incomplete; what cannot be written or read says so."""

import json

import pandas as pd
import pytest

from tests.helpers.records import make_record
from w2v_core import jsonfile
from w2v_core.errors import RecordError, ReportError
from w2v_core.records.store import INCOMPLETE, read_run, reserve, write_run_json
from w2v_core.report import files
from w2v_core.report.files import write_file, write_run
from w2v_core.report.tables import summary
from w2v_core.verdict.run import Run


@pytest.fixture
def directory(tmp_path):
    return reserve(tmp_path, release="1.24", run_id="night")


def test_a_reserved_directory_is_marked_incomplete(directory):
    assert (directory / INCOMPLETE).exists()


def test_a_written_run_reads_back_the_same(directory):
    records = [make_record(), make_record()]
    write_run(directory, Run(records=tuple(records)))

    assert read_run(directory).records == tuple(records)
    assert not (directory / INCOMPLETE).exists()


def test_a_written_run_has_its_files_and_nothing_else(directory):
    write_run(directory, Run(records=(make_record(),)))

    assert sorted(p.name for p in directory.iterdir()) == [
        "hypotheses.jsonl",
        "perf_metric.csv",
        "run.json",
        "summary.csv",
        "summary.html",
        "summary.md",
        "summary.parquet",
        "verdict.json",
    ]


def test_a_written_run_is_listed_in_the_index_of_its_reports_directory(directory):
    write_run(directory, Run(records=(make_record(),)))

    index = (directory.parent.parent / "index.html").read_text()
    assert 'href="1.24/night/summary.html"' in index


def test_a_directory_that_nobody_reserved_gets_no_index_above_it(tmp_path):
    directory = tmp_path / "a" / "b"
    directory.mkdir(parents=True)

    write_run(directory, Run(records=(make_record(),)))

    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_without_pyarrow_the_parquet_file_is_left_out_and_the_summary_says_so(
    directory, monkeypatch
):
    monkeypatch.setattr(files, "find_spec", lambda name: None)

    write_run(directory, Run(records=(make_record(),)))

    assert not (directory / "summary.parquet").exists()
    assert "pyarrow is not installed" in (directory / "summary.md").read_text()


def test_the_parquet_file_is_the_twin_of_the_table(directory):
    records = [make_record(), make_record(wer=None, changed_vs_golden=("a", "b"))]
    write_run(directory, Run(records=tuple(records)))

    twin = pd.read_parquet(directory / "summary.parquet")
    assert list(twin.columns) == list(summary(records).columns)
    assert twin["rtfx"].tolist() == [r.rtfx for r in records]
    assert twin["wer"].isna().tolist() == [False, True]


def test_a_page_that_fails_leaves_the_records_and_the_mark(directory, monkeypatch):
    def fail(run):
        raise RuntimeError("no page")

    monkeypatch.setattr("w2v_core.report.page.render_page", fail)
    with pytest.raises(RuntimeError, match="no page"):
        write_run(directory, Run(records=(make_record(),)))

    assert (directory / "run.json").exists()
    assert (directory / INCOMPLETE).exists()


def test_an_incomplete_run_is_not_read(directory):
    write_run(directory, Run(records=(make_record(),)))
    (directory / INCOMPLETE).touch()

    with pytest.raises(RecordError, match="incomplete"):
        read_run(directory)


def test_a_cut_off_run_is_not_read(directory):
    write_run(directory, Run(records=(make_record(),)))
    path = directory / "run.json"
    path.write_text(path.read_text()[:-20])

    with pytest.raises(RecordError, match=r"run\.json: cannot be read"):
        read_run(directory)


def test_an_edited_record_is_not_read(directory):
    write_run(directory, Run(records=(make_record(),)))
    path = directory / "run.json"
    data = json.loads(path.read_text())
    data["records"][0]["record"]["rtfx"] *= 2
    path.write_text(json.dumps(data))

    with pytest.raises(RecordError, match="checksum"):
        read_run(directory)


def test_a_full_disk_leaves_the_mark_and_no_half_file(directory, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jsonfile.os, "fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write_run(directory, Run(records=(make_record(),)))

    assert [p.name for p in directory.iterdir()] == [INCOMPLETE]


def test_a_file_is_replaced_and_never_rewritten_under_its_reader(tmp_path):
    path = tmp_path / "page.html"
    write_file(path, "old")

    with path.open() as reader:
        write_file(path, "new")

        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_reports_directory_that_is_a_file_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "reports").write_text("")

    with pytest.raises(ReportError, match="use reports_dir"):
        reserve(tmp_path / "reports", release="dev", run_id="night")


@pytest.mark.parametrize("name", ["../../etc", "/abs", "..", "", "a b\n"])
def test_a_name_cannot_leave_the_reports_directory(tmp_path, name):
    directory = reserve(tmp_path, release=name, run_id="night")

    assert directory.resolve().parent.parent == tmp_path.resolve()


def test_runs_of_the_same_name_each_get_a_directory_of_their_own(directory, tmp_path):
    """Four runs that start in the same second lose nothing and write over nothing."""
    others = [reserve(tmp_path, release="1.24", run_id="night") for _ in range(3)]

    assert len({directory, *others}) == 4
    assert all((other / INCOMPLETE).exists() for other in others)


def test_the_cells_of_a_stopped_session_are_not_lost(tmp_path):
    """They are no run, until somebody who knows what is missing takes the mark off."""
    write_run_json(tmp_path, [make_record()])
    (tmp_path / INCOMPLETE).touch()
    with pytest.raises(RecordError, match="or remove INCOMPLETE there to take the cells"):
        read_run(tmp_path)

    (tmp_path / INCOMPLETE).unlink()
    assert len(read_run(tmp_path).records) == 1
