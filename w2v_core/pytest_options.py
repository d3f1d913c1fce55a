"""The suite's pytest options and what they mean, parsed once. Importing it imports no torch."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from w2v_core._moved import names_of
from w2v_core.commands.options import prepare_device
from w2v_core.config import DeviceChoice
from w2v_core.errors import ConfigError, W2VError
from w2v_core.markers import devices_asked_for
from w2v_core.options.cells import cells_of
from w2v_core.options.option import PYTEST, Given, declare, flagged
from w2v_core.records.cell import Cell
from w2v_core.session import RunConfig
from w2v_core.verdict.confirm import asked_cells

if TYPE_CHECKING:
    from w2v_core.backends.base import Backend

DEVICE_MARKS = ("hpu", "cuda")
GIVEN = pytest.StashKey[Given]()


def add_options(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    declare(PYTEST, parser.getgroup("w2v", "Wav2Vec2 validation suite").addoption)


def given(config: pytest.Config) -> Given:
    """Return what the session was given, each option parsed once."""
    if GIVEN not in config.stash:
        config.stash[GIVEN] = Given(PYTEST, config.getoption)
    return config.stash[GIVEN]


def usage_error(error: W2VError) -> pytest.UsageError:
    """Return the error as pytest tells it, with pytest's flags."""
    return pytest.UsageError(str(flagged(error, PYTEST)))


def run_config_of(config: pytest.Config) -> RunConfig:
    """Return what all cells of the session share; raises ConfigError."""
    options = given(config)
    arguments = [Path(sys.argv[0]).name, *config.invocation_params.args]
    return RunConfig(
        device=_device(config),
        limit=options["limit"],
        allow_partial=options["allow_partial"],
        release=options["release"],
        reports_dir=options["reports_dir"],
        command=shlex.join(str(a) for a in arguments),
        event_timeout_s=options["event_timeout"],
    )


def _device(config: pytest.Config) -> DeviceChoice:
    """Return the device asked for by ``--device``, or by ``-m``: the first of those that is there.

    Raises:
        ConfigError: the two contradict each other.
    """
    choice: DeviceChoice = given(config)["device"]
    expression = str(config.getoption("markexpr", "") or "")
    marked = devices_asked_for(expression)
    if not marked or choice in marked:
        return choice
    if choice != "auto":
        raise ConfigError(
            f"--device {choice} contradicts -m {expression!r}, which selects tests of "
            f"{' or '.join(marked)} only; leave one of them out"
        )
    if len(marked) == 1:
        return marked[0]
    prepare_device(
        "auto",
        execution=given(config)["execution"],
        recipe_cache=given(config)["recipe_cache"],
    )
    return next((name for name in marked if missing(name) is None), marked[0])


def missing(device: str) -> str | None:
    """Say why a device is not there; None where it is. Imports torch."""
    from w2v_core.engine.devices import why_missing

    return why_missing(cast("DeviceChoice", device))


def form_session_cells(config: pytest.Config, backend: Backend) -> tuple[Cell, ...]:
    """Return the matrix that the options ask for on this device; raises ConfigError."""
    cells = cells_of(given(config), measures_graphs=lambda d: backend.graph_support(d).by_default)
    asked = asked_cells()
    return cells if asked is None else tuple(cell for cell in cells if str(cell) in asked)


if not TYPE_CHECKING:
    __getattr__ = names_of("pytest_options", ["options.cells"])
