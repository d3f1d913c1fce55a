"""The positional convolution by Fourier transform, for a host.

A kernel of 128 frames costs far less in the frequency domain, in float32 too. The frames are cut
into overlapping blocks and each block's wrapped-around outputs are dropped (overlap-save; A. V.
Oppenheim and R. W. Schafer, Discrete-Time Signal Processing, section 8.7).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.model.layers import folded

BLOCK_FRAMES = 256  # at least; measured on base size: 320 is faster only from 1,000 frames on


class FourierPositions(nn.Module):
    """The grouped convolution over the frames of utterances, computed in float32."""

    spectrum: torch.Tensor
    bias: torch.Tensor

    def __init__(self, source: nn.Conv1d) -> None:
        super().__init__()
        weight = folded(source).float()  # (O, I, K)
        self.groups, self.kernel = source.groups, weight.shape[2]
        self.block = max(BLOCK_FRAMES, 2 * self.kernel)
        padded = F.pad(weight, (0, self.block - self.kernel))
        spectrum = torch.fft.rfft(padded).conj()  # a correlation, not a convolution
        grouped = spectrum.view(self.groups, -1, *spectrum.shape[1:])  # (G, O/G, I, W)
        self.register_buffer("spectrum", grouped.permute(3, 0, 2, 1).resolve_conj().contiguous())
        assert source.bias is not None  # Wav2Vec2 always has one
        self.register_buffer("bias", source.bias.detach().float().clone())

    def forward(self, utterances: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Map each (T, H) to (T, H) in its dtype; frames outside an utterance count as zero.

        All utterances' blocks share one product: reading the spectrum is most of its time.
        """
        blocks = [self._blocks(frames) for frames in utterances]
        counts = [found.shape[1] for found in blocks]
        outputs = self._convolved(torch.cat(blocks, dim=1)).split(counts, dim=1)
        return [
            self._activated(found, len(frames)).to(frames.dtype)
            for found, frames in zip(outputs, utterances, strict=True)
        ]

    def _blocks(self, frames: torch.Tensor) -> torch.Tensor:
        """Cut (T, H) into overlapping blocks (H, N, W), float32."""
        step = self._step
        num_blocks = -(-len(frames) // step)
        before = self.kernel // 2
        behind = num_blocks * step + self.kernel - 1 - before - len(frames)
        return F.pad(frames.float().t(), (before, behind)).unfold(1, self.block, step)

    def _convolved(self, blocks: torch.Tensor) -> torch.Tensor:
        """Map blocks (H, N, W) to their outputs that did not wrap around, (H, N, step)."""
        hidden, num_blocks, _ = blocks.shape
        waves = self.block // 2 + 1
        by_block = torch.fft.rfft(blocks).view(self.groups, -1, num_blocks, waves)
        products = by_block.permute(3, 0, 2, 1) @ self.spectrum  # (W, G, N, O/G)
        mixed = products.permute(1, 3, 2, 0).reshape(hidden, num_blocks, waves)
        outputs: torch.Tensor = torch.fft.irfft(mixed, n=self.block)
        return outputs[..., : self._step]

    def _activated(self, outputs: torch.Tensor, count: int) -> torch.Tensor:
        """Join the outputs (H, N, step) to positions (T, H)."""
        return F.gelu(outputs.reshape(len(outputs), -1)[:, :count].t() + self.bias)

    @property
    def _step(self) -> int:
        """Outputs of a block that did not wrap around."""
        return self.block - self.kernel + 1
