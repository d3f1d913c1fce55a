"""The tensors of a checkpoint's weight files, listed before any is read. Nothing is executed."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from w2v_core.errors import LFS_REMEDY, CheckpointError, is_lfs_pointer
from w2v_core.model.checkpoint_files import (
    WeightFiles,
    one_line,
    pickles_unreadable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor as it lies in its file, not yet read."""

    file: str
    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]


def list_tensors(files: WeightFiles) -> dict[str, StoredTensor]:
    """List the tensors of all files.

    Raises:
        CheckpointError: a file cannot be read, is a Git LFS pointer or a pickle of anything but
            tensors, or a name is in two shards or in another one than the index says.
    """
    found: dict[str, StoredTensor] = {}
    for name in files.names:
        path = files.directory / name
        with path.open("rb") as file:
            if is_lfs_pointer(file.read(128)):
                raise CheckpointError(f"{path} {LFS_REMEDY}")
        for key, tensor in (_of_pickle if files.are_pickles else _of_safetensors)(path):
            if key in found:
                raise CheckpointError(
                    f"{path} holds {key!r}, which {found[key].file} holds too; shards of two saves"
                )
            found[key] = tensor
    for key, shard in files.shard_of:
        if key not in found or found[key].file != shard:
            raise CheckpointError(
                f"{files.directory / str(files.index)} says that {key!r} is in {shard}, "
                f"and it is not; index and shards are of two saves"
            )
    return found


def _of_safetensors(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        # Untyped, and open until the last tensor is read.
        file: Any = safe_open(str(path), framework="pt")
        for key in file.keys():  # noqa: SIM118 - no mapping
            shape = tuple(file.get_slice(key).get_shape())
            yield key, StoredTensor(file=path.name, shape=shape, read=partial(file.get_tensor, key))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {one_line(error)}; is it whole? fetch it again"
        ) from error


def _of_pickle(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Read tensors through torch's unpickler for weights, which runs no code of the file."""
    if (reason := pickles_unreadable()) is not None:
        raise CheckpointError(f"{path} is not read: {reason}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages in the format before torch 1.6
            found = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, or is damaged; nothing of it was executed "
            f"({one_line(error.__cause__ or error)}); "
            "convert it to model.safetensors where you trust it"
        ) from error
    except Exception as error:  # a damaged file breaks torch's readers in many ways
        raise CheckpointError(
            f"{path} cannot be read: {one_line(error)}; is it whole? fetch it again"
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, not tensors by name")
    for key, tensor in found.items():
        if not isinstance(key, str) or not isinstance(tensor, torch.Tensor):
            raise CheckpointError(
                f"{path} holds a {type(tensor).__name__} under {key!r}; only tensors by name are "
                "read (a training state? save the model alone)"
            )
        yield key, StoredTensor(file=path.name, shape=tuple(tensor.shape), read=tensor.detach)


@contextmanager
def unchanged(files: WeightFiles) -> Iterator[None]:
    """Refuse files that change between the reading of their tensors and of their checksums."""

    def states() -> list[tuple[int, ...]]:
        paths = [(files.directory / name).resolve() for name in files.names]
        found = [path.stat() for path in paths]
        return [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in found]

    try:
        before = states()
        yield
        changed = states() != before
    except OSError as error:
        raise CheckpointError(f"{files.directory} cannot be read: {one_line(error)}") from error
    if changed:
        raise CheckpointError(f"the weights in {files.directory} changed while they were read")


def sha256_of(path: Path) -> str:
    """Hash a file, 4 MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
