"""pytest options, fixtures and hooks of the suite. Importing it imports no torch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from w2v_core.backends.hpu_environment import TorchFamily
from w2v_core.commands import options
from w2v_core.config import DeviceChoice
from w2v_core.errors import DeviceError, W2VError
from w2v_core.markers import DEVICE_ORDER, devices_asked_for
from w2v_core.options.cells import datasets_of, models_of, plan_of
from w2v_core.options.option import PYTEST, flagged
from w2v_core.progress import bars
from w2v_core.pytest_benchmarks import refuse_options
from w2v_core.pytest_cells import (
    MEASUREMENTS,
    NOT_JUDGED,
    CellMeasurements,
    Outcomes,
    golden_reasons,
    measured,
    wer_ceiling,
)
from w2v_core.pytest_compared import not_compared, pytest_benchmark_compare_machine_info
from w2v_core.pytest_gate import Gatekeeper, cell_of, in_order, refuse_xfail
from w2v_core.pytest_options import (
    DEVICE_MARKS,
    add_options,
    form_session_cells,
    given,
    missing,
    run_config_of,
    usage_error,
)
from w2v_core.pytest_outputs import Saving, pytest_cmdline_main
from w2v_core.pytest_terminal import closing_lines, show
from w2v_core.session import ValidationRun
from w2v_core.verdict.confirm import asked_cells

__all__ = ["golden_reasons", "measured", "wer_ceiling"]  # and hooks, by their names:
__all__ += ["pytest_benchmark_compare_machine_info", "pytest_cmdline_main"]

pytest.register_assert_rewrite("w2v_core.suite")

RUN = pytest.StashKey[ValidationRun]()
GATE = pytest.StashKey[Gatekeeper]()
APPROVAL = pytest.StashKey[str]()
MARKERS = {
    "hpu": "runs on an Intel Gaudi device (or the simulated one); with needs_card=False it is "
    "about one",
    "cuda": "runs on an NVIDIA GPU",
    "cpu": "runs on the host processor",
}
WORKERS = pytest.StashKey[list[list[str]]]()
"""What workers of pytest-xdist measured: title and lines."""
RAN = pytest.StashKey[set[str]]()
"""Devices whose marker a test carried that ran, on workers of pytest-xdist too."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Parse the options once; a device that was asked for and is missing ends the session."""
    for name, text in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    try:
        options = given(config)
        run = ValidationRun(run_config_of(config), progress=bars)
        is_whole = asked_cells() is None
        gate = Gatekeeper(
            run,
            baseline=options["baseline"] if is_whole else None,
            history=options["history"] if is_whole else None,
            is_parallel=hasattr(config, "workerinput"),
            confirm=options["confirm"],
            inconclusive=options["inconclusive"],
        )
        config.stash[RUN], config.stash[GATE] = run, gate
        config.pluginmanager.register(gate)  # it is told of an interrupt
        config.pluginmanager.register(Saving(run))
        config.stash[MEASUREMENTS] = CellMeasurements(run, options["rounds"], errors=gate.errors)
        config.stash[RAN], config.stash[WORKERS] = set(), []
        config.pluginmanager.register(Outcomes(config.stash[RAN]))
        options.check()
        for parse in (plan_of, models_of, datasets_of):
            parse(options)
        gate.check_history()
        _prepare(run.config.device, config)
    except W2VError as error:
        raise usage_error(error) from error


def _prepare(device: DeviceChoice, config: pytest.Config) -> None:
    prepare_device(device, config)
    if device != "auto" and (reason := missing(device)) is not None:
        raise DeviceError(f"device {device} was asked for and is missing: {reason}")


