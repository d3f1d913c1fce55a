"""A checkpoint's tensors: listed, checked against the architecture, put into transformers' module.

transformers' ``from_pretrained`` is not used for them: what it does with absent tensors (fill them
at random, or leave memory as it was), with a ``transformers_weights`` key and with dtypes depends
on its release. The module is built without memory and every tensor that inference needs is given to
it, so nothing is allocated for a checkpoint that is refused. Nothing of a file is executed.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from w2v_core._moved import names_of
from w2v_core.errors import LFS_REMEDY, CheckpointError, is_lfs_pointer
from w2v_core.model.architecture import Architecture
from w2v_core.model.checkpoint_files import (
    CONFIG,
    WeightFiles,
    pickles_unreadable,
    quiet,
    read_json,
    some,
)
from w2v_core.printable import one_line, shown

ACTIVATIONS = ("hidden_act", "feat_extract_activation")  # fields that name a function
TRAINING_ONLY = "wav2vec2.masked_spec_embed"  # masks spans in training; inference never reads it
# Names of torch.nn.utils.weight_norm, which the hub's files have, and of its successor.
WEIGHT_NORM = (
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
)
OURS = "Wav2Vec2ForCTC"
LAYER = re.compile(r"wav2vec2\.encoder\.layers\.(\d+)\.")

Tensors = Mapping[str, "StoredTensor"]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor as it lies in its file, not yet read."""

    file: Path
    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]


def load_weights(
    files: WeightFiles, architecture: Architecture
) -> tuple[Any, dict[str, str], tuple[str, ...]]:
    """Read the tensors that inference needs into a module; blocks on the disk.

    Returns:
        transformers' Wav2Vec2ForCTC, float32, eval, on the host; the SHA-256 of each file by its
        name; the tensors that the files hold and the architecture has no place for.

    Raises:
        CheckpointError: a file cannot be read, is a pickle of anything but tensors, or changes
            meanwhile; a tensor is absent, twice there, of another shape, no floating-point one, or
            holds NaN or infinite values; names the file or the tensor.
    """
    try:
        before = _states(files)
        stored = _list_tensors(files)
        _check_layers(files, architecture, stored)
        module = _build(architecture, source=files.directory / CONFIG)
        wanted = {name: tuple(t.shape) for name, t in module.state_dict().items()}
        named = _renamed(stored, wanted)
        _check_names(files, named, wanted)
        module.load_state_dict({name: _read(name, named[name]) for name in wanted}, assign=True)
        digests = {name: _sha256(files.directory / name) for name in files.names}
        if _states(files) != before:
            raise CheckpointError(f"the weights in {files.directory} changed while they were read")
    except OSError as error:
        raise CheckpointError(f"{files.directory} cannot be read: {one_line(error)}") from error
    module = module.eval().requires_grad_(requires_grad=False)
    unused = sorted(named.keys() - wanted.keys() - {TRAINING_ONLY})
    return module, digests, tuple(unused)


def _states(files: WeightFiles) -> list[tuple[int, ...]]:
    """Return what tells whether the files change between reading their tensors and hashing them."""
    found = [(files.directory / name).stat() for name in files.names]
    return [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in found]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _list_tensors(files: WeightFiles) -> Tensors:
    found: dict[str, StoredTensor] = {}
    for name in files.names:
        path = files.directory / name
        with path.open("rb") as file:
            if is_lfs_pointer(file.read(128)):
                raise CheckpointError(f"{path} {LFS_REMEDY}")
        for key, tensor in (_of_pickle if files.are_pickles else _of_safetensors)(path):
            if key in found:
                raise CheckpointError(
                    f"{path} holds {shown(key)}, which {found[key].file.name} holds too; shards of "
                    "two saves"
                )
            found[key] = tensor
    for key, shard in files.shard_of:
        if key not in found or found[key].file.name != shard:
            raise CheckpointError(
                f"{files.directory}: the index says that {shown(key)} is in {shard}, and it is "
                "not; index and shards are of two saves"
            )
    return found


def _of_safetensors(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    from safetensors import SafetensorError, safe_open

    if str(path) != str(path).encode(errors="ignore").decode():
        raise CheckpointError(f"{path}: safetensors opens a path of UTF-8 only; rename the folder")
    try:
        # Untyped, and open until the last tensor is read.
        file: Any = safe_open(str(path), framework="pt")
        for key in file.keys():  # noqa: SIM118 - no mapping
            shape = tuple(file.get_slice(key).get_shape())
            yield key, StoredTensor(file=path, shape=shape, read=partial(file.get_tensor, key))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {one_line(error)}; is it whole? fetch it again"
        ) from error


