"""Hugging Face's own forward on the zero-padded batch: what many users run, for comparison."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from w2v_core.types import RECEPTIVE_FIELD

__all__ = ["StockForward"]


class StockForward(nn.Module):
    """The checkpoint's module, padded as its feature extractor would pad.

    Padding leaks through group norm, positions and (without a mask) attention, so transcripts
    depend on the batch; that is what this forward is here to show.
    """

    def __init__(self, module: Any, *, dtype: torch.dtype, attention_mask: bool) -> None:  # noqa: ANN401
        """Copy the module; ``attention_mask`` as the checkpoint's feature extractor returns one."""
        super().__init__()
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
