"""The exact forward without padding, for a host that reads lengths and takes any shape.

Matrix products run over the frames of all utterances joined; what must not cross utterances (the
convolutions, the attention) runs utterance by utterance, which costs a processor little and an
accelerator much. It reads the lengths on the host, so it cannot be captured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from w2v_core.model.encoder import Encoder, attention
from w2v_core.model.exact import bucket_frames
from w2v_core.model.fourier import FourierPositions
from w2v_core.model.front_end import FrontEnd
from w2v_core.model.host import BLOCK_FRAMES, HostFrontEnd
from w2v_core.model.layers import check_family, products
from w2v_core.types import num_frames, stepped_frames

# In bfloat16 the frames of an utterance are aligned: the host's attention is a quarter faster so.
# The rows of the matrix products are stepped: oneDNN compiles a kernel for each number of rows, and
# lengths not seen before ran at 0.7 of the speed. Neither gains anything in float32.
ALIGNMENT_FRAMES = 16

# Rows joined at a time: with fewer, reading the weights costs more; with more, the activations do.
GROUP_FRAMES = 1024


class PackedForward(nn.Module):
    """The same weights and results as the exact forward; padding costs only its memory."""

    def __init__(self, module: Any, *, dtype: torch.dtype, prepack: bool) -> None:  # noqa: ANN401
        """Copy the weights of a Wav2Vec2ForCTC, see ``build_forward``."""
        super().__init__()
        self.kernels = (
            f"{products(dtype, prepack=prepack)}; attention torch, an utterance at a time; "
            f"positions by Fourier transform; front end in blocks of {BLOCK_FRAMES} frames"
            f"{', outputs in pairs' if dtype == torch.float32 else ''}"
        )
        source = FrontEnd(
            module.wav2vec2.feature_extractor.conv_layers,
            family=check_family(module.config),
            dtype=dtype,
            float64_statistics=True,
        )
        self.front_end = HostFrontEnd(source, prepack=prepack)
        self.positions = FourierPositions(module.wav2vec2.encoder.pos_conv_embed.conv)
        self.encoder = Encoder(module, dtype=dtype, prepack=prepack)
        self.dtype = dtype
        self.is_stepped = dtype == torch.bfloat16
        self.alignment = ALIGNMENT_FRAMES if self.is_stepped else 1

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) float32 and (B,) int32 to logits (B, T, V) float32, zero past an utterance.

        Raises:
            BucketOverflowError: S is not 320T + 80.
        """
        padded_frames = bucket_frames(waveforms)
        lengths = num_samples.tolist()
        frames = [num_frames(length) for length in lengths]
        logits = waveforms.new_zeros(len(frames), padded_frames, self.encoder.head.bias.shape[0])
        for group in _groups(frames):
            utterances = [(waveforms[row], lengths[row]) for row in group]
            for row, found in zip(group, self._joined(utterances), strict=True):
                logits[row, : frames[row]] = found[: frames[row]]
        return logits

    def _joined(self, utterances: Sequence[tuple[torch.Tensor, int]]) -> list[torch.Tensor]:
        """Map waveforms (S,) and their own samples to logits (T', V), T' aligned."""
        frames = [num_frames(length) for _, length in utterances]
        features = [
            self.front_end(waveform, num_samples=length, frames=count, step=self.alignment)
            for (waveform, length), count in zip(utterances, frames, strict=True)
        ]
        hidden = self.encoder.embed(self._joined_rows(features))[: sum(frames)].split(frames)
        positions = self.positions(hidden)
        parts = [self._aligned(part + own) for part, own in zip(hidden, positions, strict=True)]
        sizes = [len(part) for part in parts]
        biases = [self._bias(*pair) for pair in zip(frames, sizes, strict=True)]

        def attend(joined: torch.Tensor) -> torch.Tensor:
            *own, rest = joined.split([*sizes, len(joined) - sum(sizes)])
            found = [
                attention(part[None], num_heads=self.encoder.num_heads, bias=bias)[0]
                for part, bias in zip(own, biases, strict=True)
            ]
            return torch.cat([*found, rest[:, : found[0].shape[1]]])

        logits = self.encoder(self._joined_rows(parts), attend)
        return list(logits[: sum(sizes)].split(sizes))

    def _joined_rows(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Join (T, C) of all utterances; the number of rows is stepped, with zeros behind."""
        count = sum(len(part) for part in parts)
        spare = stepped_frames(count) - count if self.is_stepped else 0
        return torch.cat([*parts, parts[0].new_zeros(spare, parts[0].shape[1])])

    def _aligned(self, part: torch.Tensor) -> torch.Tensor:
        return F.pad(part, (0, 0, 0, -len(part) % self.alignment))

    def _bias(self, frames: int, aligned: int) -> torch.Tensor | None:
        """Mask the keys that only align one utterance; None where there are none."""
        if frames == aligned:
            return None
        outside = torch.arange(aligned) >= frames
        return torch.zeros(1, 1, 1, aligned, dtype=self.dtype).masked_fill(outside, float("-inf"))


def _groups(frames: Sequence[int]) -> Iterator[list[int]]:
    """Group neighbouring rows of a batch up to ``GROUP_FRAMES``; rows without frames are left out.

    A row that is longer is a group of its own.
    """
    group: list[int] = []
    total = 0
    for row, count in enumerate(frames):
        if group and total + count > GROUP_FRAMES:
            yield group
            group, total = [], 0
        if count:
            group.append(row)
            total += count
    if group:
        yield group
