"""pytest-benchmark's own options: those that cannot hold for a cell are refused before it starts.

A cell is timed in ``--rounds`` passes over its whole set (``benchmark.pedantic``), so options that
choose the number of rounds, or another clock, would say nothing or something wrong.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from w2v_core.errors import ConfigError

INSTEAD = {
    "min-rounds": "cells are timed --rounds times",
    "min-time": "cells are timed --rounds times",
    "max-time": "cells are timed --rounds times",
    "precision": "cells are timed --rounds times",
    "confidence": "cells are timed --rounds times",
    "calibration-precision": "a round is one pass over the set, so nothing is calibrated",
    "warmup": "cells are always warmed up, outside the rounds",
    "warmup-iterations": "cells are always warmed up, outside the rounds",
    "timer": "rounds are wall time, which every figure of a record is computed from",
}
GROUPS = ("group", "name", "func", "fullname", "fullfunc", "param")
PARAMS = ("cell", "model", "dtype", "dataset", "graphs", "forward")
OUTPUTS = ("json", "save", "autosave", "save-data", "compare", "histogram", "cprofile")
"""Options that do nothing where pytest-benchmark is off."""
FOLDERS = ("storage", "histogram", "cprofile-dump")
_NAME = "pytest-benchmark"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Expand ~ in pytest-benchmark's paths, and refuse what its own start ends in a traceback for.

    Raises:
        pytest.UsageError: naming the option, its value and the remedy.
    """
    if not config.pluginmanager.has_plugin("benchmark"):
        return
    for name in ("json", "compare", *FOLDERS):
        key = f"benchmark_{name.replace('-', '_')}"
        if hasattr(config.option, key):
            setattr(config.option, key, _expanded(getattr(config.option, key)))
    try:
        _check_storage(str(config.getoption("benchmark_storage")))
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


def _check_storage(url: str) -> None:
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


def refuse_options(config: pytest.Config) -> None:
    """Refuse what would be ignored for a cell, or fail after all cells are measured.

    Raises:
        ConfigError: naming the option, its value and the remedy.
    """
    if not config.pluginmanager.has_plugin(_NAME):
        raise ConfigError("cells are timed by pytest-benchmark; leave out -p no:benchmark")
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        raise ConfigError(
            f"-n {workers} is refused: cells that are measured beside each other slow each other; "
            "leave out -n, or leave out the cells with --ignore"
        )
    for name, why in INSTEAD.items():
        if (value := _given(config, name)) is not None:
            raise ConfigError(f"--benchmark-{name} {value} is refused: {why}; leave it out")
    if config.getoption("forked", False):
        raise ConfigError(
            "--forked is refused: a process for each test would measure a cell again for each of "
            "its claims; leave it out"
        )
    _check_groups(str(config.getoption("benchmark_group_by")))
    _check_outputs(config)
    _check_json(config.getoption("benchmark_json"))
    _check_comparison(config)


def _given(config: pytest.Config, name: str) -> str | None:
    """Return the value of an option that was given and changes something, else None."""
    flag, key = f"--benchmark-{name}", f"benchmark_{name.replace('-', '_')}"
    value = config.getoption(key, None)
    named = any(str(a).split("=")[0] == flag for a in config.invocation_params.args)
    default: Any = _defaults().get(key, value)
    if name == "warmup":  # "off" is what happens
        return "on" if value else None
    if name == "timer" and str(value) == str(default):  # the wall clock, by its name
        return None
    return str(value) if named or str(value) != str(default) else None


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_benchmark_compare_machine_info(compared_benchmark: dict[str, Any]) -> None:
    """Leave the fingerprint out of pytest-benchmark's comparison, made before there is one."""
    compared_benchmark["machine_info"].pop("fingerprint", None)


@cache
def _defaults() -> dict[str, Any]:
    """Ask pytest-benchmark for the defaults of its options; it asks git seven times for that."""
    from pytest_benchmark.plugin import pytest_addoption

    parser = pytest.Parser(_ispytest=True)
    pytest_addoption(parser)  # type: ignore[no-untyped-call]
    return vars(parser.parse([]))


def _check_groups(text: str) -> None:
    for part in text.split(","):
        kind, _, param = part.partition(":")
        if part not in GROUPS and not (kind == "param" and param in PARAMS):
            raise ConfigError(
                f"--benchmark-group-by {part!r} is not one of {', '.join(GROUPS)} and "
                f"param:NAME with NAME one of {', '.join(PARAMS)}"
            )


def _check_outputs(config: pytest.Config) -> None:
    """Refuse outputs that would not be written, or not be writable when all is measured."""
    names = (*OUTPUTS, *FOLDERS)
    given = {n: config.getoption(f"benchmark_{n.replace('-', '_')}", None) for n in names}
    session: Any = config.pluginmanager.get_plugin(_NAME)
    if session.disabled and (lost := next((n for n in OUTPUTS if given[n]), None)):
        cause = "-n" if hasattr(config, "workerinput") else "--benchmark-disable"
        raise ConfigError(
            f"--benchmark-{lost} would write and compare nothing: {cause} turns pytest-benchmark "
            f"off; leave out {cause} or --benchmark-{lost}"
        )
    if given["histogram"]:
        try:
            importlib.import_module("pytest_benchmark.histogram")
        except ImportError as error:
            raise ConfigError(
                "--benchmark-histogram needs the packages pygal and pygaljs: "
                "pip install 'pytest-benchmark[histogram]'"
            ) from error
    if not (given["save"] or given["autosave"]):
        given["storage"] = None
    for name in FOLDERS:
        values = given[name] if isinstance(given[name], list) else [given[name]]
        for path in (str(v).removeprefix("file://") for v in values if v):
            if "://" not in path:
                _check_folder(name, Path(path) if name == "storage" else Path(path).parent)


def _check_folder(name: str, folder: Path) -> None:
    """Refuse a folder that is not one, or can be neither written to nor made."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise ConfigError(f"--benchmark-{name} {folder} cannot be written; name another folder")


def _check_json(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"--benchmark-json {path} is a directory; name a file")
    if not path.parent.is_dir():
        raise ConfigError(f"--benchmark-json {path}: there is no directory {path.parent}; make it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--benchmark-json {path} cannot be written; name another file")


def _check_comparison(config: pytest.Config) -> None:
    """Let the first night, which has nothing to compare with, be saved for the second."""
    compare = config.getoption("benchmark_compare")
    if not config.getoption("benchmark_compare_fail"):
        return
    session: Any = config.pluginmanager.get_plugin(_NAME)
    if not compare:
        raise ConfigError("--benchmark-compare-fail needs --benchmark-compare beside it")
    if session.compared_mapping:
        return
    if compare is not True:
        raise ConfigError(
            f"--benchmark-compare {compare} names no run in {session.storage}; see "
            "pytest-benchmark list"
        )
    session.compare_fail = None  # it would raise after all cells are measured


def is_first_night(config: pytest.Config) -> bool:
    """Whether a comparison was asked for that had nothing to compare with."""
    session: Any = config.pluginmanager.get_plugin(_NAME)
    return bool(config.getoption("benchmark_compare", None)) and not session.compared_mapping
