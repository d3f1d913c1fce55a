"""``--benchmark-timer``: refused before pytest-benchmark's parser, which ends in a traceback.

pytest parses before it loads a conftest, so pytest.ini and an installed w2v_core name this plugin.
A checkout that is not installed and is run by another ``-c FILE`` keeps the traceback.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from itertools import pairwise

import pytest


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
