"""The exact forward's front end and positions, as an NVIDIA GPU computes them best.

Same weights and same results. On an H200 in bfloat16 the library's grouped convolution of the
positions took half of the step, 24 times what the products here take.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.model.encoder import Attend, Encoder, PositionalConvolution
from w2v_core.model.exact import ExactForward
from w2v_core.model.front_end import (
    WINDOW,
    FrontEnd,
    GroupNormLayer0,
    LayerNormLayer0,
    used_windows,
)
from w2v_core.model.layers import LayerNorm, Taps, no_autocast

AddNorm = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""``add_norm``, or what a compiler made of it."""

COLUMNS = 16  # a window's 10 samples, a 1 for the bias and zeros: aligned rows
BLOCK_FRAMES = 16  # of the positions' outputs; one product in nine is with zeros


def suit_gpu(exact: ExactForward) -> ExactForward:
    """Replace the parts of a forward that a GPU has a better way for; returns it."""
    front_end, positions = exact.front_end, exact.positions
    assert isinstance(front_end, FrontEnd)
    assert isinstance(positions, PositionalConvolution)
    exact.front_end, exact.positions = GpuFrontEnd(front_end), BlockedPositions(positions)
    norms = "norms torch"
    if exact.encoder.dtype == torch.bfloat16:
        fused, norms = compiled_add_norm()
        exact.encoder = GpuEncoder(exact.encoder, fused=fused)
    exact.kernels = f"products torch; attention torch; positions as products of blocks; {norms}"
    return exact


