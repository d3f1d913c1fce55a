"""The exact forward without padding, for a host that reads lengths and takes any shape.

Matrix products run over the frames of all utterances joined; what must not cross utterances (the
convolutions, the attention) runs utterance by utterance, which costs a processor little and an
accelerator much. It reads the lengths on the host, so it cannot be captured.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from w2v_core.model.exact import (
    ExactForward,
    attention,
    bucket_frames,
    bucket_samples,
    statistics_mask,
)
from w2v_core.model.fourier import FourierPositions
from w2v_core.types import num_frames, stepped_frames

__all__ = ["PackedForward"]

# In bfloat16 the frames of an utterance are aligned: the host's attention is a quarter faster so.
# The rows of the matrix products are stepped: oneDNN compiles a kernel for each number of rows, and
# lengths not seen before ran at 0.7 of the speed. Neither gains anything in float32.
ALIGNMENT_FRAMES = 16


class PackedForward(ExactForward):
    """The same weights and results as the exact forward; padding costs only its memory."""

    def __init__(self, module: Any, **options: Any) -> None:  # noqa: ANN401
        """Copy the weights of a Wav2Vec2ForCTC, see ``build_forward``."""
        super().__init__(module, **options)
        self.positions = FourierPositions(module.wav2vec2.encoder.pos_conv_embed.conv)
        self.is_stepped = self.dtype == torch.bfloat16

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) float32 and (B,) int32 to logits (B, T, V) float32, zero past an utterance.

        Raises:
            BucketOverflowError: S is not 320T + 80.
        """
        padded_frames = bucket_frames(waveforms)
        frames = [num_frames(length) for length in num_samples.tolist()]
        logits = waveforms.new_zeros(len(frames), padded_frames, self.head.bias.shape[0])
        rows = [row for row, count in enumerate(frames) if count]
        if not rows:
            return logits
        features = [self._features(waveforms, num_samples, row, frames[row]) for row in rows]
        hidden = self.embed(torch.cat(features))
        parts = [self._positioned(part) for part in hidden.split([frames[row] for row in rows])]
        sizes = [part.shape[0] for part in parts]
        biases = [self._bias(frames[row], size) for row, size in zip(rows, sizes, strict=True)]
        spare = self._stepped(sum(sizes)) - sum(sizes)

        def attend(joined: torch.Tensor) -> torch.Tensor:
            *own, rest = joined.split([*sizes, spare])
            found = [
                attention(part[None], num_heads=self.num_heads, bias=bias)[0]
                for part, bias in zip(own, biases, strict=True)
            ]
            return torch.cat([*found, rest[:, : found[0].shape[1]]])

        found = self.transform(F.pad(torch.cat(parts), (0, 0, 0, spare)), attend)
        for row, part in zip(rows, found.split([*sizes, spare]), strict=False):
            logits[row, : frames[row]] = part[: frames[row]]
        return logits

    def _stepped(self, frames: int) -> int:
        return stepped_frames(frames) if self.is_stepped else frames

    def _features(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, row: int, frames: int
    ) -> torch.Tensor:
        """Run the front end on one utterance and drop its spare frame: (T, C)."""
        padded = min(bucket_samples(self._stepped(frames + 1)), waveforms.shape[1])
        valid = statistics_mask(num_samples[row : row + 1], padded)
        features: torch.Tensor = self.front_end(waveforms[row : row + 1, :padded], valid)
        return features[:frames]

    def _positioned(self, part: torch.Tensor) -> torch.Tensor:
        """Add its positions to one utterance's frames (T, H) and align their number."""
        positions: torch.Tensor = self.positions(part)
        alignment = ALIGNMENT_FRAMES if self.is_stepped else 1
        return F.pad(part + positions, (0, 0, 0, -part.shape[0] % alignment))

    def _bias(self, frames: int, aligned: int) -> torch.Tensor | None:
        """Mask the keys that only align one utterance; None where there are none."""
        if frames == aligned:
            return None
        outside = torch.arange(aligned) >= frames
        return torch.zeros(1, 1, 1, aligned, dtype=self.dtype).masked_fill(outside, float("-inf"))
