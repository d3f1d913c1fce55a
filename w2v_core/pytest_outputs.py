"""pytest-benchmark's files: usable before anything is measured, and nothing lost at the end.

pytest-benchmark opens them when all is measured, and ends in a traceback where it cannot.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from w2v_core.errors import ConfigError
from w2v_core.printable import one_line, printable
from w2v_core.pytest_compared import check_comparison
from w2v_core.pytest_gate import cell_of
from w2v_core.records.store import folder_name
from w2v_core.session import ValidationRun

FALLBACK = "benchmark.json"
"""In the run's directory, where a file that was asked for cannot be written in the end."""
_PREFIXES = {"histogram": ".svg", "cprofile-dump": ".prof"}
_PATHS = ("json", "compare", "storage", *_PREFIXES)
_REPORTS = {"--junit-xml": "xmlpath", "--html": "htmlpath", "--log-file": "log_file"}
"""Files of other plugins, which end in a traceback where one cannot be written."""
_LONGEST = 255  # bytes of a file's name, on every file system in common use


def option(config: pytest.Config, name: str) -> Any:  # noqa: ANN401 - an option's value
    """Return the value of a ``--benchmark-NAME``."""
    return config.getoption(f"benchmark_{name.replace('-', '_')}", None)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Expand ~ in pytest-benchmark's paths, and refuse files that could not be written.

    Raises:
        pytest.UsageError: naming the option, its value and the remedy.
    """
    if not config.pluginmanager.has_plugin("benchmark"):
        return
    for name in _PATHS:
        key = f"benchmark_{name.replace('-', '_')}"
        if hasattr(config.option, key):
            setattr(config.option, key, _expanded(getattr(config.option, key)))
    try:
        _check_names(config)
        _check_storage_kind(str(option(config, "storage")))
        check_comparison(option(config, "compare"), storage=str(option(config, "storage")))
        _check_json(option(config, "json"))
        _check_once(config)
        for name, path in _files_of(config, tests=()):
            _check_new_file(f"--benchmark-{name}", path)
        for flag, key in _REPORTS.items():
            if given := getattr(config.option, key, None):
                told = os.path.expanduser(os.path.expandvars(given))  # noqa: PTH111 (as they do)
                _check_new_file(flag, Path(told))
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from error


def _expanded(value: Any) -> Any:  # noqa: ANN401 - an option's value: text, path, list, flag
    """Return a path with the home directory in place of ~; bash leaves it alone behind ``=``."""
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    if not isinstance(value, str | Path):
        return value
    scheme, mark, path = str(value).rpartition("file://")
    return type(value)(scheme + mark + os.path.expanduser(path))  # noqa: PTH111 (a glob too)


def _check_names(config: pytest.Config) -> None:
    """Refuse names that would steer the terminal, which both pytest and its plugins print."""
    given = {f"--benchmark-{name}": option(config, name) for name in (*_PATHS, "save")}
    given |= {flag: config.getoption(key, None) for flag, key in _REPORTS.items()}
    for flag, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            text = str(one).encode(errors="ignore").decode()  # a byte that is no UTF-8 steers none
            if text != (shown := printable(text)):
                raise ConfigError(
                    f"{flag} {shown}: a name with control characters; use another name"
                )


def _check_storage_kind(url: str) -> None:
    kind, mark, _ = url.partition("://")
    if mark and kind != "file" and not kind.startswith("elasticsearch+"):
        raise ConfigError(
            f"--benchmark-storage {url}: storage of {kind} is not known; name a folder"
        )
    if kind.startswith("elasticsearch+") and importlib.util.find_spec("elasticsearch") is None:
        raise ConfigError(
            f"--benchmark-storage {url} needs the package elasticsearch: "
            "pip install 'pytest-benchmark[elasticsearch]'"
        )


def _check_json(path: Path | None) -> None:
    if path is None:
        return
    flag = f"--benchmark-json {path}"
    try:
        if path.is_dir():
            raise ConfigError(f"{flag} is a directory; name a file")
        if not path.parent.is_dir():
            raise ConfigError(f"{flag}: there is no directory {path.parent}; make it")
        _open(path)
    except OSError as error:
        raise ConfigError(f"{flag} cannot be written ({error.strerror}); name another") from error


def _open(path: Path) -> None:
    """Open a file for writing, and leave it, or that it was not there, as it was."""
    if path.is_fifo():
        return  # opening one would wait for its reader, and closing it be the reader's end
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, b"")  # /dev/full refuses that too
    finally:
        os.close(descriptor)
        if is_new:
            Path(os.path.realpath(path)).unlink()


def _files_of(config: pytest.Config, *, tests: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files that pytest-benchmark makes by itself, each with its option.

    ``tests`` are the names of what is timed, as far as they are known. A histogram is called by
    its group, which may be as long as the longest of them.
    """
    from pytest_benchmark.utils import get_machine_id, slugify

    storage = str(option(config, "storage")).removeprefix("file://")
    if "://" not in storage:
        machine = Path(storage, get_machine_id())  # type: ignore[no-untyped-call]
        for name in ("save", "autosave"):
            if value := option(config, name):
                yield name, machine / f"0001_{value}.json"
    is_one_group = option(config, "group-by") == "group"
    for name, suffix in _PREFIXES.items():
        is_one = name == "histogram" and is_one_group
        endings = [""] if is_one else [f"-{slugify(t)}" for t in tests or [""]]  # type: ignore[no-untyped-call]
        for prefix in option(config, name) or []:
            yield from ((name, Path(f"{prefix}{ending}{suffix}")) for ending in endings)


