"""The suite's pytest options and what they mean, parsed once. Importing it imports no torch."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from w2v_core.commands.options import prepare_device
from w2v_core.config import BatchPlan, DeviceChoice, form_plan
from w2v_core.errors import ConfigError, W2VError
from w2v_core.markers import devices_asked_for
from w2v_core.options.option import PYTEST, Given, declare, flagged
from w2v_core.records.cell import Cell, form_cells
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


def plan_of(config: pytest.Config) -> BatchPlan:
    """Return the batch plan; raises ConfigError."""
    options = given(config)
    return form_plan(
        options["batch_plan"], num_buckets=options["buckets"], batch_size=options["batch_size"]
    )


def form_session_cells(config: pytest.Config, backend: Backend) -> tuple[Cell, ...]:
    """Return the matrix that the options ask for on this device; raises ConfigError."""
    models = models_of(config) or [(m, m.replace("-", "_")) for m in _default_models()]
    defaults = _default_datasets([model for model, _ in models])
    cells = form_cells(
        models=models,
        dtypes=given(config)["dtype"],
        datasets=datasets_of(config) or [(d, d.replace("-", "_")) for d in defaults],
        graphs=_graphs(config, backend),
        forwards=given(config)["forward"],
        plan=plan_of(config),
        autocast=given(config)["autocast"],
    )
    asked = asked_cells()
    return cells if asked is None else tuple(cell for cell in cells if str(cell) in asked)


def models_of(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the models asked for, each with its name within a cell's id."""
    from w2v_core.model.catalog import parse_model

    return [(m, parse_model(m).cell_name) for m in given(config)["model"]]


def datasets_of(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the datasets asked for, each with its name within a cell's id."""
    from w2v_core.data.catalog import name_folder, parse_dataset

    names = list(given(config)["dataset"])
    if (folder := given(config)["data_path"]) is not None:
        names.append(name_folder(folder))
    return [(d, parse_dataset(d).text) for d in names]


def _graphs(config: pytest.Config, backend: Backend) -> tuple[bool, ...]:
    choices: dict[str, tuple[bool, ...]] = {"on": (True,), "off": (False,), "both": (False, True)}
    default = "both" if backend.graphs_unsupported is None else "off"
    return choices[given(config)["graphs"] or default]


def _default_models() -> list[str]:
    """Return the canaries, and the real checkpoints where they are cached."""
    from w2v_core.model.catalog import MODELS
    from w2v_core.model.checkpoint_hub import why_not_loadable

    return [name for name, spec in MODELS.items() if why_not_loadable(spec) is None]


def _default_datasets(models: Sequence[str]) -> list[str]:
    """Return canary-speech, and the hub's sets where they are cached and a real model runs."""
    from w2v_core.data.catalog import DATASETS

    real = any(not m.startswith("canary-") for m in models)
    return [s.name for s in DATASETS if s.is_available() and (real or not s.needs_hub)]
