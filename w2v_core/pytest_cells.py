"""One measurement a cell, whatever asks for it first, and what its tests claim of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from w2v_core.errors import ReportError, W2VError
from w2v_core.options.option import PYTEST, flagged
from w2v_core.printable import first_said
from w2v_core.records.cell import Cell
from w2v_core.records.claims import reasons_against
from w2v_core.records.record import CellRecord, to_json
from w2v_core.records.store import write_run_json
from w2v_core.session import ValidationRun

if TYPE_CHECKING:
    from w2v_core.bench.rounds import Round, TimedPass
    from w2v_core.types import Transcription
    from w2v_core.verdict.ceilings import Threshold

BENCHMARK_FILE = "tests/validation/test_cells.py"
"""Where benchmarks say that they are, wherever the suite is run from: stored ones compare by it."""
NOT_JUDGED = pytest.StashKey[bool]()
"""On an item that skips because nothing is published to hold the cell against."""


@dataclass
class CellMeasurements:
    """The session's cells by id: measured once, or not, and by which test."""

    run: ValidationRun
    rounds: int
    records: dict[str, CellRecord] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """Why cells could not be measured; the gate's own."""
    _raised_in: dict[str, str] = field(default_factory=dict)
    """The tests in which they raised."""

    def of(self, cell: Cell, item: pytest.Item, benchmark: Any) -> CellRecord:  # noqa: ANN401
        """Return the cell's record; measures it where no test of the session has yet.

        A test that is run again after its measurement raised measures again; the other tests of
        that cell skip, so that one fault is one red.
        """
        name = str(cell)
        if name in self.records:
            return self.records[name]
        if self._raised_in.get(name, item.nodeid) != item.nodeid:
            pytest.skip(f"not measured, see {self._raised_in[name]}: {self.errors[name]}")
        try:
            record = self._measure(cell, benchmark)
        except (KeyboardInterrupt, SystemExit, pytest.skip.Exception, pytest.exit.Exception):
            raise
        except BaseException as error:  # what a timeout raises is no Exception
            if isinstance(error, W2VError):
                flagged(error, PYTEST)  # here and in the traceback
            self.errors[name] = f"{type(error).__name__}: {first_said(str(error))}"
            self._raised_in[name] = item.nodeid
            raise
        self.errors.pop(name, None)
        self.records[name] = record
        return record

    def _measure(self, cell: Cell, benchmark: Any) -> CellRecord:  # noqa: ANN401
        reason = self.run.backend.graph_support(cell.dtype).unsupported
        if cell.graphs and reason is not None:
            pytest.skip(f"{cell} needs graphs: {reason}")
        _name_benchmark(benchmark, cell)
        record = self.run.measure(
            cell, timer=lambda run: _time(benchmark, run, rounds=self.rounds), rounds=self.rounds
        )
        benchmark.extra_info.update(extra_info(record))
        with suppress(ReportError):  # told when the whole run is written
            write_run_json(self.run.directory, self.run.records)
        return record


MEASUREMENTS = pytest.StashKey[CellMeasurements]()


class Outcomes:
    """A plugin: hears of every finished test, from workers of pytest-xdist too."""

    def __init__(self, ran: set[str]) -> None:
        self._ran = ran

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the devices of a test that ran."""
        self._ran.update(getattr(report, "devices", ()))


@pytest.fixture
def measured(
    cell: Cell,
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    validation_run: ValidationRun,
    request: pytest.FixtureRequest,
) -> CellRecord:
    """The cell's record; the first test that asks for it has ``benchmark`` time it."""
    del validation_run  # asked for so that it writes the reports after the last test
    # Only one test of a cell uses the benchmark fixture, which warns about the others. No yield:
    # a measurement that raises must come by here too.
    request.addfinalizer(lambda: setattr(benchmark, "skipped", True))  # noqa: PT021
    record = request.config.stash[MEASUREMENTS].of(cell, request.node, benchmark)
    given = request.node.user_properties  # of an earlier try, where the test is run again
    given += [p for p in properties(record) if p not in given]
    return record


@pytest.fixture
def golden_reasons(measured: CellRecord, request: pytest.FixtureRequest) -> list[str]:
    """In what the cell misses its goldens; skips where the checkpoint has none for the set."""
    reasons = reasons_against(measured, "goldens")
    if measured.changed_vs_golden is None and not reasons:
        request.node.stash[NOT_JUDGED] = True
        pytest.skip(f"not judged: no goldens of {measured.model} on {measured.dataset}")
    return reasons


@pytest.fixture
def wer_ceiling(measured: CellRecord, request: pytest.FixtureRequest) -> Threshold:
    """The highest WER that the cell may have; skips where nothing is published."""
    from w2v_core.verdict.ceilings import NoThreshold
    from w2v_core.verdict.wer import ceiling_of

    ceiling = ceiling_of(measured)
    if isinstance(ceiling, NoThreshold):
        request.node.stash[NOT_JUDGED] = True
        pytest.skip(f"not judged: {ceiling.reason}")
    return ceiling


def properties(record: CellRecord) -> list[tuple[str, object]]:
    """Return what JUnit shows of a cell beside each of its tests."""
    return [("WER", record.wer), ("RTFx", record.rtfx), ("verdict", own_verdict(record))]


def own_verdict(record: CellRecord) -> str:
    """Judge a cell by itself, without a baseline: sound, and under its WER ceiling if any."""
    from w2v_core.verdict.judge import judge_alone

    (cell,) = judge_alone([record]).cells
    is_held = any(finding.kind == "wer-ceiling" for finding in cell.findings)
    return cell.verdict if is_held or cell.verdict == "FAIL" else "not judged"


def extra_info(record: CellRecord) -> dict[str, Any]:
    """Return what ``--benchmark-json`` carries: the figures flat, and the whole record."""
    document = to_json(record)
    flat = {k: v for k, v in document["record"].items() if k not in ("scores", "environment")}
    flat["record"] = document
    return flat


def _name_benchmark(benchmark: Any, cell: Cell) -> None:  # noqa: ANN401
    """Name it after its cell, whichever test measures."""
    benchmark.name, benchmark.param = f"test_cell[{cell}]", str(cell)
    benchmark.fullname = f"{BENCHMARK_FILE}::{benchmark.name}"
    benchmark.params = {
        "cell": str(cell),
        "model": cell.model_name,
        "dtype": cell.dtype,
        "dataset": cell.dataset_name,
        "graphs": "on" if cell.graphs else "off",
        "forward": cell.forward,
    }


def _time(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    run: TimedPass,
    *,
    rounds: int,
) -> Sequence[Round]:
    from w2v_core.bench.rounds import Round

    passes: list[Transcription] = []

    def between_rounds() -> None:
        if passes:
            run.count()

    benchmark.pedantic(
        lambda: passes.append(run()), setup=between_rounds, rounds=rounds, iterations=1
    )
    stats = benchmark.stats
    walls = [p.wall_s for p in passes] if stats is None else list(stats.stats.data)
    # Passes behind the rounds are those that --benchmark-cprofile profiles.
    return [Round(transcription=p, wall_s=w) for p, w in zip(passes, walls, strict=False)]
