"""The matrix that the options of a front end ask for: the suite's and a fleet's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from w2v_core.config import BatchPlan, form_plan
from w2v_core.options.option import Given
from w2v_core.records.cell import Cell, form_cells
from w2v_core.types import Dtype


def cells_of(options: Given, *, measures_graphs: Callable[[Dtype], bool]) -> tuple[Cell, ...]:
    """Return the matrix that is asked for; by default of what is on this machine.

    Args:
        options: What the front end was given.
        measures_graphs: Whether the device's graphs of a dtype are measured unasked.

    Raises:
        ConfigError: two cells would have one name.
    """
    models = models_of(options) or [(m, m.replace("-", "_")) for m in _default_models()]
    defaults = _default_datasets([model for model, _ in models])
    cells = form_cells(
        models=models,
        dtypes=options["dtype"],
        datasets=datasets_of(options) or [(d, d.replace("-", "_")) for d in defaults],
        graphs={"on": (True,), "off": (False,)}.get(options["graphs"], (False, True)),
        forwards=options["forward"],
        plan=plan_of(options),
        autocast=options["autocast"],
    )
    if options["graphs"] is not None:
        return cells
    return tuple(cell for cell in cells if not cell.graphs or measures_graphs(cell.dtype))


def plan_of(options: Given) -> BatchPlan:
    """Return the batch plan; raises ConfigError."""
    return form_plan(
        options["batch_plan"], num_buckets=options["buckets"], batch_size=options["batch_size"]
    )


def models_of(options: Given) -> list[tuple[str, str]]:
    """Return the models asked for, each with its name within a cell's id."""
    from w2v_core.model.catalog import parse_model

    return [(m, parse_model(m).cell_name) for m in options["model"]]


def datasets_of(options: Given) -> list[tuple[str, str]]:
    """Return the datasets asked for, each with its name within a cell's id."""
    from w2v_core.data.catalog import parse_dataset
    from w2v_core.data.layout import name_folder

    names = list(options["dataset"])
    if (folder := options["data_path"]) is not None:
        names.append(name_folder(folder))
    return [(d, parse_dataset(d).text) for d in names]


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
