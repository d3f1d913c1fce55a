"""The files that a checkpoint is made of: which of them loading needs, and which are there.

No torch: what plain ``pytest`` collects and ``w2v doctor`` says depends on these answers.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from w2v_core import jsonfile
from w2v_core.errors import CheckpointError
from w2v_core.printable import printable, shown
from w2v_core.system import version_of

CONFIG = "config.json"
VOCABULARY = "vocab.json"
PROCESSOR = "processor_config.json"  # transformers 5 writes the feature extractor's settings here
PREPROCESSOR = "preprocessor_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SMALL_FILES = (
    CONFIG,
    VOCABULARY,
    PROCESSOR,
    PREPROCESSOR,
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
)
# In the order in which transformers looks for them.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
INDEX_SUFFIX = ".index.json"
SHARD = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")
PICKLE_TORCH = (2, 6)  # the first torch whose weights_only=True has no known way to run code
MAX_JSON_BYTES = 64 << 20  # the largest vocabulary of a CTC head that we know of takes 0.3 MB

T = TypeVar("T")


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """The files that hold the tensors, all in one folder."""

    directory: Path
    names: tuple[str, ...]
    """One file, or the shards that an index names, in the index's order."""
    shard_of: tuple[tuple[str, str], ...] = ()
    """Tensor name and its shard, as the index has them."""

    @property
    def are_pickles(self) -> bool:
        """Whether they are read by torch.load instead of safetensors."""
        return self.names[0].endswith(".bin")


def read_json(path: Path, kind: type[T]) -> T:
    """Read one of the small files into the type that is expected of it.

    Raises:
        CheckpointError: it cannot be read, is no JSON, is a Git LFS pointer, or a field has another
            type or is out of its limits; names file and field.
    """
    data = jsonfile.read_json(path, error=CheckpointError, most_bytes=MAX_JSON_BYTES)
    return jsonfile.convert(data, kind, source=str(path), error=CheckpointError)


def some(names: Iterable[str]) -> str:
    """Name the first five, and say how many there are where there are more."""
    listed = [printable(name[:80]) for name in names]
    return ", ".join(listed[:5]) + (f" ... ({len(listed)} in all)" if len(listed) > 5 else "")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' log and warnings off stderr: what is wrong is raised, in our words."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


def find_weights(directory: Path) -> WeightFiles | None:
    """Return the weight files that transformers would take; None where there are none.

    Raises:
        CheckpointError: an index cannot be read, is empty, or leaves the folder.
    """
    name = next((n for n in WEIGHTS if (directory / n).is_file()), None)
    if name is None or not name.endswith(INDEX_SUFFIX):
        return WeightFiles(directory=directory, names=(name,)) if name else None
    path = directory / name
    weight_map = read_json(path, _Index).weight_map
    shards = tuple(dict.fromkeys(weight_map.values()))
    suffix = Path(name.removesuffix(INDEX_SUFFIX)).suffix
    for shard in shards or [""]:
        if Path(shard).name != shard or "\\" in shard or not shard.endswith(suffix):
            raise CheckpointError(
                f"{path} names the shard {shown(shard)}; a shard is a *{suffix} file in the same "
                "folder"
            )
    return WeightFiles(directory=directory, names=shards, shard_of=tuple(weight_map.items()))


def lacking(directory: Path, *, listed: Collection[str] = ()) -> tuple[str, ...]:
    """Return what loading needs and the folder lacks; empty where the checkpoint can be read.

    Args:
        directory: The checkpoint's folder.
        listed: Names that the checkpoint is known to have, as far as they are known; the small
            ones among them are needed, because what they say is obeyed.

    Raises:
        CheckpointError: an index of shards cannot be used.
    """
    needed = [name for name in SMALL_FILES if name in (CONFIG, VOCABULARY) or name in listed]
    weights = find_weights(directory)
    known = [name for name in needed_of(listed) if name not in SMALL_FILES]
    needed += weights.names if weights else known or ["model.safetensors (or pytorch_model.bin)"]
    absent = [name for name in needed if not (directory / name).is_file()]
    extractors = (PROCESSOR, PREPROCESSOR)
    if not any(name in absent or (directory / name).is_file() for name in extractors):
        absent.append(PREPROCESSOR)
    return tuple(absent)


def needed_of(listed: Collection[str]) -> tuple[str, ...]:
    """Choose what loading needs among a repository's files: small ones, one kind of weights."""
    chosen = [name for name in SMALL_FILES if name in listed]
    weights = next((name for name in WEIGHTS if name in listed), None)
    if weights is not None:
        chosen.append(weights)
        if weights.endswith(INDEX_SUFFIX):
            stem, suffix = weights.removesuffix(INDEX_SUFFIX).split(".")
            shards = [n for n in listed if SHARD.fullmatch(n)]
            chosen += sorted(n for n in shards if n.startswith(f"{stem}-") and n.endswith(suffix))
    return tuple(chosen)


def pickles_unreadable() -> str | None:
    """Say why ``pytorch_model.bin`` is not read with the installed torch; None where it is."""
    if (version := version_of("torch")) is None:
        return "torch is not installed"
    if tuple(int(n) for n in re.findall(r"\d+", version)[:2]) >= PICKLE_TORCH:
        return None
    return (
        f"torch {version} is here, and only from torch {'.'.join(map(str, PICKLE_TORCH))} on is "
        "unpickling held to tensors; convert the weights to model.safetensors, or use a newer torch"
    )
