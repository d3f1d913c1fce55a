"""A checkpoint's tensors: read, checked against the architecture, put into transformers' module.

transformers' ``from_pretrained`` is not used for them: what it does with absent tensors (fill them
at random, or leave memory as it was), with a ``transformers_weights`` key and with dtypes depends
on its release. The module is built without memory and every tensor that inference needs is given to
it, so nothing is allocated for a checkpoint that is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from w2v_core._moved import names_of
from w2v_core.errors import CheckpointError
from w2v_core.model.architecture import Architecture
from w2v_core.model.checkpoint_files import CONFIG, WeightFiles, one_line
from w2v_core.model.quiet import quiet
from w2v_core.model.tensor_files import StoredTensor, list_tensors, sha256_of, unchanged

TRAINING_ONLY = "wav2vec2.masked_spec_embed"  # masks spans in training; inference never reads it
# Names of torch.nn.utils.weight_norm, which the hub's files have, and of its successor.
WEIGHT_NORM = (
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
)
LAYER = re.compile(r"wav2vec2\.encoder\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What was read from the files of a checkpoint."""

    module: Any
    """transformers' Wav2Vec2ForCTC, float32, eval, on the host."""
    sha256_of: Mapping[str, str]
    """By the name of each weight file, in the order of reading."""
    unused: tuple[str, ...]
    """Tensors that the files hold and the architecture has no place for."""


def load_weights(files: WeightFiles, architecture: Architecture) -> Weights:
    """Read the tensors that inference needs into a module; blocks on the disk.

    Raises:
        CheckpointError: a file cannot be read, is a pickle of anything but tensors, or changes
            meanwhile; a tensor is absent, twice there, of another shape, no floating-point one, or
            holds NaN or infinite values; names the file or the tensor.
    """
    with unchanged(files):
        stored = list_tensors(files)
        _check_layers(files, architecture, stored)
        module = _build(architecture)
        wanted = {name: tuple(t.shape) for name, t in module.state_dict().items()}
        named = _renamed(stored, wanted)
        _check_names(files, named, wanted)
        state = {name: _read(name, named[name], shape) for name, shape in wanted.items()}
        module.load_state_dict(state, assign=True)
        digests = {name: sha256_of(files.directory / name) for name in files.names}
    module = module.eval()
    module.requires_grad_(requires_grad=False)
    unused = sorted(named.keys() - wanted.keys() - {TRAINING_ONLY})
    return Weights(module=module, sha256_of=digests, unused=tuple(unused))


def _build(architecture: Architecture) -> Any:  # noqa: ANN401 - untyped library class
    """Build the module without memory, and without the embedding that only training reads."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    try:
        with quiet(), torch.device("meta"):
            config = Wav2Vec2Config(
                **msgspec.structs.asdict(architecture),
                apply_spec_augment=False,
                mask_time_prob=0.0,
                mask_feature_prob=0.0,
            )
            return Wav2Vec2ForCTC._from_config(config, attn_implementation="sdpa")
    except Exception as error:  # whatever the values make of it
        raise CheckpointError(f"{CONFIG} describes no Wav2Vec2ForCTC: {one_line(error)}") from error


def _check_layers(
    files: WeightFiles, architecture: Architecture, stored: Mapping[str, StoredTensor]
) -> None:
    """Refuse a depth that the files do not have before a module of that depth is built."""
    present = {int(match[1]) for key in stored if (match := LAYER.match(key))}
    if absent := set(range(architecture.num_hidden_layers)) - present:
        raise CheckpointError(
            f"{files.directory}: {CONFIG} says {architecture.num_hidden_layers} layers, the "
            f"weights hold {len(present)}; wav2vec2.encoder.layers.{min(absent)} is absent: "
            "it is not a complete Wav2Vec2ForCTC"
        )


def _renamed(
    stored: Mapping[str, StoredTensor], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, StoredTensor]:
    """Give weight norm's tensors the names that this torch has for them."""
    found: dict[str, StoredTensor] = {}
    for key, tensor in stored.items():
        name = key
        for pair in WEIGHT_NORM:
            for old, new in (pair, pair[::-1]):
                if key not in wanted and key.endswith(old):
                    other = key.removesuffix(old) + new
                    name = other if other in wanted else key
        if name in found:
            raise CheckpointError(f"{tensor.file} holds {name!r} twice, as {key!r} too")
        found[name] = tensor
    return found


def _check_names(
    files: WeightFiles, named: Mapping[str, StoredTensor], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    if absent := sorted(wanted.keys() - named.keys()):
        raise CheckpointError(
            f"{files.directory} lacks weights that would be filled at random: "
            f"{', '.join(absent[:5])} ({len(absent)} in all); "
            "it is not a complete Wav2Vec2ForCTC"
        )
    for name, shape in wanted.items():
        if named[name].shape != shape:
            raise CheckpointError(
                f"{files.directory / named[name].file}: {name} has the shape "
                f"{list(named[name].shape)}; {CONFIG} makes it {list(shape)}"
            )


def _read(name: str, stored: StoredTensor, shape: tuple[int, ...]) -> torch.Tensor:
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
        raise CheckpointError(f"{stored.file}: {name} holds NaN or infinite weights {list(shape)}")
    return value


if not TYPE_CHECKING:  # what this module was before
    __getattr__ = names_of("model.weights", ["model.layers"])
