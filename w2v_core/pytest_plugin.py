"""pytest options, fixtures and hooks of the suite. Importing it imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from w2v_core.backends.hpu_environment import TorchFamily
from w2v_core.commands import options
from w2v_core.config import DeviceChoice, parse_count, parse_path
from w2v_core.errors import W2VError
from w2v_core.markers import DEVICE_ORDER, devices_asked_for
from w2v_core.progress import bars
from w2v_core.pytest_gate import Gatekeeper, add_gate_options, rebase
from w2v_core.pytest_options import (
    DEVICE_MARKS,
    add_options,
    datasets_of,
    form_session_cells,
    missing,
    models_of,
    plan_of,
    run_config_of,
)
from w2v_core.records.cell import Cell
from w2v_core.records.record import CellRecord, to_json
from w2v_core.records.store import INCOMPLETE
from w2v_core.report.tables import matrix, text_table
from w2v_core.session import ValidationRun

if TYPE_CHECKING:
    from w2v_core.bench.measure import Round, TimedPass
    from w2v_core.types import Transcription

__all__ = ["prepare_device", "pytest_addoption"]

RUN = pytest.StashKey[ValidationRun]()
GATE = pytest.StashKey[Gatekeeper]()
APPROVAL = pytest.StashKey[str]()
RAN = pytest.StashKey[set[str]]()
"""Devices whose marker a test carried that ran, on workers of pytest-xdist too."""
Measure = Callable[[Cell], CellRecord]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    add_options(parser)
    add_gate_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Parse the options once; a device that was asked for and is missing ends the session."""
    try:
        run = ValidationRun(run_config_of(config), progress=bars)
        config.stash[RUN] = run
        config.stash[RAN] = set()
        config.pluginmanager.register(_Outcomes(config.stash[RAN]))
        config.stash[GATE] = Gatekeeper(
            run,
            baseline=config.getoption("--baseline"),
            history=config.getoption("--history"),
            is_parallel=hasattr(config, "workerinput"),
        )
        config.pluginmanager.register(config.stash[GATE])  # it is told of an interrupt
        parse_count("--rounds", config.getoption("--rounds"))
        plan_of(config)
        models_of(config)
        datasets_of(config)
        device = config.stash[RUN].config.device
        prepare_device(device, config)
        if device != "auto":
            _require(device)
    except W2VError as error:
        raise pytest.UsageError(str(error)) from error


