"""Cells whose tests another plugin orders, or whose session another plugin breaks."""

import json
from itertools import groupby
from xml.etree import ElementTree as ET

import pytest

from tests.helpers.suite import run_sessions, tiny_inputs
from w2v_core.records.history import History

CELLS = [f"tiny-float32-librispeech_corpus-nographs-{forward}" for forward in ("exact", "stock")]

BREAKS = {"no-gate": "fixtures"}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """A session of two cells a way to disturb it, without a baseline that fits."""
    folder = tmp_path_factory.mktemp("nights")
    inputs = tiny_inputs(tmp_path_factory.mktemp("inputs"))
    ways = ("in-order", "order", "cells-apart", "pytest-itself", "fixtures", "no-gate")
    options = {
        name: [
            *(*inputs, "--forwards", "exact,stock", "--rounds", "1"),
            *(f"--reports-dir={folder / name}", f"--junit-xml={folder / name}.xml"),
            *(f"--baseline={folder / 'none'}", f"--history={folder / name}.sqlite"),
            *([f"break={BREAKS.get(name, name)}"] if name != "in-order" else []),
            *(["-k", "not gate"] if name == "no-gate" else []),
        ]
        for name in ways
    }
    return folder, run_sessions(options)


def run_of(nights, name):
    (run,) = (nights[0] / name / "dev").glob("*/")
    return run


@pytest.mark.parametrize("name", ["in-order", "order", "cells-apart"])
def test_a_cells_tests_are_together_and_the_gate_is_last_whatever_orders_them(name, nights):
    cases = [case.get("name") for case in ET.parse(nights[0] / f"{name}.xml").iter("testcase")]
    kinds = ["gate" if c.startswith("test_gate") else c.partition("[")[2][:-1] for c in cases]

    assert len(cases) == 2 * 4 + 3
    assert sorted(k for k, _ in groupby(kinds)) == sorted([*CELLS, "gate"])
    assert kinds[-3:] == ["gate"] * 3


@pytest.mark.parametrize("name", ["in-order", "order", "cells-apart"])
def test_no_record_is_lost_to_a_gate_that_would_judge_before_the_cells(name, nights):
    document = json.loads((run_of(nights, name) / "run.json").read_text())

    assert sorted(row["record"]["cell"] for row in document["records"]) == CELLS


def test_a_session_that_pytest_itself_breaks_is_not_a_whole_run_of_fewer_cells(nights):
    """As a full disk under pytest's own output does: exit code 3, and a cell never measured."""
    folder, told = nights
    run = run_of(nights, "pytest-itself")

    assert told["pytest-itself"].returncode == pytest.ExitCode.INTERNAL_ERROR
    assert sorted(file.name for file in run.iterdir()) == ["INCOMPLETE", "run.json"]
    assert not (folder / "pytest-itself.sqlite").exists()


def test_a_session_whose_fixtures_are_never_torn_down_is_finished_all_the_same(nights):
    folder, told = nights
    run = run_of(nights, "fixtures")

    assert {"summary.html", "verdict.json"} <= {file.name for file in run.iterdir()}
    assert not (run / "INCOMPLETE").exists()
    with History.reading(folder / "fixtures.sqlite") as history:
        assert sorted(history.query()["cell"]) == CELLS
    assert told["fixtures"].returncode == told["in-order"].returncode == 3  # without its baseline


def test_what_ends_such_a_session_badly_is_its_exit_code_and_told(nights):
    code, said = nights[1]["no-gate"]

    assert code == pytest.ExitCode.TESTS_FAILED
    assert "--baseline was given, but 3 gate items were not judged: " in said
