"""The padding-exact forward: every utterance as if it were alone.

It returns the logits of the unpadded batch-1 Hugging Face forward, whatever shares the batch. The
convolutions have no padding, so a valid frame never reads a padded sample; three masks do the rest:
layer 0's group-norm statistics, the zeros around the positional convolution, and the attention's
keys.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.errors import BucketOverflowError
from w2v_core.model.blocks import (
    Attend,
    EncoderLayer,
    FrontEnd,
    PositionalConvolution,
    frame_mask,
    window_mask,
)
from w2v_core.model.layers import LayerNorm, Linear, check_family, no_autocast
from w2v_core.types import FRAME_STRIDE, num_frames

__all__ = [
    "ExactForward",
    "attention",
    "bucket_frames",
    "key_bias",
    "statistics_mask",
    "zero_outside",
]

SPARE_SAMPLES = 80  # a bucket of T frames has 320T + 80 samples, types.Bucket


class ExactForward(nn.Module):
    """The padding-exact forward.

    In bfloat16, these stay in float32 or wider: the waveform, group-norm statistics, the encoder's
    residual stream, and the CTC head (its cost is nothing, and bfloat16 logits tie at the arg-max).
    Captures and exports; buffers hold all weights.
    """

    def __init__(
        self,
        module: Any,  # noqa: ANN401
        *,
        dtype: torch.dtype,
        float64_statistics: bool,
        prepack: bool,
    ) -> None:
        """Copy the weights of a Wav2Vec2ForCTC, see ``build_forward``."""
        super().__init__()
        family = check_family(module.config)
        model, encoder = module.wav2vec2, module.wav2vec2.encoder
        projection = model.feature_projection
        self.dtype = dtype
        self.num_heads = int(module.config.num_attention_heads)
        self.stable = family == "layer"
        self.front_end: nn.Module = FrontEnd(
            model.feature_extractor.conv_layers,
            family=family,
            dtype=dtype,
            float64_statistics=float64_statistics,
        )
        self.feature_norm = LayerNorm(projection.layer_norm, dtype=dtype)
        self.projection = Linear(projection.projection, dtype=dtype, prepack=prepack)
        self.positions: nn.Module = PositionalConvolution(encoder.pos_conv_embed.conv, dtype=dtype)
        self.encoder_norm = LayerNorm(encoder.layer_norm, dtype=torch.float32)
        self.layers = nn.ModuleList(
            EncoderLayer(layer, dtype=dtype, stable=self.stable, prepack=prepack)
            for layer in encoder.layers
        )
        self.head = Linear(module.lm_head, dtype=torch.float32)

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) float32 and (B,) int32 to logits (B, T, V) float32.

        Raises:
            BucketOverflowError: S is not 320T + 80.
        """
        batch_size = waveforms.shape[0]
        frames = bucket_frames(waveforms)
        valid = statistics_mask(num_samples, waveforms.shape[1])
        features = self.front_end(waveforms, valid)
        hidden = self.embed(features).view(batch_size, frames, -1)
        hidden = zero_outside(hidden, num_samples)
        hidden = hidden + self.positions(hidden)
        bias = key_bias(num_samples, frames).to(hidden.dtype)

        def attend(joined: torch.Tensor) -> torch.Tensor:
            return attention(
                joined.view(batch_size, frames, -1), num_heads=self.num_heads, bias=bias
            ).flatten(0, 1)

        logits = self.transform(hidden.flatten(0, 1), attend)
        return logits.view(batch_size, frames, -1)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Map the front end's features (N, C) to (N, H)."""
        projected: torch.Tensor = self.projection(self.feature_norm(features))
        return projected

    def transform(self, rows: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Map embedded rows (N, H) through the encoder to logits (N, V) float32."""
        rows = rows.float()
        if not self.stable:
            rows = self.encoder_norm(rows)
        for layer in self.layers:
            rows = layer(rows, attend)
        if self.stable:
            rows = self.encoder_norm(rows)
        with no_autocast(rows.device.type):
            logits: torch.Tensor = self.head(rows)
        return logits


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


def statistics_mask(num_samples: torch.Tensor, padded_samples: int) -> torch.Tensor:
    """First mask, (B, W) bool: group-norm statistics see an utterance's own windows."""
    return window_mask(num_samples, padded_samples // 5 - 1)


def zero_outside(hidden: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
    """Second mask: the positional convolution sees zeros around an utterance (B, T, H).

    Selected, not multiplied: what a NaN of the next utterance left in the spare frame must go.
    """
    inside = frame_mask(num_samples, hidden.shape[1])[:, :, None]
    return torch.where(inside, hidden, torch.zeros((), dtype=hidden.dtype, device=hidden.device))


def key_bias(num_samples: torch.Tensor, frames: int) -> torch.Tensor:
    """Third mask, (B, 1, 1, T) float32: minus infinity at keys outside an utterance.

    A row without frames keeps its first key, because a softmax over nothing is NaN.
    """
    first = torch.arange(frames, device=num_samples.device) == 0
    inside = frame_mask(num_samples, frames) | first
    zero = torch.zeros((), dtype=torch.float32, device=num_samples.device)
    return torch.where(inside, zero, float("-inf"))[:, None, None, :]


def bucket_frames(waveforms: torch.Tensor) -> int:
    """Return the frames T of waveforms (B, 320T + 80).

    Raises:
        BucketOverflowError: no whole number of frames fits.
    """
    samples = waveforms.shape[1]
    frames = num_frames(samples)
    if frames < 1 or samples != FRAME_STRIDE * frames + SPARE_SAMPLES:
        raise BucketOverflowError(
            f"waveforms have {samples} samples a row; the exact forward takes 320 T + 80, "
            "as Bucket.holding makes them"
        )
    return frames
