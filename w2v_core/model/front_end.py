"""The seven convolutions of the exact forward, as matrix products.

Everything has a static shape and nothing reads a value back to the host, so that a step can be
captured in an HPU or CUDA graph and exported.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.model.layers import Family, LayerNorm, Taps, frozen, no_autocast, product
from w2v_core.types import FRAME_STRIDE, RECEPTIVE_FIELD

WINDOW, HOP = 10, 5  # samples; kernel and stride of layer 0, HF Wav2Vec2Config
WINDOWS_PER_FRAME = 64  # layer-0 outputs per frame; 2*2*2*2*2*2


def frame_mask(num_samples: torch.Tensor, num_frames: int) -> torch.Tensor:
    """Return (B, T) bool: the frames of each utterance, by comparison alone (no division)."""
    frames = torch.arange(num_frames, dtype=torch.int32, device=num_samples.device)
    return frames * FRAME_STRIDE + RECEPTIVE_FIELD <= num_samples[:, None]


def window_mask(num_samples: torch.Tensor, num_windows: int) -> torch.Tensor:
    """Return (B, W) bool: the layer-0 windows that lie inside each utterance."""
    windows = torch.arange(num_windows, dtype=torch.int32, device=num_samples.device)
    return windows * HOP + WINDOW <= num_samples[:, None]


def windows_of(waveforms: torch.Tensor) -> torch.Tensor:
    """Cut (B, S) into the (B, S/5 - 1, 10) windows of layer 0: each is two neighbouring hops."""
    hops = waveforms.view(waveforms.shape[0], -1, HOP)
    return torch.cat((hops[:, :-1], hops[:, 1:]), dim=-1)


def quadratic_form(rows: torch.Tensor, form: torch.Tensor) -> torch.Tensor:
    """Return r M r' of each row r of (..., K) with a form M (..., K, K), never below zero."""
    found: torch.Tensor = ((rows @ form) * rows).sum(dim=-1)
    return found.clamp_min(0.0)  # rounding


