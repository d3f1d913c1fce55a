"""pytest-benchmark's own options: those that cannot hold for a cell are refused before it starts.

A cell is timed in ``--rounds`` passes over its whole set (``benchmark.pedantic``), so options that
choose the number of rounds, or another clock, would say nothing or something wrong.
"""

from __future__ import annotations

import importlib
import sys
import threading
from functools import cache
from typing import Any

import pytest

from w2v_core.errors import ConfigError
from w2v_core.pytest_compared import settle_comparison

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
_NAME = "pytest-benchmark"


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
    if sys.flags.optimize and config.getoption("assertmode") == "plain":
        raise ConfigError(
            "--assert=plain is refused where Python is optimised (-O, PYTHONOPTIMIZE): it would "
            "skip the assertions that the suite makes; leave one of the two out"
        )
    asked = ("--baseline", "--history", "--rebase")
    judged = [flag for flag in asked if config.getoption(flag) is not None]
    if judged and (tracer := _tracer(config)) is not None:
        raise ConfigError(
            f"{judged[0]} beside {tracer} is refused: it slows what would be judged by its "
            "speed; leave one of the two out"
        )
    _check_groups(str(config.getoption("benchmark_group_by")))
    _check_outputs(config)
    settle_comparison(config)


def _tracer(config: pytest.Config) -> str | None:
    """Name what looks at every line or allocation of the session's threads; None where none is."""
    if config.getoption("memray", False):
        return "--memray"
    tools = getattr(sys, "monitoring", None)  # new in Python 3.12
    names = [tools.get_tool(number) for number in range(6)] if tools is not None else []
    traces = (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile())
    if not any(names) and not any(traces):
        return None
    name = next(filter(None, (*names, *(getattr(t, "__module__", "") for t in traces))), "unnamed")
    return f"a tracer or profiler ({name}), as --cov and debuggers are,"


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
    """Refuse outputs that would not be written."""
    given = {n: config.getoption(f"benchmark_{n.replace('-', '_')}", None) for n in OUTPUTS}
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
