"""``--baseline``: one gate item a cell, which runs last and is red where the gate is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from w2v_core.errors import RecordError, W2VError
from w2v_core.options.option import PYTEST, flagged
from w2v_core.printable import printable
from w2v_core.records.store import Session

if TYPE_CHECKING:
    from w2v_core.session import ValidationRun
    from w2v_core.verdict.baseline import Baseline
    from w2v_core.verdict.confirm import Asked, Confirmed
    from w2v_core.verdict.outcome import GateResult
    from w2v_core.verdict.run import Run

WHOLE_RUN = "run"
"""The gate item for what belongs to no cell: xdist, incomplete runs, clocks."""


_BADNESS = ("error", "failed", "xfailed", "xpassed", "deselected", "skipped", "passed")


_HELD = (
    "{} cells want a fresh process, and this one holds the card until it ends: "
    "w2v gate {} --baseline PATH --confirm 10 measures them after it"
)


class Gatekeeper:
    """Watches the session's outcomes and judges its records once."""

    def __init__(
        self,
        run: ValidationRun,
        *,
        baseline: Path | None,
        history: Path | None,
        is_parallel: bool,
        confirm: int = 0,
        inconclusive: str = "skip",
    ) -> None:
        self._run = run
        self._path = baseline
        self._history = history
        self._outcomes: dict[str, dict[str, str]] = {}
        """By cell and test."""
        self.errors: dict[str, str] = {}
        """Why cells could not be measured, by cell."""
        self._judged: set[str] = set()
        self._rebases = False
        self._is_interrupted = self._is_broken = self._is_finished = False
        self._is_parallel = is_parallel  # by xdist, whose timings mean nothing
        self._most_runs = confirm
        self._inconclusive_fails = inconclusive == "fail"

    @property
    def is_on(self) -> bool:
        """Whether a baseline was given."""
        return self._path is not None

    @cached_property
    def baseline(self) -> Baseline | str:
        """The baseline in force, or why there is none."""
        from w2v_core.verdict.baseline import load_baseline

        if self._path is None:
            return "no --baseline was given"
        try:
            return load_baseline(self._path, self._run.environment)
        except RecordError as error:
            return str(error)

    @property
    def session(self) -> Session:
        """What the session knows of its cells so far."""
        outcomes = {cell: _worst(tests.values()) for cell, tests in self._outcomes.items()}
        return Session(xdist=self._is_parallel, outcomes=outcomes, errors=dict(self.errors))

    @cached_property
    def run(self) -> Run:
        """The judged run; judged on first use, when all cells are measured."""
        history = self._history if self._history is not None and self._history.exists() else None
        known = None if isinstance(self.baseline, str) else self.baseline
        return self._run.judge(
            session=self.session,
            baseline=self._path,
            known=known,
            history=history,
            confirmed=self._confirm if self._most_runs > 0 else None,
            most_runs=self._most_runs,
        )

    def _confirm(self, asked: Asked) -> Confirmed:
        """Measure cells without a verdict again in fresh processes; blocks for each of them."""
        from w2v_core.verdict.confirm import Confirmed, confirm, rerun

        if not (cells := asked(())):
            return Confirmed(records=())
        if self._run.backend.name == "hpu":
            return Confirmed(records=(), problem=_HELD.format(len(cells), self._run.directory))
        self._run.release()
        command = rerun(self._run.config.command)
        return confirm(self._run.directory, asked=asked, command=command, report=_report)

    @property
    def result(self) -> GateResult:
        """The verdict over the session's records."""
        return self.run.result

    def pytest_keyboard_interrupt(self) -> None:
        """Hook: Ctrl-C, ``pytest.exit`` or ``session.shouldstop`` ended the session."""
        self._is_interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self) -> None:
        """Hook: pytest or a plugin raised, also where the terminal cannot be told of it."""
        self._is_broken = True

    def finish(self, session: pytest.Session) -> None:
        """Write the run's reports, with verdict and trend where asked, and append to the history.

        Fails the test that was last where a baseline is given and a gate item did not run. Does
        nothing for a session that was interrupted, or that stopped before its last cell: its
        directory stays marked incomplete.

        Raises:
            ReportError: the reports cannot be written.
            RecordError: the history cannot be used, or holds another run under these names.
        """
        self._is_finished = True
        is_stopped = bool(session.shouldstop or session.shouldfail or self._is_broken)
        if self._is_interrupted or (is_stopped and self._lacks_cells(session)):
            return
        try:
            self._run.write(self.run)
        finally:  # a measurement that one of the two cannot take is in the other
            self._append()
        if not is_stopped:
            self._refuse_unjudged()

    def finish_late(self, session: pytest.Session) -> None:
        """Finish where the session's fixtures were never torn down: pytest-retry drops them."""
        if self._is_finished or "directory" not in vars(self._run):
            return
        try:
            self.finish(session)
        except (W2VError, pytest.fail.Exception) as error:
            told = flagged(error, PYTEST) if isinstance(error, W2VError) else error
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            if (
                reporter := session.config.pluginmanager.get_plugin("terminalreporter")
            ) is not None:
                reporter.write_line(printable(str(told)), red=True)

    def _append(self) -> None:
        from w2v_core.records.history import History

        if self._history is not None:
            with History(self._history) as opened:
                opened.append([*self._run.records, *self.run.confirmations])

    def check_history(self) -> None:
        """See that the history can be appended to, before anything is measured.

        Raises:
            RecordError: it is no history, is damaged or locked, or cannot be written.
            ReportError: its folder cannot be written.
        """
        from w2v_core.records.history import History

        if self._history is not None:
            History.check_writable(self._history)

    def _lacks_cells(self, session: pytest.Session) -> bool:
        cells = {cell_of(item) for item in session.items} - {None}
        return not cells <= self._outcomes.keys()

    def _refuse_unjudged(self) -> None:
        """Fail where a cell's gate item was deselected or its file left out."""
        measured = tuple(r.cell for r in self._run.records)
        unjudged = [c for c in self.cells(measured) if c not in self._judged]
        if self.is_on and unjudged:
            pytest.fail(
                f"--baseline was given, but {len(unjudged)} gate items were not judged: "
                f"{', '.join(unjudged)}; run test_gate.py with all of its items, or leave out "
                "--baseline",
                pytrace=False,
            )

    def cells(self, measured: tuple[str, ...]) -> list[str]:
        """Return the gate's items: the run, the baseline's cells and the session's, each once."""
        known = () if isinstance(self.baseline, str) else tuple(self.baseline.cells)
        return [WHOLE_RUN, *dict.fromkeys((*known, *measured))]

    def note(self, item: pytest.Item, outcome: str) -> None:
        """Keep the outcome of a cell's item; a bad one is never overwritten."""
        cell = cell_of(item)
        if cell is not None:
            tests = self._outcomes.setdefault(cell, {})
            tests[item.nodeid] = _worst([tests.get(item.nodeid, "passed"), outcome])

    def forget(self, item: pytest.Item) -> None:
        """Drop the outcome of an item that starts, as another try of it may have ended badly."""
        self._outcomes.get(cell_of(item) or "", {}).pop(item.nodeid, None)

    def verdict(self, cell: str) -> str:
        """Return the verdict of a cell, or of the run as a whole."""
        if cell == WHOLE_RUN:
            return self.result.verdict
        found = self.result.cell(cell)
        return found.verdict if found is not None else "FAIL"

    def check(self, cell: str, *, rebase: bool = False) -> None:
        """Fail, skip or pass the gate item of a cell; skip it where a session rebases."""
        self._judged.add(cell)
        self._rebases |= rebase
        if rebase:
            pytest.skip(f"{cell} is not judged: --rebase makes this run the baseline")
        result = self.result
        if cell == WHOLE_RUN:
            if result.unusable or any(f.verdict == "FAIL" for f in result.findings):
                self._fail(result.summary())
            if open_ends := [f.reason for f in result.findings if f.verdict == "INCONCLUSIVE"]:
                pytest.skip(f"the run is INCONCLUSIVE: {'; '.join(open_ends)}")
            return
        found = result.cell(cell)
        if found is None:
            self._fail(f"the gate did not judge {cell}: {result.summary()}")
        reasons = "; ".join(found.reasons)
        if found.verdict == "FAIL":
            self._fail(reasons)
        if found.verdict == "INCONCLUSIVE":
            self._leave_open(f"{cell} is INCONCLUSIVE: {reasons}")

    def exit_code_of(self, status: int) -> int:
        """Return what a session ends with: as ``w2v gate`` would, where its tests allow it.

        A session whose tests failed ends as it did, but where the baseline cannot be used.
        """
        is_judged = self.is_on and self._judged and not self._rebases
        if not is_judged or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return status
        is_telling = status == pytest.ExitCode.OK or self.result.unusable
        return self.result.exit_code if is_telling else status

    def _leave_open(self, reason: str) -> NoReturn:
        if self._inconclusive_fails:
            self._fail(reason)
        pytest.skip(reason)

    def _fail(self, reason: str) -> NoReturn:
        pytest.fail(reason, pytrace=False)


def refuse_xfail(report: pytest.TestReport) -> None:
    """Take the mark ``xfail`` off a gate item's report: a known red is waived, with an end."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
        if report.outcome == "skipped":
            report.outcome = "failed"
            report.sections.append(
                ("gate", "xfail has no effect on a gate item; waive what is red")
            )


def _report(line: str) -> None:
    """Tell on stderr what takes a while; pytest shows it with -s, and of an item that is red."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{line}\n")


def _worst(outcomes: Iterable[str]) -> str:
    return min(outcomes, key=_BADNESS.index, default="passed")


def cell_of(item: pytest.Item) -> str | None:
    """Return the id of the cell that an item measures; None for every other item."""
    callspec: Any = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec is not None else None
    return None if cell is None else str(cell)


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return a cell's tests together, where its first one stands, and the gate's items last."""
    firsts: dict[object, int] = {}
    places = [firsts.setdefault(cell_of(item) or item, at) for at, item in enumerate(items)]
    is_gates = ["gate_cell" in getattr(item, "fixturenames", ()) for item in items]
    keyed = zip(is_gates, places, items, strict=True)
    return [item for *_, item in sorted(keyed, key=lambda row: row[:2])]
