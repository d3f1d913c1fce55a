"""``--benchmark-compare``: a saved run is fit to be compared with, or refused before measuring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from w2v_core import jsonfile
from w2v_core.errors import ConfigError
from w2v_core.printable import printable, shorten

_NAME = "pytest-benchmark"


class _Stats(msgspec.Struct):
    """What pytest-benchmark's table and histogram take from a saved benchmark."""

    min: float
    max: float
    mean: float
    stddev: float
    median: float
    iqr: float
    q1: float
    q3: float
    ld15iqr: float
    hd15iqr: float
    ops: float
    rounds: int
    iterations: int
    outliers: str


class _Benchmark(msgspec.Struct):
    fullname: str
    stats: _Stats


class _SavedRun(msgspec.Struct):
    machine_info: dict[str, Any]
    benchmarks: list[_Benchmark]


def check_comparison(compare: Any, *, storage: str) -> None:  # noqa: ANN401 - text, True or []
    """Refuse a saved run that pytest-benchmark cannot read; none at all is a first night.

    Raises:
        ConfigError: naming what it lacks, its value and the remedy.
    """
    folder = storage.removeprefix("file://")
    if compare == [] or "://" in folder:
        return
    try:
        found, why = _saved_runs(folder, compare)
        for path, document in found:
            jsonfile.convert(document, _SavedRun, source=jsonfile.name_of(path), error=ConfigError)
    except Exception as error:  # noqa: BLE001 - whatever pytest-benchmark makes of a value
        found, why = [], str(error)
    else:
        if found or compare is True:
            return
    named = "" if compare is True else f" {compare}"
    raise ConfigError(
        f"--benchmark-compare{named}: {shorten(printable(why), 400)}; name a file that "
        f"pytest-benchmark wrote, or the number of one in {folder or '.'} (pytest-benchmark list)"
    )


def _saved_runs(folder: str, compare: str | bool) -> tuple[list[tuple[Path, Any]], str]:
    """Return what pytest-benchmark compares with, and why the last file of it is left out."""
    from pytest_benchmark.storage.file import FileStorage
    from pytest_benchmark.utils import get_machine_id

    told = [f"names no run in {folder or '.'}"]
    logger = _Logger(told.append)
    storage = FileStorage(folder, logger, default_machine_id=get_machine_id())  # type: ignore[no-untyped-call]
    if compare is True:
        return [*storage.load()][-1:], told[-1]  # type: ignore[no-untyped-call]
    return [*storage.load(compare)] if compare else [], told[-1]  # type: ignore[no-untyped-call]


class _Logger:
    def __init__(self, warning: Callable[[str], None]) -> None:
        self.warning = warning


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_benchmark_compare_machine_info(
    benchmarksession: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    machine_info: dict[str, Any],
    compared_benchmark: dict[str, Any],
) -> None:
    """Say in what another machine differs, before there is a fingerprint.

    pytest-benchmark's own hook would raise where its storage is outside the working directory, so
    it finds the two equal.
    """
    saved = {k: v for k, v in compared_benchmark["machine_info"].items() if k != "fingerprint"}
    if other := sorted(k for k in {*saved, *machine_info} if saved.get(k) != machine_info.get(k)):
        benchmarksession.logger.warning(
            "--benchmark-compare: saved on another machine, which differs in "
            f"{shorten(printable(', '.join(other)), 400)}"
        )
    compared_benchmark["machine_info"] = machine_info


def settle_comparison(config: pytest.Config) -> None:
    """Let the first night, which has nothing to compare with, be saved for the second."""
    compare = config.getoption("benchmark_compare")
    if not config.getoption("benchmark_compare_fail"):
        return
    session: Any = config.pluginmanager.get_plugin(_NAME)
    if not compare:
        raise ConfigError("--benchmark-compare-fail needs --benchmark-compare beside it")
    if session.compared_mapping:
        return
    session.compare_fail = None  # it would raise after all cells are measured


def not_compared(config: pytest.Config) -> str:
    """Say what a comparison that was asked for left out; empty where there is nothing to say."""
    session: Any = config.pluginmanager.get_plugin(_NAME)
    if not config.getoption("benchmark_compare", None):
        return ""
    if not session.compared_mapping:
        return "--benchmark-compare: no saved run to compare with yet"
    known = {name for saved in session.compared_mapping.values() for name in saved}
    new = [b.name for b in session.benchmarks if b.fullname not in known]
    shown = ", ".join([*new[:3], *(["..."] if len(new) > 3 else [])])
    return f"--benchmark-compare: not in the saved run, not compared: {shown}" if new else ""
