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
    key_bias,
    statistics_mask,
)
from w2v_core.model.fourier import FourierPositions
from w2v_core.types import num_frames

__all__ = ["PackedForward"]

# The host's bfloat16 attention is a quarter faster on a multiple of 16 frames; float32 is not.
ALIGNMENT_FRAMES = {torch.bfloat16: 16}


class PackedForward(ExactForward):
    """The same weights and results as the exact forward; padding costs only its memory."""

    def __init__(self, module: Any, **options: Any) -> None:  # noqa: ANN401
        """Copy the weights of a Wav2Vec2ForCTC, see ``build_forward``."""
        super().__init__(module, **options)
        self.positions = FourierPositions(module.wav2vec2.encoder.pos_conv_embed.conv)
        self.alignment = ALIGNMENT_FRAMES.get(self.dtype, 1)

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
        aligned = [part.shape[0] for part in parts]
        biases = [
            self._bias(num_samples[row], count) for row, count in zip(rows, aligned, strict=True)
        ]

        def attend(joined: torch.Tensor) -> torch.Tensor:
            parts = [
                attention(part[None], num_heads=self.num_heads, bias=bias)[0]
                for part, bias in zip(joined.split(aligned), biases, strict=True)
            ]
            return torch.cat(parts)

        found = self.transform(torch.cat(parts), attend).split(aligned)
        for row, part in zip(rows, found, strict=True):
            logits[row, : frames[row]] = part[: frames[row]]
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
        """Add its positions to one utterance's frames (T, H) and align their number."""
        positions: torch.Tensor = self.positions(part)
        return F.pad(part + positions, (0, 0, 0, -part.shape[0] % self.alignment))

    def _bias(self, num_samples: torch.Tensor, aligned: int) -> torch.Tensor | None:
        """Mask the keys that only align one utterance; None where there are none."""
        if num_frames(int(num_samples)) == aligned:
            return None
        return key_bias(num_samples[None], aligned).to(self.dtype)
