"""The front end for a host: one utterance, some frames at a time.

What a block of frames computes stays in the cache. Every block but an utterance's last has one
shape, and oneDNN compiles a kernel for each shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.model.front_end import (
    HOP,
    WINDOW,
    WINDOWS_PER_FRAME,
    FrontEnd,
    GroupNormLayer0,
    LayerNormLayer0,
    quadratic_form,
)
from w2v_core.model.layers import Taps, product
from w2v_core.types import FRAME_STRIDE, RECEPTIVE_FIELD, num_frames

BLOCK_FRAMES = 256  # measured on base size in bfloat16; 128 is 3 % slower

Layer0 = Callable[[torch.Tensor], torch.Tensor]
"""Windows (W, 10) float32 -> (W, C) in the weights' dtype."""


class HostFrontEnd(nn.Module):
    """A ``FrontEnd``'s weights, over one utterance; what can be is computed in place."""

    def __init__(self, source: FrontEnd, *, prepack: bool) -> None:
        """Share the weights; ``prepack`` where oneDNN computes in their dtype."""
        super().__init__()
        self.layer0: _FoldedGroupNorm | _FoldedLayerNorm
        if isinstance(source.layer0, GroupNormLayer0):
            self.layer0 = _FoldedGroupNorm(source.layer0, prepack=prepack)
        elif isinstance(source.layer0, LayerNormLayer0):
            self.layer0 = _FoldedLayerNorm(source.layer0, prepack=prepack)
        self.taps = nn.ModuleList(_HostTaps(cast(Taps, taps)) for taps in source.taps)
        self.norms = source.norms

    def forward(
        self, waveform: torch.Tensor, *, num_samples: int, frames: int, step: int
    ) -> torch.Tensor:
        """Map one utterance (S,) float32 to its features (T, C).

        Args:
            waveform: Zero past ``num_samples``; S >= 320T + 80.
            num_samples: The utterance's own.
            frames: T, the utterance's own.
            step: The last block's frames are a multiple of it, as far as the waveform reaches.
        """
        waveform, layer0 = self.layer0(waveform, num_samples)
        features = []
        for first in range(0, frames, BLOCK_FRAMES):
            wanted = min(BLOCK_FRAMES, frames - first)
            count = min(-(-wanted // step) * step, num_frames(waveform.shape[0]) - first)
            end = FRAME_STRIDE * (first + count - 1) + RECEPTIVE_FIELD
            rows = layer0(waveform[FRAME_STRIDE * first : end].unfold(0, WINDOW, HOP))
            for taps, norm in zip(self.taps, self.norms, strict=True):
                rows = torch.ops.aten.gelu_(norm(taps(rows)))
            features.append(rows[:wanted])
        return torch.cat(features)


class _HostTaps(nn.Module):
    """``Taps`` that may write over their input; in float32 five products in place of six.

    Two outputs of the rows a, b, c, d, e share what the weights u, v, w make of c:
    ua + vb + wc = u(a - c) + vb + (u + w)c, and uc + vd + we = (u + w)c + vd + w(e - c). That is
    S. Winograd's F(2, 2) for a stride of 2; see A. Lavin and S. Gray, Fast Algorithms for
    Convolutional Neural Networks, 2016. In bfloat16 the differences would be rounded.
    """

    middle: torch.Tensor
    right: torch.Tensor

    def __init__(self, source: Taps) -> None:
        super().__init__()
        self.source = source
        self.is_paired = source.third is not None and source.pair.dtype == torch.float32
        if source.third is not None and self.is_paired:
            first, second = source.pair.t().split(source.channels)
            self.register_buffer("middle", (first + source.third).contiguous())
            self.register_buffer("right", torch.cat((source.third, second)))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map (N, C) to ((N - K) // 2 + 1, O), see ``Taps``; what ``rows`` held is lost."""
        if not self.is_paired or torch.is_autocast_enabled("cpu"):
            own: torch.Tensor = self.source(rows, in_place=True)
            return own
        count, width = (rows.shape[0] - 3) // 2 + 1, len(self.source.pair)
        pairs, channels = count // 2, self.source.channels
        result = rows.new_empty(count, width)
        if count % 2:
            result[-1:] = self.source(rows[4 * pairs :], in_place=True)
        even, odd = result[: 2 * pairs].view(pairs, 2, width).unbind(1)
        fours = rows[: 4 * pairs].view(pairs, 4 * channels)
        a, c, e = fours[:, :channels], fours[:, 2 * channels : 3 * channels], rows[4::4][:pairs]
        torch.mm(c, self.middle, out=even)
        if self.source.bias is not None:
            even += self.source.bias
        odd.copy_(even)
        behind = e - c  # before a, which is the e of the pair before
        a -= c
        c.copy_(behind)
        even.addmm_(fours[:, : 2 * channels], self.source.pair.t())
        odd.addmm_(fours[:, 2 * channels :], self.right)
        return result


class _FoldedGroupNorm(nn.Module):
    """Layer 0 of the group-norm family, see ``GroupNormLayer0``; statistics in float64."""

    def __init__(self, source: GroupNormLayer0, *, prepack: bool) -> None:
        super().__init__()
        self.source, self.prepack = source, prepack

    def forward(self, waveform: torch.Tensor, num_samples: int) -> tuple[torch.Tensor, Layer0]:
        """Return the waveform (S,) without its mean, and layer 0 for this utterance.

        The norm takes the mean off anyway, and bfloat16 should not round it.
        """
        own = waveform[:num_samples]
        centred = F.pad(own - own.mean(dtype=torch.float64), (0, len(waveform) - num_samples))
        source = self.source
        mean, covariance = _moments(centred[:num_samples])
        weight = source.weight.double()  # (C, 10)
        variance = quadratic_form(weight, covariance)
        weight = weight * (source.gain * torch.rsqrt(variance + source.eps))[:, None]
        bias = source.shift - weight @ mean
        return centred, _Activated(
            weight.to(source.dtype), bias.to(source.dtype), prepack=self.prepack
        )


class _FoldedLayerNorm(nn.Module):
    """Layer 0 of the layer-norm family.

    A window's channels are z = [w, 1] A', A = [weight, bias]; with the channels' mean taken off A
    their variance is the quadratic form [w, 1] A'A [w, 1]' / C. It cancels, hence float64. The
    deviation divides the window, so that the norm is part of the product.
    """

    form: torch.Tensor

    def __init__(self, source: LayerNormLayer0, *, prepack: bool) -> None:
        super().__init__()
        affine = torch.cat((source.weight, source.bias[:, None]), dim=1).double()  # (C, 11)
        affine = affine - affine.mean(dim=0)
        self.register_buffer("form", affine.t() @ affine / len(affine))
        gain = source.norm.weight.double()[:, None]
        self.eps = source.norm.eps
        self.layer0 = _Activated(
            (affine * gain).to(source.weight.dtype), source.norm.bias, prepack=prepack
        )

    def forward(self, waveform: torch.Tensor, num_samples: int) -> tuple[torch.Tensor, Layer0]:
        """Return the waveform (S,) as it is, and layer 0, which is the same for all."""
        del num_samples
        return waveform, self._normed

    def _normed(self, windows: torch.Tensor) -> torch.Tensor:
        rows = F.pad(windows.double(), (0, 1), value=1.0)
        scale = torch.rsqrt(quadratic_form(rows, self.form) + self.eps)
        activated: torch.Tensor = self.layer0(rows * scale[:, None])
        return activated


def _moments(waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the mean (10,) and covariance (10, 10) of a waveform's windows, float64.

    A window is two neighbouring hops of 5, so the hops' moments are enough.
    """
    count = (len(waveform) - WINDOW) // HOP + 1
    hops = waveform[: HOP * (count + 1)].view(-1, HOP).double()
    left, right = hops[:-1], hops[1:]
    across = left.t() @ right
    above = torch.cat((left.t() @ left, across), dim=1)
    below = torch.cat((across.t(), right.t() @ right), dim=1)
    mean = torch.cat((left.sum(dim=0), right.sum(dim=0))) / count
    return mean, torch.cat((above, below)) / count - torch.outer(mean, mean)


class _Activated(nn.Module):
    """Windows -> GELU(windows weight' + bias), computed in the weight's dtype."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, prepack: bool) -> None:
        super().__init__()
        self.dtype, self.prepack = weight.dtype, prepack
        if prepack:
            rows = WINDOWS_PER_FRAME * BLOCK_FRAMES
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        self.weight, self.bias = weight, bias

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (W, 10) float32 to (W, C) in the weights' dtype."""
        own = windows.to(self.dtype)
        found: torch.Tensor
        if self.prepack:
            ops = torch.ops.mkldnn
            found = ops._linear_pointwise(own, self.weight, self.bias, "gelu", [], "none")
        else:
            found = torch.ops.aten.gelu_(product(F.linear, own, self.weight, self.bias))
        return found
