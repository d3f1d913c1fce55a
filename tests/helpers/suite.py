"""The suite from outside: in a process of its own, or many sessions one after the other in one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_chapter

ROOT = Path(__file__).resolve().parents[2]


def run_suite(*arguments):
    """Run ``pytest tests/validation`` and return the finished process."""
    command = [sys.executable, "-m", "pytest", "tests/validation", "-p", "no:cacheprovider"]
    command += ["-p", "tests.helpers.compilerless"]  # the same cells wherever it runs
    return _process([*command, *map(str, arguments)])


def _process(command, **options):
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )


def tiny_inputs(directory):
    """Write a tiny checkpoint and three utterances; return the options that name them."""
    model = write_checkpoint(directory / "model" / "tiny")
    corpus = directory / "corpus"
    write_chapter(corpus, {f"7-1-000{i}": "A WORD" for i in range(3)})
    return ["--models", str(model), "--data-path", str(corpus), "--dtypes", "float32"]


class Ended(NamedTuple):
    """How a session of ``run_sessions`` came out."""

    returncode: int
    stdout: str
    """With stderr."""


def run_sessions(sessions: Mapping[str, Sequence[object]]) -> dict[str, Ended]:
    """Run ``pytest tests/validation`` with each set of options, torch loaded once.

    A session is what a process of its own would be, but that its plugins are those of this module:
    ``break=NAME`` among the options takes the one of that name.
    """
    lines = {name: [str(o) for o in options] for name, options in sessions.items()}
    done = _process([sys.executable, "-m", "tests.helpers.suite"], input=json.dumps(lines))
    assert done.returncode == 0, done.stderr
    return {name: Ended(*told) for name, told in json.loads(done.stdout).items()}


@dataclass
class BreakMeasuring:
    """A plugin: the first measurements raise, or take longer than any timeout."""

    times: int = 99
    sleep_s: float = 0.0
    _real: Any = None

    def pytest_configure(self) -> None:
        from w2v_core.session import ValidationRun

        real, tries = ValidationRun.measure, []

        def measure(run: ValidationRun, cell: Any, **options: Any) -> Any:
            tries.append(cell)
            if len(tries) > self.times:
                return real(run, cell, **options)
            time.sleep(self.sleep_s)
            raise RuntimeError("the link went down\nand more")

        self._real, ValidationRun.measure = real, measure

    def pytest_unconfigure(self) -> None:
        from w2v_core.session import ValidationRun

        ValidationRun.measure = self._real


class FailOnce:
    """A plugin: every test fails after its first try."""

    def __init__(self) -> None:
        self._tried: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        yield
        if item.nodeid not in self._tried:
            self._tried.add(item.nodeid)
            raise AssertionError("transient")


class TryAgainInReport:
    """A plugin: a test that fails is tried again while it is reported, as by pytest-retry."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if report.when == "call" and report.failed:
            item.ihook.pytest_runtest_call(item=item)
            report.outcome, report.longrepr = "passed", None
        return report


class DropFixtures:
    """A plugin: no session fixture is torn down, as behind a last test of pytest-retry's."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item, nextitem):
        if nextitem is None:
            item.session._setupstate.stack.clear()


class Traced:
    """A plugin: Python tells it of every call, as it tells coverage and debuggers."""

    def pytest_configure(self) -> None:
        sys.settrace(lambda *_: None)

    def pytest_unconfigure(self) -> None:
        sys.settrace(None)


class Reverse:
    """A plugin: tests run the other way round, whatever they are."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items.reverse()


class Interleave:
    """A plugin: first the gate, then one test of each cell after the other, as by chance."""

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: (item.path.name != "test_gate.py", item.originalname))


class FailInside:
    """A plugin: raises where pytest itself has to be told, behind the first test that passed."""

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            raise OSError(28, "No space left on device")


@dataclass
class Stop:
    """A plugin: raises behind the first test that passed."""

    error: BaseException

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self):
        yield
        raise self.error


class LoseFolders:
    """A plugin: the folders of --benchmark-json and -storage vanish while it measures."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        yield
        for folder in (item.config.option.benchmark_json.parent, _storage(item.config)):
            shutil.rmtree(folder, ignore_errors=True)
            folder.write_text("a file in its place")


def _storage(config: pytest.Config) -> Path:
    return Path(config.option.benchmark_storage)


class Plots:
    """A plugin: pygal's part of a histogram is a text, where it is not installed."""

    def pytest_configure(self) -> None:
        if find_spec("pygal") is None:
            module = types.ModuleType("pytest_benchmark.histogram")
            module.make_histogram = self._write
            sys.modules.setdefault(module.__name__, module)

    def _write(self, prefix, name, benchmarks, unit, adjustment):
        path = Path(f"{prefix}-{name}.svg" if name else f"{prefix}.svg")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"{len(benchmarks)} in {unit}s, times {adjustment}")
        return path


PLUGINS = {
    "plots": Plots,
    "folders": LoseFolders,
    "measuring": BreakMeasuring,
    "measuring-once": lambda: BreakMeasuring(times=1),
    "hanging": lambda: BreakMeasuring(sleep_s=60),
    "every-test-once": FailOnce,
    "again-in-report": TryAgainInReport,
    "traced": Traced,
    "fixtures": DropFixtures,
    "order": Reverse,
    "cells-apart": Interleave,
    "pytest-itself": FailInside,
    "by-ctrl-c": lambda: Stop(KeyboardInterrupt()),
    "by-pytest-exit": lambda: Stop(pytest.exit.Exception("enough")),
    "by-error": lambda: Stop(RuntimeError()),
}


def _session(options: Sequence[str]) -> Ended:
    environment, out = dict(os.environ), io.StringIO()
    broken = [o.removeprefix("break=") for o in options if o.startswith("break=")]
    given = [o for o in options if not o.startswith("break=")]
    quiet = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    quiet += ["-p", "no:unraisableexception"]  # collects garbage ten times a session
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            plugins = [PLUGINS[name]() for name in broken]
            hidden = ["-p", "tests.helpers.compilerless"]
            code = pytest.main(["tests/validation", *quiet, *hidden, *given], plugins=plugins)
    except Exception:  # noqa: BLE001 - as a process would tell it
        out.write(traceback.format_exc())
        code = 1
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return Ended(int(code), out.getvalue())


def main() -> None:
    """Run the sessions that stdin names; their ends go to stdout."""
    sessions = json.load(sys.stdin)
    json.dump({name: _session(options) for name, options in sessions.items()}, sys.stdout)


if __name__ == "__main__":
    main()