def _check_once(config: pytest.Config) -> None:
    for name in _PREFIXES:
        if len(prefixes := option(config, name) or []) > 1:
            raise ConfigError(
                f"--benchmark-{name} is given {len(prefixes)} times: {', '.join(prefixes)}; "
                "give it once"
            )


def _check_new_file(flag: str, path: Path) -> None:
    """Refuse a file that cannot be made, in a folder that may have to be made too."""
    at, other = path.parent, "folder"
    try:
        if any(len(os.fsencode(part)) > _LONGEST for part in path.parts):
            raise ConfigError(
                f"{flag}: {path.name} is a name of more than {_LONGEST} bytes; use a shorter one"
            )
        if path.exists():
            at, other = path, "file"
            _open(path)
            return
        there = next(p for p in path.absolute().parents if os.path.lexists(p))
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"{flag}: {at} cannot be written ({error.strerror}); name another {other}"
        ) from error


class Saving:
    """A plugin: has pytest-benchmark save, and keeps what it cannot save in the run's directory."""

    def __init__(self, run: ValidationRun) -> None:
        self._run = run
        self._lost: list[str] = []
        self._has_regressed = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Refuse files that the tests' names make too long, or that cannot be written over."""
        yield
        timed = [i for i in items if "benchmark" in getattr(i, "fixturenames", ())]
        names = dict.fromkeys(f"test_cell[{c}]" if (c := cell_of(i)) else i.name for i in timed)
        try:
            for name, path in _files_of(config, tests=[*names]):
                _check_new_file(f"--benchmark-{name}", path)
            if any(map(cell_of, items)) and not config.getoption("collectonly"):
                reports = self._run.config.reports_dir
                for folder in (reports, reports / folder_name(self._run.config.release)):
                    _check_new_file("--reports-dir", folder / "new")
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from error

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Save before pytest-benchmark would; a session whose files are lost ends with 4."""
        benchmarks: Any = session.config.pluginmanager.get_plugin("pytest-benchmark")
        if benchmarks is not None and benchmarks.benchmarks:
            self._save(benchmarks)
        yield
        if self._lost and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        if self._has_regressed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> Generator[None, None, None]:
        """Plot what pytest-benchmark would plot, and say what could not be written.

        The regressions that it finds are the session's exit code, not a traceback below them.
        """
        from pytest_benchmark.session import PerformanceRegression

        benchmarks: Any = config.pluginmanager.get_plugin("pytest-benchmark")
        if benchmarks is not None and benchmarks.histogram and benchmarks.groups:
            self._plot(benchmarks, pytest.TerminalReporter(config, io.StringIO()))
        for line in self._lost:
            terminalreporter.write_line(printable(line), red=True)
        try:
            yield
        except PerformanceRegression:  # told on stderr by then
            self._has_regressed = True

    def _plot(self, benchmarks: Any, unseen: pytest.TerminalReporter) -> None:  # noqa: ANN401
        """Have pytest-benchmark plot before its tables, which a plot that fails would cut off."""
        plotted = copy.copy(benchmarks)
        plotted.quiet, plotted.groups = False, copy.deepcopy(benchmarks.groups)
        plotted.performance_regressions = []
        prefix, benchmarks.histogram = benchmarks.histogram, None
        try:
            plotted.display(unseen)
        except Exception as error:  # noqa: BLE001 - tables and verdicts outlive a plot
            self._lost.append(f"--benchmark-histogram {prefix}: {_why_lost(error)}")

    def _save(self, benchmarks: Any) -> None:  # noqa: ANN401 - pytest-benchmark is untyped
        asked = {name: getattr(benchmarks, name) for name in ("json", "save", "autosave")}
        for name, value in asked.items():
            if value:
                _leave_out(benchmarks)
                setattr(benchmarks, name, value)
                why = _save_one(benchmarks)
                self._lost += [f"--benchmark-{name} {value}: {why}"] if why else []
        _leave_out(benchmarks)
        if self._lost and self._run.records:
            benchmarks.json = self._run.directory / FALLBACK
            why = _save_one(benchmarks)
            self._lost.append(
                f"nor could {benchmarks.json}: {why}" if why else f"instead: {benchmarks.json}"
            )
            _leave_out(benchmarks)


def _leave_out(benchmarks: Any) -> None:  # noqa: ANN401
    benchmarks.json = benchmarks.save = benchmarks.autosave = None


def _save_one(benchmarks: Any) -> str:  # noqa: ANN401
    """Have pytest-benchmark write what it is told to; return why it could not."""
    try:
        benchmarks.handle_saving()
    except Exception as error:  # noqa: BLE001 - a measurement outlives whatever another plugin raises
        return _why_lost(error)
    return ""


def _why_lost(error: Exception) -> str:
    return f"not written ({getattr(error, 'strerror', None) or one_line(error)})"