class GroupNormLayer0(nn.Module):
    """Layer 0 of the group-norm family; the norm is folded into each utterance's weights.

    Group norm takes a channel's mean and variance over the whole utterance, so here padding would
    leak in. The mean over an utterance's own windows is taken off the windows, which makes the
    channel means zero; the variance follows in one of two ways, both from float32 or wider:

    - float64: from the windows' 10 x 10 covariance C, as w' C w. No pass over the channels, but
      the quadratic form cancels (speech is low-pass, the filters are not), so it needs float64.
    - float32: the sum of squares of the centred channels. One more product and one more pass, no
      cancellation; summed by blocks of one frame, because the sum has up to 10^5 terms.
    """

    weight: torch.Tensor
    gain: torch.Tensor
    shift: torch.Tensor

    def __init__(self, source: Any, *, dtype: torch.dtype, float64_statistics: bool) -> None:  # noqa: ANN401
        super().__init__()
        self.register_buffer("weight", frozen(source.conv.weight[:, 0], torch.float32))  # (C, 10)
        self.register_buffer("gain", frozen(source.layer_norm.weight, torch.float32))
        self.register_buffer("shift", frozen(source.layer_norm.bias, torch.float32))
        self.eps = source.layer_norm.eps
        self.dtype = dtype
        self.statistics_dtype = torch.float64 if float64_statistics else torch.float32

    def forward(self, windows: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Map windows (B, W, 10) float32 and their mask (B, W) to (B, 64T, C)."""
        used, weight = self.folded(windows, valid)
        shift = self.shift.to(self.dtype).expand(windows.shape[0], 1, -1)
        return F.gelu(product(torch.baddbmm, shift, used, weight))

    def folded(
        self, windows: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Centre the windows that frames read and fold the norm's scale into the weight.

        Returns:
            (B, 64T, 10) and (B, 10, C), both in the layer's dtype.
        """
        centred, variance = self.statistics(windows, valid)
        scale = self.gain * torch.rsqrt(variance + self.eps).to(torch.float32)
        weight = (self.weight * scale[:, :, None]).transpose(1, 2)
        return centred[:, : used_windows(windows)].to(self.dtype), weight.to(self.dtype)

    def statistics(
        self, windows: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Centre the windows and compute the channels' variance.

        Returns:
            (B, W, 10), zero past an utterance, and (B, C), both in the statistics' dtype.
        """
        with no_autocast(windows.device.type):
            count = valid.sum(dim=1).clamp_min(1).to(self.statistics_dtype)[:, None]  # (B, 1)
            own = valid[:, :, None]
            zero = torch.zeros((), dtype=self.statistics_dtype, device=windows.device)
            wide = torch.where(own, windows.to(self.statistics_dtype), zero)
            mean = wide.sum(dim=1) / count  # (B, 10)
            centred = torch.where(own, wide - mean[:, None, :], zero)
            return centred, self._sum_of_squares(centred) / count

    def _sum_of_squares(self, centred: torch.Tensor) -> torch.Tensor:
        """Sum the squares of layer 0's outputs over the windows: (B, W, 10) -> (B, C)."""
        weight = self.weight.to(centred.dtype)
        if centred.dtype == torch.float64:
            moments = torch.bmm(centred.transpose(1, 2), centred)  # (B, 10, 10)
            return quadratic_form(weight, moments)
        channels = F.linear(centred, weight)
        head, rest = channels.tensor_split([used_windows(channels)], dim=1)
        blocks = head.view(head.shape[0], -1, WINDOWS_PER_FRAME, head.shape[2])
        by_frame: torch.Tensor = torch.linalg.vector_norm(blocks, dim=2)
        at_end: torch.Tensor = torch.linalg.vector_norm(rest, dim=1)
        return by_frame.square().sum(dim=1) + at_end.square()


class LayerNormLayer0(nn.Module):
    """Layer 0 of the layer-norm family: frames do not see each other, so no statistics."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, source: Any, *, dtype: torch.dtype) -> None:  # noqa: ANN401
        super().__init__()
        self.register_buffer("weight", frozen(source.conv.weight[:, 0], dtype))
        self.register_buffer("bias", frozen(source.conv.bias, dtype))
        self.norm = LayerNorm(source.layer_norm, dtype=dtype)

    def forward(self, windows: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Map windows (B, W, 10) float32 to (B, W, C); ``valid`` has no part in it."""
        del valid
        used = windows[:, : used_windows(windows)].to(self.weight.dtype)
        return F.gelu(self.norm(product(F.linear, used, self.weight, self.bias)))


class FrontEnd(nn.Module):
    """The seven convolutions: waveforms (B, 320T + 80) -> features (B*T, C), channels last.

    Frame T-1 of each utterance mixes with the next one's samples and must be masked: a bucket holds
    utterances of at most T-1 frames.
    """

    def __init__(
        self,
        layers: Any,  # noqa: ANN401 - untyped library modules
        *,
        family: Family,
        dtype: torch.dtype,
        float64_statistics: bool,
    ) -> None:
        super().__init__()
        self.layer0: nn.Module
        if family == "group":
            self.layer0 = GroupNormLayer0(
                layers[0], dtype=dtype, float64_statistics=float64_statistics
            )
        else:
            self.layer0 = LayerNormLayer0(layers[0], dtype=dtype)
        self.taps = nn.ModuleList(Taps(layer.conv, dtype=dtype) for layer in layers[1:])
        self.norms = nn.ModuleList(
            LayerNorm(layer.layer_norm, dtype=dtype) if family == "layer" else nn.Identity()
            for layer in layers[1:]
        )

    def forward(self, waveforms: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Compute the features; ``valid`` (B, W) marks the windows that statistics may use."""
        rows = self.layer0(windows_of(waveforms), valid).flatten(0, 1)
        for taps, norm in zip(self.taps, self.norms, strict=True):
            rows = F.gelu(norm(taps(rows)))
        return F.pad(rows, (0, 0, 0, 1))  # the last utterance's spare frame has no next row


def used_windows(windows: torch.Tensor) -> int:
    """Count the windows that frames read: 64 per frame; up to 15 more only count in statistics."""
    return windows.shape[1] // WINDOWS_PER_FRAME * WINDOWS_PER_FRAME
