"""Records, baselines and histories that earlier versions wrote are read, and judged sensibly.

``tests/data/<commit or schema>`` was written by that version's own code.
"""

import shutil
from pathlib import Path

import pytest

from tests.helpers.history import verify
from w2v_core.records.history import History
from w2v_core.records.record import SCHEMA_VERSION
from w2v_core.records.store import read_run
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.baseline import load_baseline
from w2v_core.verdict.commands import gate_runs
from w2v_core.verdict.judge import judge_alone

DATA = Path(__file__).resolve().parents[1] / "data"
OLDER = ["d110d4f", "schema1"]


@pytest.fixture(params=OLDER)
def older(request):
    return DATA / request.param


def test_an_older_run_is_judged_against_an_older_baseline_and_history(older, tmp_path):
    history = tmp_path / "history.sqlite"
    shutil.copyfile(older / "history.sqlite", history)
    found = gate_runs([older / "run"], older / "baseline.json", history=history, max_age=None)

    assert found.by_kind["throughput"] == "PASS"
    assert found.by_kind["drift"] == "PASS"
    assert "integrity" not in found.by_kind


def test_an_older_record_is_read_with_defaults_for_what_it_lacks(older):
    (record,) = read_run(older / "run").records

    assert (record.schema_version, record.energy_j) == (SCHEMA_VERSION, None)


def test_an_older_history_is_whole_and_goes_on(older, tmp_path):
    """Every checksum and the chain hold after this version appended to it."""
    path = tmp_path / "history.sqlite"
    shutil.copyfile(older / "history.sqlite", path)
    with History(path) as history:
        assert verify(path) == 5
        assert history.append(read_run(older / "run").records) == 1
        assert verify(path) == 6


def test_an_older_baseline_is_continued(older, tmp_path):
    """A new approval is chained to the one that an earlier version signed."""
    target = tmp_path / "baseline.json"
    shutil.copyfile(older / "baseline.json", target)
    first = load_baseline(target)
    runs = [older / "run", *_runs_of(first, tmp_path)]
    approved, _ = approve_runs(runs, target, reason="again")

    assert approved.approvals[0] == first.approvals[0]
    assert load_baseline(target).approvals == approved.approvals


def _runs_of(baseline, folder):
    """The baseline's runs with transcripts lent to those whose baseline dropped them."""
    from dataclasses import replace

    from w2v_core.records.store import write_run_json

    (records,) = baseline.cells.values()
    for i, record in enumerate(records):
        path = folder / f"run-{i}"
        path.mkdir()
        write_run_json(path, [replace(record, scores=records[-1].scores)])
        yield path


def test_a_record_that_was_invalid_for_its_ceiling_alone_is_sound_and_red_as_wer(older):
    """D5: what schema 1 and 2 called invalid for its WER is a verdict of WER."""
    by_ceiling, also_unsound = read_run(older / "ceiling").records

    assert (by_ceiling.valid, by_ceiling.invalid_reasons) == (True, ())
    assert (also_unsound.valid, also_unsound.invalid_reasons) == (False, ("parity is lost",))


def test_a_record_that_was_invalid_for_its_ceiling_alone_fails_as_wer(older):
    found = judge_alone([read_run(older / "ceiling").records[0]]).cells[0]

    assert [f.verdict for f in found.findings if f.kind == "wer-ceiling"] == ["FAIL"]
    assert all("not valid" not in f.reason for f in found.findings)


def test_a_real_run_of_an_earlier_version_is_sound():
    """A canary measured by d110d4f on a processor."""
    found = judge_alone(read_run(DATA / "d110d4f" / "measured.json").records)

    assert found.verdict == "PASS"
