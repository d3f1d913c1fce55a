"""The files that a checkpoint is made of: which of them loading needs, and which are there.

No torch: what plain ``pytest`` collects and ``w2v doctor`` says depends on these answers.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from w2v_core.errors import LFS_REMEDY, CheckpointError, is_lfs_pointer

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
    index: str | None = None
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
    try:
        if (size := path.stat().st_size) > MAX_JSON_BYTES:
            raise CheckpointError(f"{path} has {size} bytes; at most {MAX_JSON_BYTES} are read")
        data = path.read_bytes()
        if is_lfs_pointer(data):
            raise CheckpointError(f"{path} {LFS_REMEDY}")
        return msgspec.json.decode(data, type=kind)
    except (OSError, msgspec.MsgspecError, RecursionError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} cannot be read: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Give the first line of an exception's text, printable and bounded."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    shown = "".join(c if c.isprintable() else "?" for c in text[:300])
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


def find_weights(directory: Path) -> WeightFiles | None:
    """Return the weight files that transformers would take; None where there are none.

    Raises:
        CheckpointError: an index cannot be read, leaves the folder, or lies beside shards that it
            does not name.
    """
    name = next((n for n in WEIGHTS if (directory / n).is_file()), None)
    if name is None:
        return None
    if not name.endswith(INDEX_SUFFIX):
        return WeightFiles(directory=directory, names=(name,))
    path = directory / name
    weight_map = read_json(path, _Index).weight_map
    shards = tuple(dict.fromkeys(weight_map.values()))
    suffix = ".bin" if name.startswith("pytorch_model") else ".safetensors"
    for shard in shards:
        if Path(shard).name != shard or "\\" in shard or not shard.endswith(suffix):
            raise CheckpointError(
                f"{path} names the shard {shard!r}; a shard is a *{suffix} file in the same folder"
            )
    if not shards:
        raise CheckpointError(f"{path} names no shard: its weight_map is empty")
    stem = name.partition(".")[0]
    extra = sorted(
        p.name
        for p in directory.glob(f"{stem}-*{suffix}")
        if SHARD.fullmatch(p.name) and p.name not in shards
    )
    if extra:
        raise CheckpointError(
            f"{path} does not name the shard {extra[0]} beside it ({len(extra)} such); "
            "index and shards are of two saves: save or fetch the checkpoint again"
        )
    return WeightFiles(
        directory=directory, names=shards, index=name, shard_of=tuple(weight_map.items())
    )


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
    absent = [name for name in needed if not (directory / name).is_file()]
    if not any(
        (directory / name).is_file() or name in absent for name in (PROCESSOR, PREPROCESSOR)
    ):
        absent.append(PREPROCESSOR)
    weights = find_weights(directory)
    if weights is None:
        listed_weights = [name for name in needed_of(listed) if name not in SMALL_FILES]
        absent += listed_weights or ["model.safetensors (or pytorch_model.bin)"]
    else:
        absent += [name for name in weights.names if not (directory / name).is_file()]
    return tuple(absent)


def needed_of(listed: Collection[str]) -> tuple[str, ...]:
    """Choose what loading needs among a repository's files: small ones, one kind of weights."""
    chosen = [name for name in SMALL_FILES if name in listed]
    weights = next((name for name in WEIGHTS if name in listed), None)
    if weights is not None:
        chosen.append(weights)
        if weights.endswith(INDEX_SUFFIX):
            stem = weights.partition(".")[0]
            suffix = ".bin" if stem == "pytorch_model" else ".safetensors"
            chosen += sorted(
                n
                for n in listed
                if SHARD.fullmatch(n) and n.startswith(f"{stem}-") and n.endswith(suffix)
            )
    return tuple(chosen)


def pickles_unreadable() -> str | None:
    """Say why ``pytorch_model.bin`` is not read with the installed torch; None where it is."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "torch is not installed"
    if tuple(int(n) for n in re.findall(r"\d+", version)[:2]) >= PICKLE_TORCH:
        return None
    return (
        f"torch {version} is here, and only from torch {'.'.join(map(str, PICKLE_TORCH))} on is "
        "unpickling held to tensors; convert the weights to model.safetensors, or use a newer torch"
    )