def prepare_device(
    device: DeviceChoice, config: pytest.Config, *, family: TorchFamily | None = None
) -> None:
    """Set what a device's software reads when torch is imported; call before that.

    Raises:
        DeviceError: ``--execution`` contradicts the environment.
    """
    options.prepare_device(
        device,
        execution=given(config)["execution"],
        family=family,
        recipe_cache=given(config)["recipe_cache"],
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``cell`` over the matrix that the options ask for."""
    wanted = {"cell", "gate_cell"} & set(metafunc.fixturenames)
    if not wanted:
        return
    try:
        if "cell" in wanted:
            refuse_options(metafunc.config)
        backend = metafunc.config.stash[RUN].backend
        cells = form_session_cells(metafunc.config, backend)
    except W2VError as error:
        raise usage_error(error) from error
    device_mark = getattr(pytest.mark, backend.name)
    if "gate_cell" in wanted:
        names = metafunc.config.stash[GATE].cells(tuple(str(cell) for cell in cells))
        metafunc.parametrize("gate_cell", [pytest.param(n, id=n, marks=device_mark) for n in names])
        return
    metafunc.parametrize(
        "cell",
        [pytest.param(cell, id=str(cell), marks=device_mark) for cell in cells],
        scope="session",  # pytest then puts the tests of a cell together
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the gate's items out where no baseline is given."""
    name = collection_path.name
    is_gate = name == "test_gate.py" and not config.stash[GATE].is_on
    confirms = asked_cells() is not None and collection_path.is_file()
    return True if is_gate or (confirms and name != "test_cells.py") else None


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Tell the gate of cells that were left out."""
    for item in items:
        item.config.stash[GATE].note(item, "deselected")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside a plugin that tries a test again in it
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the gate how each cell's item came out."""
    if call.excinfo is not None and isinstance(call.excinfo.value, W2VError):
        flagged(call.excinfo.value, PYTEST)
    report = yield
    if "gate_cell" in getattr(item, "fixturenames", ()):
        refuse_xfail(report)
    if report.when == "call" and not report.skipped:
        vars(report)["devices"] = [mark for mark in DEVICE_ORDER if _needs(item, mark)]
    if call.when == "setup":
        item.config.stash[GATE].forget(item)  # it may be run again, by pytest-rerunfailures
    if item.stash.get(NOT_JUDGED, False):
        return report
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Skip tests of a device that this session does not run on; order the cells behind plugins."""
    yield
    if (asked := asked_cells()) is not None:
        items[:] = [item for item in items if cell_of(item) in asked]
    items[:] = in_order(items)
    device = config.stash[RUN].config.device
    for mark in DEVICE_MARKS:
        concerned = [item for item in items if _needs(item, mark)]
        if not concerned or device == mark:
            continue
        reason = missing(mark) if device == "auto" else f"the session runs on {device}"
        if reason is not None:
            for item in concerned:
                item.add_marker(pytest.mark.skip(reason=f"no {mark}: {reason}"))


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


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Put the fingerprint into the benchmark JSON, beside what pytest-benchmark compares."""
    run = config.stash[RUN]
    if run.records:
        output_json["machine_info"]["fingerprint"] = run.environment


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    """End with the matrix and where the reports are, also behind a plugin that raises."""
    try:
        yield
    finally:
        for told in filter(None, (*config.stash[WORKERS], _told(config))):
            show(terminalreporter, told)


def _told(config: pytest.Config) -> list[str]:
    run = config.stash[RUN]
    notes = [config.stash[APPROVAL]] if APPROVAL in config.stash else []
    if run.records and (note := not_compared(config)):
        notes.insert(0, note)
    return closing_lines(run, config.stash[GATE], notes=notes)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - pytest-xdist is untyped
    """Keep what a worker of pytest-xdist measured, to show it at the end."""
    told = getattr(node, "workeroutput", {}).get("w2v_cells")
    if told:
        node.config.stash[WORKERS].append(told)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """End the session as its cells are, also behind a plugin that raises."""
    try:
        yield
    finally:
        _end(session)


def _end(session: pytest.Session) -> None:
    """Rebase where asked; fail a session that asked for a device and ran no test on it."""
    config = session.config
    config.stash[GATE].finish_late(session)
    _rebase(session)
    device = config.stash[RUN].config.device
    is_asked = device in DEVICE_MARKS or device in devices_asked_for(config.getoption("markexpr"))
    runs_nothing = config.getoption("collectonly") or config.getoption("setuponly", False)
    if hasattr(config, "workeroutput"):
        config.workeroutput["w2v_cells"] = _told(config)
        return
    if runs_nothing:
        return
    session.exitstatus = config.stash[GATE].exit_code_of(session.exitstatus)
    if is_asked and session.exitstatus == 0 and device not in config.stash[RAN]:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def _rebase(session: pytest.Session) -> None:
    from w2v_core.verdict.approving import rebase

    run, reason = session.config.stash[RUN], given(session.config)["reason"]
    if reason is None or not run.records or asked_cells() is not None:
        return
    path = given(session.config)["baseline"] or run.config.reports_dir / "baselines"
    try:
        session.config.stash[APPROVAL] = rebase(run.directory, baseline=path, reason=reason)
    except W2VError as error:
        session.config.stash[APPROVAL] = f"not approved: {flagged(error, PYTEST)}"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
