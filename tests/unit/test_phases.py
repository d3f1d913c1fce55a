"""Where the wall time of a run goes."""

import time

import pytest

from tests.helpers.records import changed, make_record
from w2v_core.bench.phases import Phases
from w2v_core.report.views.phases import phases_line, phases_of


def spend(phases, error):
    with phases.of("scored"):
        time.sleep(0.01)
        raise error


def test_a_phase_that_raises_or_comes_twice_is_counted_whole():
    phases = Phases()
    began = time.perf_counter()
    for error in (ValueError, OSError):
        with pytest.raises(error):
            spend(phases, error)

    assert 0.02 <= phases.seconds["scored"] <= time.perf_counter() - began


def test_the_phases_and_the_rest_add_up_to_the_runs_time():
    one = changed(make_record(), phase_s={"rounds": 30.0, "scored": 10.0})
    old = changed(make_record(), phase_s=None)

    phases = phases_of([one, one, old], run_s=100.0)

    assert sum(p.wall_s for p in phases) == pytest.approx(100.0)
    assert sum(p.share for p in phases) == pytest.approx(1.0)
    assert {p.name: p.wall_s for p in phases}["other"] == pytest.approx(20.0)
    assert "rounds 60.0 (60%)" in phases_line([one, one], run_s=100.0)