def add_norm(
    rows: torch.Tensor,
    update: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    eps: float,
    keep_sum: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add an update to the residual stream and normalise the sum.

    Returns:
        The sum where it is kept, else what is normalised, float32; and what is normalised in
        the update's dtype.
    """
    total = rows + update
    normed = F.layer_norm(total, weight.shape, weight, bias, eps)
    return (total if keep_sum else normed), normed.to(update.dtype)


@functools.cache
def compiled_add_norm() -> tuple[AddNorm, str]:
    """Compile ``add_norm`` for a GPU and say so; as it is, and why, where nothing compiles here."""
    try:
        rows, weight = torch.ones(16, 32, device="cuda"), torch.ones(32, device="cuda")
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # what compilers say of their own parts
            fused: Any = torch.compile(add_norm)
            _any_rows(rows)
            fused(rows, rows.bfloat16(), weight, weight, eps=1e-5, keep_sum=True)
    except Exception as error:  # noqa: BLE001 - whatever a compiler lacks, the library's own do
        return add_norm, f"norms torch ({type(error).__name__} in torch.compile)"
    return cast("AddNorm", fused), "norms compiled"


class GpuEncoder(Encoder):
    """An ``Encoder`` that shares another's weights; sums, norms and casts are one pass."""

    def __init__(self, source: Encoder, *, fused: AddNorm) -> None:
        nn.Module.__init__(self)
        self.num_heads, self.stable, self.dtype = source.num_heads, source.stable, source.dtype
        self.feature_norm, self.projection = source.feature_norm, source.projection
        self.norm, self.layers, self.head = source.norm, source.layers, source.head
        self._fused = fused

    def forward(self, rows: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Map embedded rows (N, H), positions added, to logits (N, V) float32."""
        layers: list[Any] = list(self.layers)
        if self.stable:
            rows, norms = rows.float(), [layer.norm for layer in layers[1:]] + [self.norm]
            entering = layers[0].norm(rows).to(self.dtype)
        else:
            rows, norms = self.norm(rows.float()), [layer.final_norm for layer in layers]
            entering = rows.to(self.dtype)
        for layer, behind in zip(layers, norms, strict=True):
            between = layer.final_norm if self.stable else layer.norm
            rows, entering = self._add(rows, layer.out(attend(layer.joined(entering))), between)
            rows, entering = self._add(rows, layer.narrow(layer.widen(entering)), behind)
        with no_autocast(rows.device.type):  # the head's input is not rounded
            logits: torch.Tensor = self.head(self.norm(rows) if self.stable else rows)
        return logits

    def _add(
        self, rows: torch.Tensor, update: torch.Tensor, norm: LayerNorm
    ) -> tuple[torch.Tensor, torch.Tensor]:
        _any_rows(rows)
        _any_rows(update)
        return self._fused(rows, update, norm.weight, norm.bias, eps=norm.eps, keep_sum=self.stable)


class GpuFrontEnd(FrontEnd):
    """A ``FrontEnd`` that shares another's weights."""

    def __init__(self, source: FrontEnd) -> None:
        nn.Module.__init__(self)
        self.layer0 = _wide(source.layer0)
        self.taps = nn.ModuleList(_convolved(taps) for taps in source.taps)
        self.norms = source.norms


class WideGroupNorm(nn.Module):
    """Layer 0 of the group-norm family; the shift is one more row of the weight."""

    def __init__(self, source: GroupNormLayer0) -> None:
        super().__init__()
        self.source = source

    def forward(self, windows: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Map windows (B, W, 10) float32 and their mask (B, W) to (B, 64T, C)."""
        used, weight = self.source.folded(windows, valid)
        shift = self.source.shift.to(weight.dtype).expand(len(weight), 1, -1)
        behind = weight.new_zeros(len(weight), COLUMNS - WINDOW - 1, weight.shape[2])
        return F.gelu(torch.bmm(widened(used), torch.cat((weight, shift, behind), dim=1)))


class WideLayerNorm(nn.Module):
    """Layer 0 of the layer-norm family; the bias is one more column of the weight."""

    weight: torch.Tensor

    def __init__(self, source: LayerNormLayer0) -> None:
        super().__init__()
        affine = torch.cat((source.weight, source.bias[:, None]), dim=1)
        self.register_buffer("weight", F.pad(affine, (0, COLUMNS - affine.shape[1])))
        self.norm = source.norm

    def forward(self, windows: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Map windows (B, W, 10) float32 to (B, 64T, C); ``valid`` has no part in it."""
        del valid
        used = windows[:, : used_windows(windows)].to(self.weight.dtype)
        return F.gelu(self.norm(F.linear(widened(used), self.weight)))


class ConvolvedTaps(nn.Module):
    """``Taps`` as one convolution over channels-last rows: a third tap costs no second pass.

    For bfloat16: in float32 the library's convolutions are no faster, and may be TF32.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, source: Taps) -> None:
        super().__init__()
        taps = list(source.pair.unflatten(1, (2, source.channels)).unbind(1))
        taps += [] if source.third is None else [source.third.t()]
        weight = torch.stack(taps, dim=2)[:, :, None, :]  # (O, C, 1, K)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", source.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map (N, C) to ((N - K) // 2 + 1, O), as ``Taps`` does."""
        image = rows[None, None].permute(0, 3, 1, 2)  # (1, C, 1, N), channels last as it lies
        found = F.conv2d(image, self.weight, self.bias, stride=(1, 2))
        return found.permute(0, 2, 3, 1).flatten(0, 2)


class BlockedPositions(nn.Module):
    """The grouped convolution as one product for blocks of frames, with a banded weight.

    A block of L outputs reads S blocks of inputs, L * S >= L + K - 1. Joined, S * L * c inputs of
    each group make L * c outputs, c channels a group.
    """

    banded: torch.Tensor
    bias: torch.Tensor

    def __init__(self, source: PositionalConvolution) -> None:
        super().__init__()
        weight, self.groups = source.weight, source.groups  # (G c, c, K)
        self.before = weight.shape[2] // 2
        self.reach = -(-(BLOCK_FRAMES + weight.shape[2] - 1) // BLOCK_FRAMES)  # S
        self.register_buffer("banded", _banded(weight, groups=self.groups, blocks=self.reach))
        self.register_buffer("bias", source.bias)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map (B, T, H), zero outside the utterances, to (B, T, H)."""
        rows, count, width = frames.shape
        blocks = -(-count // BLOCK_FRAMES)
        behind = (blocks + self.reach - 1) * BLOCK_FRAMES - count - self.before
        padded = F.pad(frames, (0, 0, self.before, behind))
        split = padded.view(rows, -1, BLOCK_FRAMES, self.groups, width // self.groups)
        grouped = split.permute(3, 0, 1, 2, 4).flatten(3)  # (G, B, blocks + S - 1, L c)
        joined = grouped.unfold(2, self.reach, 1).transpose(3, 4).flatten(3).flatten(1, 2)
        found = torch.bmm(joined, self.banded)  # (G, B blocks, L c)
        apart = found.view(self.groups, rows, blocks, BLOCK_FRAMES, -1).permute(1, 2, 3, 0, 4)
        return F.gelu(apart.reshape(rows, -1, width)[:, :count] + self.bias)


def _any_rows(rows: torch.Tensor) -> None:
    """Let one compilation serve all numbers of rows."""
    torch._dynamo.maybe_mark_dynamic(rows, 0)


def widened(windows: torch.Tensor) -> torch.Tensor:
    """Put a 1 and zeros behind each window: (B, W, 10) -> (B, W, 16)."""
    wide = F.pad(windows, (0, COLUMNS - WINDOW))
    wide[..., WINDOW] = 1.0
    return wide


def _wide(source: nn.Module) -> nn.Module:
    if isinstance(source, GroupNormLayer0):
        return WideGroupNorm(source)
    assert isinstance(source, LayerNormLayer0)  # there are two families
    return WideLayerNorm(source)


def _convolved(source: nn.Module) -> nn.Module:
    assert isinstance(source, Taps)
    return ConvolvedTaps(source) if source.pair.dtype == torch.bfloat16 else source


def _banded(weight: torch.Tensor, *, groups: int, blocks: int) -> torch.Tensor:
    """Return the banded weight (G, S L c, L c) of a grouped convolution (G c, c, K)."""
    outputs, inputs, kernel = weight.shape
    reach = blocks * BLOCK_FRAMES
    padded = F.pad(weight, (BLOCK_FRAMES - 1, reach - kernel))
    shifted = [  # output l of a block reads input j of its S blocks with tap j - l
        padded[:, :, BLOCK_FRAMES - 1 - late : BLOCK_FRAMES - 1 - late + reach]
        for late in range(BLOCK_FRAMES)
    ]
    stacked = torch.stack(shifted)  # (L, G c, c, S L): l, o, i, j
    split = stacked.unflatten(1, (groups, outputs // groups))
    banded: torch.Tensor = split.permute(1, 4, 3, 0, 2).reshape(groups, reach * inputs, -1)
    return banded.contiguous()
