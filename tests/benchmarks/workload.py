"""What every variant transcribes: noise of LibriSpeech's lengths; a model of base or large size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from tests.canary.architecture import SYMBOLS
from w2v_core.model.checkpoint import Checkpoint
from w2v_core.types import Utterance, Vocabulary, num_frames

# Samples at every 5 % of LibriSpeech test-clean's 2,620 utterances, shortest to longest.
QUANTILES = (
    *(20_560, 37_036, 43_040, 48_000, 52_880, 58_860, 64_640, 71_840, 78_016, 84_524, 92_640),
    *(101_716, 112_192, 123_440, 136_424, 153_620, 174_624, 199_636, 232_991, 285_472, 559_280),
)

SIZES: dict[str, dict[str, Any]] = {
    "base": {},  # Wav2Vec2Config's own
    "large": {  # large-960h-lv60-self
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "conv_bias": True,
        "do_stable_layer_norm": True,
    },
}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A checkpoint and utterances in host memory, in arrival order and not normalised."""

    module: Any
    """Wav2Vec2ForCTC with random weights, float32: its transcripts mean nothing, its
    arg-max margins are far smaller than a trained model's."""
    vocabulary: Vocabulary
    utterances: tuple[Utterance, ...]

    @property
    def audio_s(self) -> float:
        return sum(utterance.audio_s for utterance in self.utterances)

    @property
    def lengths(self) -> list[int]:
        """Samples of each utterance."""
        return [utterance.num_samples for utterance in self.utterances]


def corpus_lengths() -> list[int]:
    """Return the lengths that shapes are planned for: all of test-clean, not the few measured.

    Edges that fit a handful of utterances would hide what padding costs.
    """
    return quantile_lengths(np.linspace(0, 1, 2_620)).tolist()


def quantile_lengths(at: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the lengths at quantiles 0 to 1, in samples."""
    return np.interp(at, np.linspace(0, 1, len(QUANTILES)), QUANTILES).astype(np.int64)


def make_workload(num_utterances: int, *, size: str = "base") -> Workload:
    """Build the checkpoint, ``base`` or ``large``, and the utterances; deterministic."""
    utterances = make_utterances(num_utterances)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Wav2Vec2ForCTC(Wav2Vec2Config(attn_implementation="sdpa", **SIZES[size])).eval()
    vocabulary = Vocabulary(tokens=tuple(SYMBOLS), blank_id=0, delimiter_id=4)
    return Workload(
        module=module.requires_grad_(requires_grad=False),
        vocabulary=vocabulary,
        utterances=utterances,
    )


def make_utterances(num_utterances: int) -> tuple[Utterance, ...]:
    """Make noise with lengths at evenly spaced quantiles, shuffled; deterministic."""
    rng = np.random.default_rng(0)
    lengths = quantile_lengths((np.arange(num_utterances) + 0.5) / num_utterances)
    rng.shuffle(lengths)
    return tuple(
        Utterance(utterance_id=f"u{index}", waveform=_noise(rng, int(length)))
        for index, length in enumerate(lengths)
    )


def checkpoint_of(workload: Workload) -> Checkpoint:
    """Wrap the workload's module, as if it had been loaded."""
    return Checkpoint(
        name="benchmark",
        cell_name="benchmark",
        location="",
        revision=None,
        sha256="",
        do_normalize=True,
        attention_mask=False,
        vocabulary=workload.vocabulary,
        module=workload.module,
    )


def forward_flops(config: Any, lengths: list[int]) -> float:
    """Count the model's own floating-point operations for unpadded utterances.

    A multiply-add is two. Matrix products and convolutions only: what is elementwise is below 1 %.
    """
    return float(sum(_utterance_flops(config, length) for length in lengths))


def _utterance_flops(config: Any, num_samples: int) -> int:
    total, length, channels_in = 0, num_samples, 1
    layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    for channels, kernel, stride in layers:
        length = (length - kernel) // stride + 1
        total += 2 * length * channels * channels_in * kernel
        channels_in = channels
    frames, hidden = num_frames(num_samples), config.hidden_size
    groups, positions = config.num_conv_pos_embedding_groups, config.num_conv_pos_embeddings
    total += 2 * frames * channels_in * hidden
    total += 2 * frames * hidden * (hidden // groups) * positions
    projections = 2 * frames * hidden * (4 * hidden + 2 * config.intermediate_size)
    scores = 4 * frames * frames * hidden
    total += config.num_hidden_layers * (projections + scores)
    return total + 2 * frames * hidden * config.vocab_size


def _noise(rng: np.random.Generator, num_samples: int) -> npt.NDArray[np.float32]:
    return (0.05 * rng.standard_normal(num_samples)).astype(np.float32)
