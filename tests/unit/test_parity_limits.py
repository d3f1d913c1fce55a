"""Parity limits belong to a device, with their reason; beyond one, the message says what to do."""

import json

import pytest

from w2v_core.bench import parity
from w2v_core.bench.parity import LIMITS_FILE, limit_of
from w2v_core.scoring.goldens import FP32_LOGIT_LIMIT, GoldenDifference

MILDEST_PLANTED_FAULT = 2e-3  # RMS of logits; the canaries' model cards


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_device_without_a_row_has_the_limit_of_any(dtype):
    assert limit_of(dtype, device="cpu", device_name="a processor").device == "any"


def test_the_hosts_limit_is_the_one_that_the_canaries_faults_are_held_against():
    limit = limit_of("float32", device="cpu", device_name="a processor")

    assert limit.logit_distance == FP32_LOGIT_LIMIT


def test_a_cards_own_row_goes_before_its_kinds(monkeypatch, tmp_path):
    rows = json.loads(LIMITS_FILE.read_text())
    rows["GAUDI2"] = {"float32": {**rows["hpu"]["float32"], "logit_distance": 0.5}}
    monkeypatch.setattr(parity, "LIMITS_FILE", tmp_path / "limits.json")
    parity.LIMITS_FILE.write_text(json.dumps(rows))

    assert limit_of("float32", device="hpu", device_name="GAUDI2").logit_distance == 0.5
    assert limit_of("float32", device="hpu", device_name="GAUDI3").device == "hpu"
    assert limit_of("bfloat16", device="hpu", device_name="GAUDI3").device == "any"


def test_every_row_has_a_reason_and_tells_a_planted_fault_from_rounding():
    for device, dtypes in json.loads(LIMITS_FILE.read_text()).items():
        for dtype, row in dtypes.items():
            assert len(row["reason"]) > 20, (device, dtype)
        if "float32" in dtypes:
            assert dtypes["float32"]["logit_distance"] < MILDEST_PLANTED_FAULT


def test_beyond_the_limit_the_reason_says_by_how_much_and_how_to_accept_it():
    comparison = GoldenDifference(
        missing=(), extra=(), duplicate=(), wrong_num_frames=(), changed=(),
        changed_low_margin=(), distances={"a": 0.004, "b": 0.0001},
    )  # fmt: skip
    limit = limit_of("float32", device="hpu", device_name="GAUDI2")

    (reason,) = parity._reasons(comparison, "float32", limit=limit, device_name="GAUDI2", total=2)

    assert "worst a by 0.004, 4 times the limit of hpu" in reason
    assert "a row 'GAUDI2' in bench/parity_limits.json" in reason
