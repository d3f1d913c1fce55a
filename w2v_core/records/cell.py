"""The matrix: model x dtype x dataset x graphs x forward on one device. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from w2v_core.config import BatchPlan, ForwardName
from w2v_core.errors import ConfigError
from w2v_core.types import Dtype

_PARTS = 5  # model, dtype, dataset, graphs, forward
_AUTOCAST = "_autocast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A point of the matrix. Its text form is its identity: test id, benchmark name, row key."""

    model: str
    """As the user names it: ``canary-base``, ``base``, a directory or hub id."""
    model_name: str
    """Without ``-``, for the text form."""
    dtype: Dtype
    dataset: str
    dataset_name: str
    graphs: bool
    forward: ForwardName
    plan: BatchPlan
    autocast: bool = False

    def __str__(self) -> str:
        """Return for example ``base-bfloat16-test_clean-graphs-exact``."""
        dtype = f"{self.dtype}{_AUTOCAST}" if self.autocast else self.dtype
        graphs = "graphs" if self.graphs else "nographs"
        return f"{self.model_name}-{dtype}-{self.dataset_name}-{graphs}-{self.forward}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellName:
    """What a cell's text form says."""

    model_name: str
    dtype: str
    dataset_name: str
    graphs: bool
    forward: str
    autocast: bool


def parse_cell(text: str) -> CellName | None:
    """Read a cell's text form back; None where it is not one."""
    parts = text.split("-")
    if len(parts) != _PARTS or parts[3] not in ("graphs", "nographs"):
        return None
    return CellName(
        model_name=parts[0],
        dtype=parts[1].removesuffix(_AUTOCAST),
        dataset_name=parts[2],
        graphs=parts[3] == "graphs",
        forward=parts[4],
        autocast=parts[1].endswith(_AUTOCAST),
    )


def form_cells(
    *,
    models: Sequence[tuple[str, str]],
    dtypes: Sequence[Dtype],
    datasets: Sequence[tuple[str, str]],
    graphs: Iterable[bool],
    forwards: Sequence[ForwardName],
    plan: BatchPlan,
    autocast: bool = False,
) -> tuple[Cell, ...]:
    """Form the product, model first, in the order given.

    ``models`` and ``datasets`` are pairs of the user's text and the name within a cell's id.

    Raises:
        ConfigError: two models or two datasets would have one name, or one is asked for twice.
    """
    _refuse_equal("models", models)
    _refuse_equal("datasets", datasets)
    return tuple(
        Cell(
            model=model,
            model_name=model_name,
            dtype=dtype,
            dataset=dataset,
            dataset_name=dataset_name,
            graphs=on,
            forward=forward,
            plan=plan,
            autocast=autocast and dtype != "float32",
        )
        for (model, model_name), dtype, (dataset, dataset_name), on, forward in product(
            models, dtypes, datasets, tuple(graphs), forwards
        )
    )


def _refuse_equal(kind: str, named: Sequence[tuple[str, str]]) -> None:
    """Refuse what would give two cells one identity."""
    texts: dict[str, str] = {}
    for text, name in named:
        if name in texts:
            raise ConfigError(
                f"the {kind} {texts[name]} and {text} would both be called {name} in a cell's id; "
                "run them in two sessions, or give one by a link (ln -s) of another name"
            )
        texts[name] = text
