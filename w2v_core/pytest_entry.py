"""What pytest finds of an installed w2v_core: the suite's plugin, where the suite is asked for.

The plugin's options have names like ``--device``, which other projects' plugins have too, so no
other session gets them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from itertools import pairwise

import pytest

SUITE = "w2v_core.suite"


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Load the plugin before its options are parsed: ``pytest --pyargs w2v_core.suite``."""
    if any(argument.startswith(SUITE) for argument in args):
        early_config.pluginmanager.import_plugin("w2v_core.pytest_plugin")


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Refuse a clock that is none, which pytest-benchmark's parser ends in a traceback for."""
    config = pluginmanager.get_plugin("pytestconfig")
    if config is not None:
        given = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *config.getini("addopts")]
        refuse_timer([*given, *map(str, config.invocation_params.args)])


def refuse_timer(arguments: Sequence[str]) -> None:
    """Refuse a ``--benchmark-timer`` that cannot be imported, or called.

    Raises:
        pytest.UsageError: naming it, why, and the remedy.
    """
    flag = "--benchmark-timer"
    for argument, following in pairwise([*arguments, ""]):
        name, mark, value = argument.partition("=")
        if name != flag or not (timer := value if mark else following):
            continue
        try:
            from pytest_benchmark.utils import load_timer

            is_clock = callable(load_timer(timer).target)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise pytest.UsageError(f"{flag} {timer}: {error}; leave it out") from error
        if not is_clock:
            raise pytest.UsageError(f"{flag} {timer} is no function; leave it out")
