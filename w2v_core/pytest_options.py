"""The suite's pytest options and what they mean, parsed once. Importing it imports no torch."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from w2v_core.commands.options import prepare_device
from w2v_core.config import (
    DEVICES,
    EVENT_TIMEOUT_HELP,
    FORWARDS,
    PLAN_KINDS,
    BatchPlan,
    DeviceChoice,
    EngineConfig,
    parse_choice,
    parse_count,
    parse_path,
    parse_plan,
)
from w2v_core.errors import ConfigError
from w2v_core.markers import devices_asked_for
from w2v_core.records.cell import Cell, form_cells
from w2v_core.session import RunConfig
from w2v_core.types import DTYPES, parse_dtype

if TYPE_CHECKING:
    from w2v_core.backends.base import Backend

__all__ = [
    "DEVICE_MARKS",
    "add_options",
    "datasets_of",
    "form_session_cells",
    "missing",
    "models_of",
    "plan_of",
    "run_config_of",
]

DEVICE_MARKS = ("hpu", "cuda")


def add_options(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("w2v", "Wav2Vec2 validation suite")
    add = group.addoption
    add("--device", default="auto", help=f"one of {', '.join(DEVICES)}; missing is an error")
    add("--models", default=None, help="comma-separated: canary-base, base, large, DIR, owner/name")
    add("--dtypes", default=",".join(DTYPES), help="comma-separated: float32, bfloat16")
    add(
        "--datasets",
        default=None,
        help="canary-speech, test-clean[@REVISION], manifest:PATH ...",
    )
    add("--data-path", default=None, help="a LibriSpeech folder, or audio with a manifest")
    add("--graphs", default=None, help="on, off or both; default: whatever the device can do")
    add("--forwards", default="exact", help="comma-separated: exact, stock")
    add("--autocast", action="store_true", help="autocast instead of bfloat16 weights")
    add("--limit", type=int, default=None, help="first N utterances of each set; no WER verdict")
    add("--rounds", type=int, default=3, help="timed rounds over the whole set (default 3)")
    add("--buckets", type=int, default=None, help="static lengths (default: up to 8)")
    add("--batch-size", type=int, default=BatchPlan().batch_size, help="rows of a batch")
    add("--batch-plan", default="auto", help=f"one of {', '.join(PLAN_KINDS)}")
    add("--allow-partial", action="store_true", help="exclude transcripts that have no audio")
    timeout_s = EngineConfig().event_timeout_s
    add("--event-timeout", type=float, default=timeout_s, metavar="S", help=EVENT_TIMEOUT_HELP)
    add("--execution", default=None, help="hpu: lazy (HPU graphs), eager (torch.compile) or both")
    add("--recipe-cache", default=None, metavar="DIR", help="hpu: keep compiled recipes there")
    add("--reports-dir", default="reports", help="where summaries go (default reports/)")
    add("--release", default="dev", help="name of the release under test, e.g. 1.24.0.1007")


def run_config_of(config: pytest.Config) -> RunConfig:
    """Return what all cells of the session share; raises ConfigError."""
    limit = config.getoption("--limit")
    if limit is not None:
        parse_count("--limit", limit)
    arguments = [Path(sys.argv[0]).name, *config.invocation_params.args]
    return RunConfig(
        device=_device(config),
        limit=limit,
        allow_partial=config.getoption("--allow-partial"),
        release=config.getoption("--release"),
        reports_dir=parse_path(config.getoption("--reports-dir")),
        command=shlex.join(str(a) for a in arguments),
        event_timeout_s=config.getoption("--event-timeout"),
    )


def _device(config: pytest.Config) -> DeviceChoice:
    """Return the device asked for by ``--device``, or by ``-m``: the first of those that is there.

    Raises:
        ConfigError: the two contradict each other.
    """
    choice = parse_choice("device", config.getoption("--device"), DEVICES)
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
        execution=config.getoption("--execution"),
        recipe_cache=config.getoption("--recipe-cache"),
    )
    return next((name for name in marked if missing(name) is None), marked[0])


def missing(device: str) -> str | None:
    """Say why a device is not there; None where it is. Imports torch."""
    from w2v_core.engine.devices import why_missing

    return why_missing(cast("DeviceChoice", device))


def plan_of(config: pytest.Config) -> BatchPlan:
    """Return the batch plan; raises ConfigError."""
    return parse_plan(
        config.getoption("--batch-plan"),
        num_buckets=config.getoption("--buckets"),
        batch_size=config.getoption("--batch-size"),
    )


def form_session_cells(config: pytest.Config, backend: Backend) -> tuple[Cell, ...]:
    """Return the matrix that the options ask for on this device; raises ConfigError."""
    models = models_of(config) or [(m, m.replace("-", "_")) for m in _default_models()]
    defaults = _default_datasets([model for model, _ in models])
    return form_cells(
        models=models,
        dtypes=[parse_dtype(d) for d in _split(config.getoption("--dtypes"))],
        datasets=datasets_of(config) or [(d, d.replace("-", "_")) for d in defaults],
        graphs=_graphs(config, backend),
        forwards=[
            parse_choice("forward", f, FORWARDS) for f in _split(config.getoption("--forwards"))
        ],
        plan=plan_of(config),
        autocast=config.getoption("--autocast"),
    )


def models_of(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the models asked for, each with its name within a cell's id."""
    from w2v_core.model.catalog import parse_model

    return [(m, parse_model(m).cell_name) for m in _split(config.getoption("--models"))]


def datasets_of(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the datasets asked for, each with its name within a cell's id."""
    from w2v_core.data.catalog import name_folder, parse_dataset

    names = _split(config.getoption("--datasets"))
    if config.getoption("--data-path"):
        names.append(name_folder(config.getoption("--data-path")))
    return [(d, parse_dataset(d).text) for d in names]


def _graphs(config: pytest.Config, backend: Backend) -> tuple[bool, ...]:
    choices: dict[str, tuple[bool, ...]] = {"on": (True,), "off": (False,), "both": (False, True)}
    text = config.getoption("--graphs")
    if text is None:
        text = "both" if backend.graphs_unsupported is None else "off"
    return choices[parse_choice("graphs", text, ("on", "off", "both"))]


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


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if text else []
