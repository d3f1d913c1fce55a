"""pytest's last table: the verdict of each cell, the gate's where it is on."""

from types import SimpleNamespace

import pytest

from tests.helpers.records import make_record, make_scores
from w2v_core.pytest_terminal import verdict_of

OFF = SimpleNamespace(is_on=False)


def gate(verdict):
    found = None if verdict is None else SimpleNamespace(verdict=verdict)
    return SimpleNamespace(is_on=True, result=SimpleNamespace(cell=lambda name: found))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        pytest.param({"limit": None}, "PASS", id="within-its-ceiling"),
        pytest.param(
            {"limit": None, "scores": make_scores(errors=[1] * 6 + [0] * 6)},
            "FAIL",
            id="above-its-ceiling",
        ),
        pytest.param({"limit": 12}, "not judged", id="no-ceiling"),
        pytest.param({"limit": None, "valid": False}, "FAIL", id="invalid"),
        pytest.param({"limit": 12, "valid": False}, "FAIL", id="invalid-without-a-ceiling"),
    ],
)
def test_without_a_gate_the_ceiling_judges(changes, verdict):
    assert verdict_of(make_record(**changes), OFF) == verdict


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_with_a_gate_its_verdict_is_shown(verdict):
    assert verdict_of(make_record(), gate(verdict)) == verdict


def test_a_cell_that_the_gate_did_not_judge_is_inconclusive():
    assert verdict_of(make_record(), gate(None)) == "INCONCLUSIVE"
