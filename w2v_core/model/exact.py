"""The padding-exact forward: every utterance as if it were alone.

It returns the logits of the unpadded batch-1 Hugging Face forward, whatever shares the batch. The
convolutions have no padding, so a valid frame never reads a padded sample; three masks do the rest:
layer 0's group-norm statistics, the zeros around the positional convolution, and the attention's
keys.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from w2v_core.errors import BucketOverflowError
from w2v_core.model.encoder import Encoder, PositionalConvolution, attention
from w2v_core.model.front_end import FrontEnd, frame_mask, window_mask
from w2v_core.model.layers import check_family, products
from w2v_core.types import FRAME_STRIDE, num_frames

SPARE_SAMPLES = 80  # a bucket of T frames has 320T + 80 samples, types.Bucket


class ExactForward(nn.Module):
    """The padding-exact forward.

    In bfloat16 the waveform and the group-norm statistics stay in float32 or wider, and so does
    what ``Encoder`` names. Captures and exports; buffers hold all weights.
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
        self.kernels = f"{products(dtype, prepack=prepack)}; attention torch; positions convolved"
        self.front_end: nn.Module = FrontEnd(
            module.wav2vec2.feature_extractor.conv_layers,
            family=check_family(module.config),
            dtype=dtype,
            float64_statistics=float64_statistics,
        )
        self.positions: nn.Module = PositionalConvolution(
            module.wav2vec2.encoder.pos_conv_embed.conv, dtype=dtype
        )
        self.encoder = Encoder(module, dtype=dtype, prepack=prepack)

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) float32 and (B,) int32 to logits (B, T, V) float32.

        Raises:
            BucketOverflowError: S is not 320T + 80.
        """
        batch_size = waveforms.shape[0]
        frames = bucket_frames(waveforms)
        valid = statistics_mask(num_samples, waveforms.shape[1])
        features = self.front_end(waveforms, valid)
        hidden = self.encoder.embed(features).view(batch_size, frames, -1)
        hidden = zero_outside(hidden, num_samples)
        hidden = hidden + self.positions(hidden)
        bias = key_bias(num_samples, frames).to(hidden.dtype)

        def attend(joined: torch.Tensor) -> torch.Tensor:
            return attention(
                joined.view(batch_size, frames, -1), num_heads=self.encoder.num_heads, bias=bias
            ).flatten(0, 1)

        logits: torch.Tensor = self.encoder(hidden.flatten(0, 1), attend)
        return logits.view(batch_size, frames, -1)


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