def prepare_device(
    device: DeviceChoice, config: pytest.Config, *, family: TorchFamily | None = None
) -> None:
    """Set what a device's software reads when torch is imported; call before that.

    Raises:
        DeviceError: ``--execution`` contradicts the environment.
    """
    options.prepare_device(
        device,
        execution=config.getoption("--execution"),
        family=family,
        recipe_cache=config.getoption("--recipe-cache"),
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``cell`` over the matrix that the options ask for."""
    wanted = {"cell", "gate_cell"} & set(metafunc.fixturenames)
    if not wanted:
        return
    try:
        backend = metafunc.config.stash[RUN].backend
        cells = form_session_cells(metafunc.config, backend)
    except W2VError as error:
        raise pytest.UsageError(str(error)) from error
    device_mark = getattr(pytest.mark, backend.name)
    if "gate_cell" in wanted:
        names = metafunc.config.stash[GATE].cells(tuple(str(cell) for cell in cells))
        metafunc.parametrize("gate_cell", [pytest.param(n, id=n, marks=device_mark) for n in names])
        return
    metafunc.parametrize(
        "cell", [pytest.param(cell, id=str(cell), marks=device_mark) for cell in cells]
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the gate's items out where no baseline is given."""
    is_gate = collection_path.name == "test_gate.py" and not config.stash[GATE].is_on
    return True if is_gate else None


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Tell the gate of cells that were left out."""
    for item in items:
        item.config.stash[GATE].note(item, "deselected")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the gate how each cell's item came out."""
    report = yield
    if report.when == "call" and not report.skipped:
        vars(report)["devices"] = [mark for mark in DEVICE_ORDER if _needs(item, mark)]
    if report.when == "call" or report.outcome != "passed":
        outcome: str = report.outcome if report.when == "call" or report.skipped else "error"
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        item.config.stash[GATE].note(item, outcome)
    return report


def _needs(item: pytest.Item, device: str) -> bool:
    """Whether a test runs on a device; ``hpu(needs_card=False)`` is about it and runs anywhere."""
    marker = item.get_closest_marker(device)
    return marker is not None and bool(marker.kwargs.get("needs_card", True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests of a device that this session does not run on; put the gate's items last."""
    items.sort(key=lambda item: "gate_cell" in getattr(item, "fixturenames", ()))
    device = config.stash[RUN].config.device
    for mark in DEVICE_MARKS:
        concerned = [item for item in items if _needs(item, mark)]
        if not concerned or device == mark:
            continue
        reason = missing(mark) if device == "auto" else f"the session runs on {device}"
        if reason is not None:
            for item in concerned:
                item.add_marker(pytest.mark.skip(reason=f"no {mark}: {reason}"))


class _Outcomes:
    """Hears of every finished test, from workers of pytest-xdist too."""

    def __init__(self, ran: set[str]) -> None:
        self._ran = ran

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the devices of a test that ran."""
        self._ran.update(getattr(report, "devices", ()))


@pytest.fixture(scope="session")
def validation_run(request: pytest.FixtureRequest) -> Iterator[ValidationRun]:
    """The run of this session; its reports are written when the last cell is done."""
    run = request.config.stash[RUN]
    _ = run.directory  # a reports directory that cannot be written is an error now, not at the end
    yield run
    request.config.stash[GATE].finish(request.session)


@pytest.fixture(scope="session")
def gatekeeper(pytestconfig: pytest.Config) -> Gatekeeper:
    """The session's gate; judges on first use, when all cells are measured."""
    return pytestconfig.stash[GATE]


@pytest.fixture
def measure(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    pytestconfig: pytest.Config,
    validation_run: ValidationRun,
) -> Measure:
    """Measure a cell with ``benchmark.pedantic``; its record goes to ``extra_info`` and reports."""

    def measure_cell(cell: Cell) -> CellRecord:
        reason = validation_run.backend.graphs_unsupported
        if cell.graphs and reason is not None:
            pytest.skip(f"{cell} needs graphs: {reason}")
        rounds = pytestconfig.getoption("--rounds")
        record = validation_run.measure(
            cell, timer=lambda run: _time_by_benchmark(benchmark, run, rounds=rounds), rounds=rounds
        )
        benchmark.extra_info.update(extra_info(record))
        return record

    return measure_cell


def extra_info(record: CellRecord) -> dict[str, Any]:
    """Return what ``--benchmark-json`` carries: the figures flat, and the whole record."""
    document = to_json(record)
    flat = {k: v for k, v in document["record"].items() if k not in ("scores", "environment")}
    flat["record"] = document
    return flat


def _time_by_benchmark(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    run: TimedPass,
    *,
    rounds: int,
) -> Sequence[Round]:
    from w2v_core.bench.measure import Round

    passes: list[Transcription] = []

    def between_rounds() -> None:
        if passes:
            run.count()

    benchmark.pedantic(
        lambda: passes.append(run()), setup=between_rounds, rounds=rounds, iterations=1
    )
    stats = benchmark.stats
    walls = [p.wall_s for p in passes] if stats is None else list(stats.stats.data)
    return [Round(transcription=p, wall_s=w) for p, w in zip(passes, walls, strict=True)]


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Put the fingerprint into the benchmark JSON."""
    run = config.stash[RUN]
    if run.records:
        machine_info["fingerprint"] = run.environment


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """End with the matrix and where the reports are."""
    run = config.stash[RUN]
    if not run.records:
        return
    valid = sum(r.valid for r in run.records)
    terminalreporter.section(f"{valid} of {len(run.records)} cells valid")
    gate = config.stash[GATE]
    table = matrix(run.records).assign(verdict=[_verdict(r, gate) for r in run.records])
    terminalreporter.write_line(text_table(table.columns.tolist(), table.to_numpy().tolist()))
    unfinished = (run.directory / INCOMPLETE).exists()
    what = "no reports, the run did not finish" if unfinished else "reports"
    terminalreporter.write_line(f"{what}: {run.directory}")
    if APPROVAL in config.stash:
        terminalreporter.write_line(config.stash[APPROVAL])


def _verdict(record: CellRecord, gate: Gatekeeper) -> str:
    """Return the gate's verdict of a cell where it is on, else that of the WER ceiling."""
    from w2v_core.verdict.wer import ceiling_finding

    if gate.is_on:
        found = gate.result.cell(record.cell)
        return found.verdict if found is not None else "INCONCLUSIVE"
    if not record.valid:
        return "FAIL"
    finding = ceiling_finding(record)
    return finding.verdict if finding is not None else "not judged"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Rebase where asked; fail a session that asked for a device and ran no test on it."""
    _rebase(session)
    config = session.config
    device = config.stash[RUN].config.device
    is_asked = device in DEVICE_MARKS or device in devices_asked_for(config.getoption("markexpr"))
    runs_nothing = config.getoption("collectonly") or config.getoption("setuponly", False)
    if not is_asked or runs_nothing or hasattr(config, "workerinput"):
        return
    if session.exitstatus == pytest.ExitCode.OK and device not in config.stash[RAN]:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def _rebase(session: pytest.Session) -> None:
    run, reason = session.config.stash[RUN], session.config.getoption("--rebase")
    if reason is None or not run.records:
        return
    given = session.config.getoption("--baseline")
    path = parse_path(given) if given else run.config.reports_dir / "baselines"
    try:
        session.config.stash[APPROVAL] = rebase(run, baseline=path, reason=reason)
    except W2VError as error:
        session.config.stash[APPROVAL] = f"not approved: {error}"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _require(device: DeviceChoice) -> None:
    from w2v_core.errors import DeviceError

    reason = missing(device)
    if reason is not None:
        raise DeviceError(f"device {device} was asked for and is missing: {reason}")
