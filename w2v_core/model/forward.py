"""The forwards of a checkpoint: ``stock`` (Hugging Face's, padded) and ``exact`` (ours)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from w2v_core.config import ForwardName
from w2v_core.errors import ConfigError
from w2v_core.model.exact import ExactForward
from w2v_core.model.layers import can_prepack
from w2v_core.model.packed import PackedForward
from w2v_core.model.stock import StockForward
from w2v_core.types import Dtype

__all__ = ["build_forward"]


def build_forward(
    module: Any,  # noqa: ANN401 - transformers' Wav2Vec2ForCTC, an untyped class
    *,
    name: ForwardName,
    dtype: Dtype,
    device: torch.device,
    attention_mask: bool = False,
    float64_statistics: bool = False,
    prepack: bool = False,
    packed: bool = False,
) -> nn.Module:
    """Put a forward of a checkpoint on a device; the checkpoint's module is left as it is.

    Args:
        module: A Wav2Vec2ForCTC in float32 and eval mode, on the host.
        name: ``exact`` or ``stock``.
        dtype: What weights and activations are in. Under autocast to bfloat16: float32.
        device: Where the weights go.
        attention_mask: stock: give the module one, as its feature extractor does.
        float64_statistics: exact: compute group-norm statistics in float64, which saves a pass over
            layer 0; float32 otherwise, for devices without float64.
        prepack: exact: oneDNN's prepacked weights; bfloat16 on the host only, see ``can_prepack``.
        packed: exact: compute no padding at all (``PackedForward``); on the host only.

    Returns:
        A module that maps waveforms (B, S) float32, normalised and zero-padded, and num_samples
        (B,) int32 to logits (B, T, V), T frames for S = 320T + 80 samples. Frames past an
        utterance's own are meaningless. exact returns float32 logits.

    Raises:
        CheckpointError: ``exact``, and the checkpoint is outside the two families.
        ConfigError: ``prepack`` or ``packed`` where it cannot be.
    """
    torch_dtype: torch.dtype = getattr(torch, dtype)
    if packed and (name != "exact" or device.type != "cpu"):
        raise _no_packing(name, device)
    if name == "stock":
        return _ready(
            StockForward(module, dtype=torch_dtype, attention_mask=attention_mask), device
        )
    if prepack and (device.type != "cpu" or dtype != "bfloat16" or not can_prepack()):
        raise _no_prepacking(dtype, device)
    kind = PackedForward if packed else ExactForward
    exact = kind(module, dtype=torch_dtype, float64_statistics=float64_statistics, prepack=prepack)
    return _ready(exact, device)


def _no_packing(name: ForwardName, device: torch.device) -> ConfigError:
    return ConfigError(
        f"packed batches were asked for with the {name} forward on {device}; they exist for the "
        "exact forward on the host; use --batch-plan sorted"
    )


def _no_prepacking(dtype: Dtype, device: torch.device) -> ConfigError:
    return ConfigError(
        f"prepacked weights were asked for in {dtype} on {device}; they exist in bfloat16 on a "
        "processor whose oneDNN has bfloat16; leave prepack off"
    )


def _ready(forward: nn.Module, device: torch.device) -> nn.Module:
    """Freeze the forward and put it on its device; blocks for the copy."""
    return forward.eval().requires_grad_(requires_grad=False).to(device)
