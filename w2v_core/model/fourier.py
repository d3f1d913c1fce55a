"""The positional convolution by Fourier transform, for a host.

A kernel of 128 frames costs far less in the frequency domain, in float32 too. The frames are cut
into overlapping blocks and each block's wrapped-around outputs are dropped (overlap-save; A. V.
Oppenheim and R. W. Schafer, Discrete-Time Signal Processing, section 8.7).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["FourierPositions"]

BLOCK_FRAMES = 256  # at least; measured on base size: 320 is faster only from 1,000 frames on


class FourierPositions(nn.Module):
    """The grouped convolution over the frames of one utterance, computed in float32."""

    spectrum: torch.Tensor
    bias: torch.Tensor

    def __init__(self, source: nn.Conv1d) -> None:
        super().__init__()
        weight = source.weight.detach().float()  # (O, I, K); reading it computes the weight norm
        self.groups, self.kernel = source.groups, weight.shape[2]
        self.block = max(BLOCK_FRAMES, 2 * self.kernel)
        padded = F.pad(weight, (0, self.block - self.kernel))
        spectrum = torch.fft.rfft(padded).conj()  # a correlation, not a convolution
        grouped = spectrum.view(self.groups, -1, *spectrum.shape[1:])  # (G, O/G, I, W)
        self.register_buffer("spectrum", grouped.permute(3, 0, 2, 1).resolve_conj().contiguous())
        assert source.bias is not None  # Wav2Vec2 always has one
        self.register_buffer("bias", source.bias.detach().float().clone())

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map (T, H) to (T, H) in its dtype; frames outside count as zero."""
        count, hidden = frames.shape
        step = self.block - self.kernel + 1  # outputs of a block that did not wrap around
        num_blocks = -(-count // step)
        before = self.kernel // 2
        behind = num_blocks * step + self.kernel - 1 - before - count
        blocks = F.pad(frames.float().t(), (before, behind)).unfold(1, self.block, step)
        by_block = torch.fft.rfft(blocks).view(self.groups, -1, *self._waves(num_blocks))
        products = by_block.permute(3, 0, 2, 1) @ self.spectrum  # (W, G, blocks, O/G)
        mixed = products.permute(1, 3, 2, 0).reshape(hidden, *self._waves(num_blocks))
        outputs = torch.fft.irfft(mixed, n=self.block)[..., :step]
        positions = outputs.reshape(hidden, -1)[:, :count].t() + self.bias
        return F.gelu(positions).to(frames.dtype)

    def _waves(self, num_blocks: int) -> tuple[int, int]:
        return num_blocks, self.block // 2 + 1
