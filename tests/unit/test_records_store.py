"""The store: what writes a run also reads it, and the verdict is data beside it."""

import json

import pytest

from tests.helpers.records import CELLS, changed, make_record, make_run
from w2v_core.errors import RecordError
from w2v_core.records.store import Session, read_run, read_verdict, write_run_json, write_verdict
from w2v_core.verdict.judge import judge_alone
from w2v_core.verdict.outcome import GateResult
from w2v_core.verdict.run import load_run


def test_a_session_and_its_records_come_back_as_they_were(tmp_path):
    session = Session(xdist=True, outcomes={"a": "passed"}, exit_status=1)
    records = make_run(0)
    write_run_json(tmp_path, records, session=session)

    read = read_run(tmp_path)
    assert (read.records, read.session) == (records, session)


def test_a_verdict_comes_back_as_it_was(tmp_path):
    verdict = judge_alone(make_run(0, limit=None, wer=0.9))
    write_run_json(tmp_path, make_run(0))
    write_verdict(tmp_path, verdict.to_json())

    assert load_run(tmp_path).verdict == verdict


def test_a_run_from_before_verdicts_has_none(tmp_path):
    write_run_json(tmp_path, make_run(0))

    assert read_verdict(tmp_path) is None
    assert load_run(tmp_path).verdict is None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("schema_version", 99, "schema_version is 99"),
        ("cells", [{"cell": 3}], "cells[0].cell is 3: expected `str`, got `int`"),
        ("findings", "none", "findings is 'none': expected `array`, got `str`"),
    ],
)
def test_a_bent_verdict_names_file_field_value_and_what_was_expected(tmp_path, field, value, said):
    write_run_json(tmp_path, make_run(0))
    write_verdict(tmp_path, judge_alone(make_run(0)).to_json())
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))

    with pytest.raises(RecordError) as error:
        load_run(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


def test_a_wer_above_its_ceiling_is_red_as_wer_and_not_as_unsound():
    """D5: a sound record with a bad WER fails its ceiling; its integrity passes."""
    found = judge_alone([make_record(cell=CELLS[0], limit=None)])  # WER 2.5 %
    worse = judge_alone([changed(make_record(cell=CELLS[0], limit=None), wer=0.2)])

    assert found.by_kind == {"integrity": "PASS", "wer-ceiling": "PASS"}
    assert worse.by_kind["wer-ceiling"] == "FAIL"


def test_alone_a_cell_without_a_ceiling_passes_for_being_sound():
    found = judge_alone([make_record()])

    assert (found.verdict, found.exit_code, found.baseline) == ("PASS", 0, None)


def test_alone_an_invalid_cell_fails_with_its_reason():
    found = judge_alone([make_record(valid=False, invalid_reasons=("parity is lost",))])

    assert found.exit_code == 1
    assert "parity is lost" in found.summary()


def test_a_result_is_the_same_after_json():
    found = judge_alone([make_record(valid=False, invalid_reasons=("parity is lost",))])

    assert GateResult.from_json(json.loads(json.dumps(found.to_json()))) == found
