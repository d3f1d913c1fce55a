"""The forwards of a checkpoint: ``stock`` (Hugging Face's, padded as many run it) and ours."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from w2v_core.config import ForwardName
from w2v_core.errors import ConfigError
from w2v_core.model.cuda import suit_gpu
from w2v_core.model.exact import ExactForward
from w2v_core.model.layers import can_prepack
from w2v_core.model.packed import PackedForward
from w2v_core.types import RECEPTIVE_FIELD, Dtype


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
    if packed:
        return _ready(PackedForward(module, dtype=torch_dtype, prepack=prepack), device)
    exact = ExactForward(
        module, dtype=torch_dtype, float64_statistics=float64_statistics, prepack=prepack
    )
    return _ready(suit_gpu(exact) if device.type == "cuda" else exact, device)


class StockForward(nn.Module):
    """The checkpoint's module, padded as its feature extractor would pad.

    Padding leaks through group norm, positions and (without a mask) attention, so transcripts
    depend on the batch; that is what this forward is here to show.
    """

    def __init__(self, module: Any, *, dtype: torch.dtype, attention_mask: bool) -> None:  # noqa: ANN401
        """Copy the module; ``attention_mask`` as the checkpoint's feature extractor returns one."""
        super().__init__()
        self.kernels = "transformers' module"
        self.module = copy.deepcopy(module).to(dtype=dtype)
        self.attention_mask = attention_mask

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) float32 and (B,) int32 to logits (B, T, V)."""
        mask = None
        if self.attention_mask:
            samples = torch.arange(waveforms.shape[1], dtype=torch.int32, device=waveforms.device)
            # A padding row counts as one frame long: attention over nothing would be NaN.
            mask = (samples < num_samples.clamp_min(RECEPTIVE_FIELD)[:, None]).to(torch.int64)
        dtype = self.module.lm_head.weight.dtype
        logits: torch.Tensor = self.module(waveforms.to(dtype), attention_mask=mask).logits
        return logits


def _no_packing(name: ForwardName, device: torch.device) -> ConfigError:
    return ConfigError(
        f"packed batches were asked for with the {name} forward on {device}; they exist for the "
        "exact forward on the host; {use:batch_plan sorted}"
    )


def _no_prepacking(dtype: Dtype, device: torch.device) -> ConfigError:
    return ConfigError(
        f"prepacked weights were asked for in {dtype} on {device}; they exist in bfloat16 on a "
        "processor whose oneDNN has bfloat16; leave prepack off"
    )


def _ready(forward: nn.Module, device: torch.device) -> nn.Module:
    """Freeze the forward and put it on its device; blocks for the copy."""
    return forward.eval().requires_grad_(requires_grad=False).to(device)
