"""The exact forward without padding, for a host that reads lengths and takes any shape.

Matrix products run over the frames of all utterances joined; what must not cross utterances (the
convolutions, the attention) runs utterance by utterance, which costs a processor little and an
accelerator much. It reads the lengths on the host, so it cannot be captured.
"""

from __future__ import annotations

import torch

from w2v_core.model.exact import (
    ExactForward,
    attention,
    bucket_frames,
    bucket_samples,
    statistics_mask,
)
from w2v_core.types import num_frames

__all__ = ["PackedForward"]


class PackedForward(ExactForward):
    """The same weights and results as the exact forward; padding costs only its memory."""

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
        counts = [frames[row] for row in rows]
        features = [self._features(waveforms, num_samples, row, frames[row]) for row in rows]
        hidden = self.embed(torch.cat(features))
        hidden = torch.cat([self._positioned(part) for part in hidden.split(counts)])

        def attend(joined: torch.Tensor) -> torch.Tensor:
            parts = [
                attention(part[None], num_heads=self.num_heads, bias=None)[0]
                for part in joined.split(counts)
            ]
            return torch.cat(parts)

        for row, part in zip(rows, self.transform(hidden, attend).split(counts), strict=True):
            logits[row, : part.shape[0]] = part
        return logits

    def _features(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, row: int, frames: int
    ) -> torch.Tensor:
        """Run the front end on one utterance and drop its spare frame: (T, C)."""
        padded = bucket_samples(frames + 1)
        valid = statistics_mask(num_samples[row : row + 1], padded)
        features: torch.Tensor = self.front_end(waveforms[row : row + 1, :padded], valid)
        return features[:frames]

    def _positioned(self, part: torch.Tensor) -> torch.Tensor:
        """Add its positions to one utterance's frames (T, H)."""
        positions: torch.Tensor = self.positions(part[None])[0]
        return part + positions
