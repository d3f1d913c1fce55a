"""One row a variant. Times are asserted nowhere; that every variant transcribes all is."""

from __future__ import annotations

import pytest

from tests.benchmarks.variants import REFERENCE, VARIANTS

_ticks: list[float] = []


def recorded_clock() -> float:
    """Return the next recorded tick: rounds were timed in turn with the other variants'."""
    return _ticks.pop(0)


@pytest.mark.benchmark(timer=recorded_clock, group="ours against the peers")
@pytest.mark.parametrize("variant", [pytest.param(v, id=v.name) for v in VARIANTS])
def test_variant(request, benchmark, variant):
    if variant.missing:
        pytest.skip(variant.missing)
    table = request.getfixturevalue("table")
    row = next(row for row in table["rows"] if row["variant"] == variant.name)
    _ticks[:] = [tick for round_s in row["rounds_s"] for tick in (0.0, round_s)]

    benchmark.pedantic(lambda: None, rounds=len(row["rounds_s"]), iterations=1)
    benchmark.extra_info.update({**row, "machine": table["machine"]})

    assert row["rtfx"] > 0
    if variant.name == REFERENCE:
        assert row["transcripts_equal"] == row["num_utterances"]
