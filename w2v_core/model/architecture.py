"""The fields of config.json that inference depends on, with their limits. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from w2v_core.errors import CheckpointError
from w2v_core.model.checkpoint_files import CONFIG, read_json
from w2v_core.printable import shown

STRIDES = (5, 2, 2, 2, 2, 2, 2)  # what types.FRAME_STRIDE and RECEPTIVE_FIELD stand for
KERNELS = (10, 3, 3, 3, 3, 2, 2)

Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
Sizes = Annotated[tuple[Size, ...], msgspec.Meta(max_length=64)]
Layers = Annotated[int, msgspec.Meta(ge=1, le=1024)]
Epsilon = Annotated[float, msgspec.Meta(ge=0, le=1)]
DIVISORS = ("num_attention_heads", "num_conv_pos_embedding_groups")


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of config.json that inference depends on, with Wav2Vec2Config's defaults."""

    vocab_size: Size = 32
    hidden_size: Size = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: Size = 12
    intermediate_size: Size = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: Epsilon = 1e-5
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    conv_dim: Sizes = (512,) * 7
    conv_stride: Sizes = STRIDES
    conv_kernel: Sizes = KERNELS
    conv_bias: bool = False
    num_conv_pos_embeddings: Size = 128
    num_conv_pos_embedding_groups: Size = 16
    do_stable_layer_norm: bool = False
    conv_pos_batch_norm: bool = False
    adapter_attn_dim: Size | None = None


class _Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of config.json that are looked at only to refuse them."""

    model_type: str = "wav2vec2"
    transformers_weights: Any = None
    quantization_config: Any = None
    add_adapter: bool = False
    num_labels: Size | None = None


def read_architecture(directory: Path) -> Architecture:
    """Read config.json.

    Raises:
        CheckpointError: a field has another type, is out of its limits or is not supported.
    """
    path = directory / CONFIG
    refused = read_json(path, _Refused)
    if refused.model_type != "wav2vec2":
        raise CheckpointError(
            f"{path}: model_type is {shown(refused.model_type)}; needed is 'wav2vec2'"
        )
    for field in ("transformers_weights", "quantization_config"):
        if (value := getattr(refused, field)) is not None:
            raise CheckpointError(
                f"{path}: {field} is {shown(value)}; it is refused, because the weights that "
                "are read must be those of the checkpoint's own float files; remove the key"
            )
    found = read_json(path, Architecture)
    if refused.add_adapter or found.conv_stride != STRIDES or found.conv_kernel != KERNELS:
        raise CheckpointError(
            f"{path}: add_adapter is {refused.add_adapter}, conv_stride {found.conv_stride}, "
            f"conv_kernel {found.conv_kernel}; supported are False, {STRIDES} and {KERNELS}, "
            "because frames are counted with them"
        )
    for field in DIVISORS:
        if found.hidden_size % (parts := getattr(found, field)):
            raise CheckpointError(
                f"{path}: {field} is {parts}; it must divide hidden_size, which is "
                f"{found.hidden_size}"
            )
    return found
