"""From the front end's features to logits: what the exact and the packed forward share.

Everything has a static shape and nothing reads a value back to the host, so that a step can be
captured in an HPU or CUDA graph and exported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.model.layers import (
    LayerNorm,
    Linear,
    check_family,
    folded,
    frozen,
    no_autocast,
    product,
)

Attend = Callable[[torch.Tensor], torch.Tensor]
"""Joined queries, keys and values (N, 3H) -> context (N, H)."""


class Encoder(nn.Module):
    """Feature projection, transformer layers and CTC head, over the rows of all utterances.

    In bfloat16 the residual stream stays in float32, and so does the CTC head: its cost is nothing,
    and bfloat16 logits tie at the arg-max. How rows attend, and what positions they have, is the
    matter of the forward that owns it.
    """

    def __init__(self, module: Any, *, dtype: torch.dtype, prepack: bool) -> None:  # noqa: ANN401
        """Copy the weights of a Wav2Vec2ForCTC, see ``build_forward``."""
        super().__init__()
        projection, encoder = module.wav2vec2.feature_projection, module.wav2vec2.encoder
        self.dtype = dtype
        self.num_heads = int(module.config.num_attention_heads)
        self.stable = check_family(module.config) == "layer"
        self.feature_norm = LayerNorm(projection.layer_norm, dtype=dtype)
        self.projection = Linear(projection.projection, dtype=dtype, prepack=prepack)
        self.norm = LayerNorm(encoder.layer_norm, dtype=torch.float32)
        self.layers = nn.ModuleList(
            EncoderLayer(layer, dtype=dtype, stable=self.stable, prepack=prepack)
            for layer in encoder.layers
        )
        self.head = Linear(module.lm_head, dtype=torch.float32)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Map the front end's features (N, C) to (N, H)."""
        projected: torch.Tensor = self.projection(self.feature_norm(features))
        return projected

    def forward(self, rows: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Map embedded rows (N, H), positions added, to logits (N, V) float32."""
        rows = rows.float()
        if not self.stable:
            rows = self.norm(rows)
        for layer in self.layers:
            rows = layer(rows, attend)
        if self.stable:
            rows = self.norm(rows)
        with no_autocast(rows.device.type):
            logits: torch.Tensor = self.head(rows)
        return logits


class PositionalConvolution(nn.Module):
    """The grouped convolution over frames, with its weight norm folded."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, source: nn.Conv1d, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", frozen(folded(source), dtype))
        assert source.bias is not None  # Wav2Vec2 always has one
        self.register_buffer("bias", frozen(source.bias, dtype))
        self.groups = source.groups

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map (B, T, H), zero outside the utterances, to (B, T, H)."""
        padding = self.weight.shape[2] // 2
        channels = frames.transpose(1, 2)
        convolved = partial(F.conv1d, padding=padding, groups=self.groups)
        result = product(convolved, channels, self.weight, self.bias)
        return F.gelu(result[:, :, : frames.shape[1]]).transpose(1, 2)


class EncoderLayer(nn.Module):
    """One transformer layer over rows (N, H); how rows attend is the caller's matter.

    The rows themselves, the residual stream, are float32 whatever the products are in: rounding it
    to bfloat16 twice a layer is a quarter of the frames that bfloat16 changes.
    """

    def __init__(self, source: Any, *, dtype: torch.dtype, stable: bool, prepack: bool) -> None:  # noqa: ANN401
        super().__init__()
        attention, feed_forward = source.attention, source.feed_forward
        self.dtype = dtype
        self.stable = stable
        self.joined = Linear(
            attention.q_proj, attention.k_proj, attention.v_proj, dtype=dtype, prepack=prepack
        )
        self.out = Linear(attention.out_proj, dtype=dtype, prepack=prepack)
        self.widen = Linear(
            feed_forward.intermediate_dense, dtype=dtype, gelu=True, prepack=prepack
        )
        self.narrow = Linear(feed_forward.output_dense, dtype=dtype, prepack=prepack)
        self.norm = LayerNorm(source.layer_norm, dtype=torch.float32)
        self.final_norm = LayerNorm(source.final_layer_norm, dtype=torch.float32)

    def forward(self, rows: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Map (N, H) float32 to the same; layer norm before (stable) or behind each half."""
        if self.stable:
            rows = rows + self._attended(self.norm(rows), attend)
            stable: torch.Tensor = rows + self._fed_forward(self.final_norm(rows))
            return stable
        rows = self.norm(rows + self._attended(rows, attend))
        result: torch.Tensor = self.final_norm(rows + self._fed_forward(rows))
        return result

    def _attended(self, rows: torch.Tensor, attend: Attend) -> torch.Tensor:
        attended: torch.Tensor = self.out(attend(self.joined(rows.to(self.dtype))))
        return attended

    def _fed_forward(self, rows: torch.Tensor) -> torch.Tensor:
        narrowed: torch.Tensor = self.narrow(self.widen(rows.to(self.dtype)))
        return narrowed


def attention(joined: torch.Tensor, *, num_heads: int, bias: torch.Tensor | None) -> torch.Tensor:
    """Attend within each row of a batch.

    Args:
        joined: (B, T, 3H), queries, keys and values side by side.
        num_heads: Heads that H is split into.
        bias: (B, 1, 1, T), added to the scores; None where every key counts.

    Returns:
        (B, T, H)
    """
    batch_size, frames, width = joined.shape
    split = joined.view(batch_size, frames, 3, num_heads, width // (3 * num_heads))
    query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return context.transpose(1, 2).flatten(2)