def _of_pickle(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Read tensors through torch's unpickler for weights, which runs no code of the file."""
    if (reason := pickles_unreadable()) is not None:
        raise CheckpointError(f"{path} is not read: {reason}")
    mmap = zipfile.is_zipfile(path)
    try:
        with quiet():  # torch warns of storages in the format before 1.6
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
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
                f"{path} holds a {type(tensor).__name__} under {shown(key)}; only tensors by name "
                "are read (a training state? save the model alone)"
            )
        yield key, StoredTensor(file=path, shape=tuple(tensor.shape), read=tensor.detach)


def _build(architecture: Architecture, *, source: Path) -> Any:  # noqa: ANN401 - untyped class
    """Build the module without memory, and without the embedding that only training reads."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    _check_activations(architecture, source)
    values = msgspec.structs.asdict(architecture)
    training = {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    try:
        with quiet(), torch.device("meta"):
            config = Wav2Vec2Config(**values, **training)
            return Wav2Vec2ForCTC._from_config(config, attn_implementation="sdpa")
    except Exception as error:  # whatever the values make of it
        raise CheckpointError(f"{source} describes no Wav2Vec2ForCTC: {one_line(error)}") from error


def _check_activations(architecture: Architecture, source: Path) -> None:
    """Refuse a function that the installed transformers lacks, which ends in a bare KeyError."""
    from transformers import __version__
    from transformers.activations import ACT2FN

    for field in ACTIVATIONS:
        if (name := getattr(architecture, field)) not in ACT2FN:
            raise CheckpointError(
                f"{source}: {field} is {shown(name)}; transformers {__version__} has "
                f"{', '.join(sorted(ACT2FN))}; write what the weights were trained with, or use a "
                "release that has it"
            )


def _check_layers(files: WeightFiles, architecture: Architecture, stored: Tensors) -> None:
    """Refuse a depth that the files do not have before a module of that depth is built."""
    present = {int(match[1]) for key in stored if (match := LAYER.match(key))}
    if absent := set(range(architecture.num_hidden_layers)) - present:
        raise CheckpointError(
            f"{files.directory}: {CONFIG} says {architecture.num_hidden_layers} layers, the "
            f"weights hold {len(present)}; wav2vec2.encoder.layers.{min(absent)} is absent: "
            f"{_incomplete(files)}"
        )


def _incomplete(files: WeightFiles) -> str:
    """Say what the checkpoint is instead, where config.json tells."""
    named = read_json(files.directory / CONFIG, dict[str, Any]).get("architectures")
    saved = named[0] if isinstance(named, list) and named else OURS
    if saved == OURS:
        return f"it is not a complete {OURS}"
    return f"it was saved as {shown(saved)}; train a CTC head on it and save it as {OURS}"


def _renamed(stored: Tensors, wanted: Shapes) -> Tensors:
    """Give weight norm's tensors the names that this torch has for them."""
    found: dict[str, StoredTensor] = {}
    for key, tensor in stored.items():
        others = [
            key.removesuffix(old) + new
            for pair in WEIGHT_NORM
            for old, new in (pair, pair[::-1])
            if key not in wanted and key.endswith(old)
        ]
        name = next((other for other in others if other in wanted), key)
        if name in found:
            raise CheckpointError(f"{tensor.file} holds {name!r} twice, as {key!r} too")
        found[name] = tensor
    return found


def _check_names(files: WeightFiles, named: Tensors, wanted: Shapes) -> None:
    if absent := sorted(wanted.keys() - named.keys()):
        raise CheckpointError(
            f"{files.directory} lacks weights that would be filled at random: {some(absent)}; "
            f"{_incomplete(files)}"
        )
    for name, shape in wanted.items():
        if named[name].shape != shape:
            raise CheckpointError(
                f"{named[name].file}: {name} has the shape {list(named[name].shape)}; {CONFIG} "
                f"makes it {list(shape)}"
            )


def _read(name: str, stored: StoredTensor) -> torch.Tensor:
    try:
        tensor = stored.read()
    except Exception as error:  # a damaged file breaks either reader in many ways
        raise CheckpointError(
            f"{stored.file}: {name} cannot be read: {one_line(error)}; fetch it again"
        ) from error
    if not tensor.is_floating_point() or tensor.layout is not torch.strided:
        raise CheckpointError(
            f"{stored.file}: {name} is a {tensor.layout} tensor of {tensor.dtype}; weights must be "
            "dense and of a floating-point type"
        )
    value = tensor.to(torch.float32, copy=True).contiguous()
    if not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{stored.file}: {name} holds NaN or infinite weights")
    return value


if not TYPE_CHECKING:  # what this module was before
    __getattr__ = names_of("model.weights", ["model.layers"])
