"""pytest-benchmark's files: usable before anything is measured, and nothing lost at the end.

pytest-benchmark opens them when all is measured, and ends in a traceback where it cannot.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from w2v_core.errors import ConfigError
from w2v_core.session import ValidationRun

FALLBACK = "benchmark.json"
"""In the run's directory, where a file that was asked for cannot be written in the end."""
_PREFIXES = {"histogram": ".svg", "cprofile-dump": ".prof"}
_PATHS = ("json", "compare", "storage", *_PREFIXES)
_LONGEST = 255  # bytes of a file's name, on every file system in common use


def option(config: pytest.Config, name: str) -> Any:  # noqa: ANN401 - an option's value
    """Return the value of a ``--benchmark-NAME``."""
    return config.getoption(f"benchmark_{name.replace('-', '_')}", None)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Expand ~ in pytest-benchmark's paths, and refuse those that it could not use.

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
        _check_storage_kind(str(option(config, "storage")))
        _check_comparison(option(config, "compare"), storage=str(option(config, "storage")))
        _check_json(option(config, "json"))
        for name, path in _files_of(config, test=""):
            _check_new_file(f"--benchmark-{name}", path)
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


def _check_comparison(compare: Any, *, storage: str) -> None:  # noqa: ANN401 - text, True or []
    """Refuse a saved run that pytest-benchmark cannot read; none at all is a first night."""
    folder = storage.removeprefix("file://")
    if compare == [] or "://" in folder:
        return
    found, why = list[Any](), f"names no run in {folder or '.'}"
    if compare:
        try:
            found, why = _saved_runs(folder, compare, why=why)
        except Exception as error:  # noqa: BLE001 - whatever pytest-benchmark makes of a value
            why = str(error)
    if found or compare is True:
        why = next((lack for document in found[-1:] if (lack := _lack(document))), "")
    if why:
        named = "" if compare is True else f" {compare}"
        raise ConfigError(
            f"--benchmark-compare{named}: {why}; name a file that pytest-benchmark wrote, or the "
            f"number of one in {folder or '.'} (pytest-benchmark list)"
        )


def _saved_runs(folder: str, compare: str | bool, *, why: str) -> tuple[list[Any], str]:
    """Return what pytest-benchmark would compare with, and why a file of it is left out."""
    from pytest_benchmark.storage.file import FileStorage
    from pytest_benchmark.utils import get_machine_id

    told = [why]
    logger = _Logger(told.append)
    storage = FileStorage(folder, logger, default_machine_id=get_machine_id())  # type: ignore[no-untyped-call]
    globs = () if compare is True else (compare,)
    found = [document for _, document in storage.load(*globs)]  # type: ignore[no-untyped-call]
    return found, told[-1]


class _Logger:
    def __init__(self, warning: Callable[[str], None]) -> None:
        self.warning = warning


def _lack(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """Say what a saved run lacks that pytest-benchmark takes for granted; else empty."""
    if not isinstance(document.get("machine_info"), dict):
        return "it holds no machine_info"
    return (
        "" if all("fullname" in b for b in document["benchmarks"]) else "a benchmark lacks a name"
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
        if not path.is_fifo():  # opening one would wait for its reader
            _open(path)
    except OSError as error:
        raise ConfigError(f"{flag} cannot be written ({error.strerror}); name another") from error


def _open(path: Path) -> None:
    """Open a file for writing, and leave it, or that it was not there, as it was."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, b"")  # /dev/full refuses that too
    finally:
        os.close(descriptor)
        if is_new:
            Path(os.path.realpath(path)).unlink()


def _files_of(config: pytest.Config, *, test: str) -> Iterator[tuple[str, Path]]:
    """Yield the files that pytest-benchmark makes by itself, each with its option."""
    from pytest_benchmark.utils import get_machine_id, slugify

    storage = str(option(config, "storage")).removeprefix("file://")
    if "://" not in storage:
        machine = Path(storage, get_machine_id())  # type: ignore[no-untyped-call]
        for name in ("save", "autosave"):
            if value := option(config, name):
                yield name, machine / f"0001_{value}.json"
    for name, suffix in _PREFIXES.items():
        for prefix in (option(config, name) or [])[:1]:  # it takes the first
            yield name, Path(f"{prefix}-{slugify(test)}{suffix}")  # type: ignore[no-untyped-call]


def _check_new_file(flag: str, path: Path) -> None:
    """Refuse a file that cannot be made, in a folder that may have to be made too."""
    try:
        if any(len(os.fsencode(part)) > _LONGEST for part in path.parts):
            raise ConfigError(
                f"{flag}: {path.name} is a name of more than {_LONGEST} bytes; use a shorter one"
            )
        there = next(p for p in path.absolute().parents if os.path.lexists(p))
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"{flag}: {path.parent} cannot be written ({error.strerror}); name another folder"
        ) from error


class Saving:
    """A plugin: has pytest-benchmark save, and keeps what it cannot save in the run's directory."""

    def __init__(self, run: ValidationRun) -> None:
        self._run = run
        self._lost: list[str] = []

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Refuse files whose names a test's name makes too long."""
        timed = [i.name for i in items if "benchmark" in getattr(i, "fixturenames", ())]
        try:
            for name, path in _files_of(config, test=max(timed, key=len, default="")):
                _check_new_file(f"--benchmark-{name}", path)
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

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what could not be written."""
        for line in self._lost:
            terminalreporter.write_line(line, red=True)

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
        return f"not written ({getattr(error, 'strerror', None) or repr(error)})"
    return ""
