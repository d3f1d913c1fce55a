"""The other side of every parity check: the plain Hugging Face forward, unpadded, one at a time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from w2v_core.types import Bucket, num_frames

CPU = torch.device("cpu")
FAMILIES = ("group", "layer")
LOW_MARGIN = 1e-3  # top-two distance under which float32 itself may pick either token
# float32 spacing grows with the value. Hugging Face's eager and sdpa attention differ by 2e-6 at
# logits of standard deviation 0.6 and by 1e-5 at 4.8.
TOLERANCE_PER_DEVIATION = 1e-5

_FAMILY_FIELDS: dict[str, dict[str, Any]] = {
    "group": {"feat_extract_norm": "group", "conv_bias": False, "do_stable_layer_norm": False},
    "layer": {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True},
}

Waveforms = Sequence[npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How logits differ from the reference over all frames of some utterances."""

    max_difference: float
    tolerance: float
    num_frames: int
    changed: int
    """Frames with another arg-max, though the reference's margin is not low."""
    low_margin: int
    """Frames whose reference margin is under ``LOW_MARGIN``; their arg-max is not judged."""


def small_config(family: str, **changes: Any) -> Wav2Vec2Config:
    """Return a configuration of a family, with everything small but kernels and strides."""
    fields: dict[str, Any] = {
        "vocab_size": 32,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "conv_dim": (32, 32, 32, 48, 48, 48, 48),
        "num_conv_pos_embeddings": 32,
        "num_conv_pos_embedding_groups": 4,
        "attn_implementation": "eager",
        **_FAMILY_FIELDS[family],
        **changes,
    }
    return Wav2Vec2Config(**fields)


@functools.cache
def small_model(family: str) -> Wav2Vec2ForCTC:
    """Build a small checkpoint with random weights; norms and biases are not at their defaults."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = Wav2Vec2ForCTC(small_config(family)).eval()
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "norm" in name:
                parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
        module.lm_head.weight.mul_(4.0)  # logits of standard deviation about 1, as a checkpoint has
    return module.requires_grad_(requires_grad=False)


def speech_like(rng: np.random.Generator, num_samples: int) -> npt.NDArray[np.float32]:
    """Return low-pass noise, normalised: like speech, it makes covariances cancel."""
    if not num_samples:
        return np.zeros(0, dtype=np.float32)
    noise = rng.standard_normal(num_samples)
    for _ in range(3):
        noise = np.convolve(noise, [0.5, 1.0, 0.5])[:num_samples]
    scaled = (noise - noise.mean()) / np.sqrt(noise.var() + 1e-7)
    return scaled.astype(np.float32)


def waves(*lengths: int, seed: int = 0) -> list[npt.NDArray[np.float32]]:
    """Return a waveform of each length, from one seeded generator."""
    rng = np.random.default_rng(seed)
    return [speech_like(rng, length) for length in lengths]


def stack(
    waveforms: Waveforms, *, extra_frames: int = 0, extra_rows: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad utterances into the smallest bucket that holds them, or a larger one.

    Returns:
        (B, S) float32 and (B,) int32.
    """
    lengths = [len(waveform) for waveform in waveforms] + [0] * extra_rows
    bucket = Bucket.holding(max(lengths), batch_size=len(lengths))
    padded = torch.zeros(len(lengths), bucket.num_samples + 320 * extra_frames)
    for row, waveform in enumerate(waveforms):
        padded[row, : len(waveform)] = torch.from_numpy(waveform)
    return padded, torch.tensor(lengths, dtype=torch.int32)


def reference_logits(module: Wav2Vec2ForCTC, waveform: npt.NDArray[np.float32]) -> torch.Tensor:
    """Return (T, V) of one unpadded utterance, without a mask."""
    with torch.inference_mode():
        logits: torch.Tensor = module(torch.from_numpy(waveform)[None]).logits[0]
    return logits


def compare(references: Sequence[torch.Tensor], logits: torch.Tensor) -> Comparison:
    """Compare each reference (T_i, V) with the first T_i frames of its row of (B, T, V)."""
    rows = [logits[row, : len(reference)] for row, reference in enumerate(references)]
    expected, found = torch.cat(list(references)), torch.cat(rows).float()
    top = expected.topk(2, dim=-1).values
    low = top[:, 0] - top[:, 1] < LOW_MARGIN
    changed = (expected.argmax(-1) != found.argmax(-1)) & ~low
    return Comparison(
        max_difference=float((expected - found).abs().max()),
        tolerance=TOLERANCE_PER_DEVIATION * max(1.0, float(expected.std())),
        num_frames=len(expected),
        changed=int(changed.sum()),
        low_margin=int(low.sum()),
    )


def references_of(module: Wav2Vec2ForCTC, waveforms: Waveforms) -> list[torch.Tensor]:
    """Return the reference of each utterance; (0, V) below one frame, which HF refuses."""
    vocab_size = module.config.vocab_size
    return [
        reference_logits(module, w) if num_frames(len(w)) else torch.zeros(0, vocab_size)
        for w in waveforms
    ]


def assert_equal_to_reference(
    forward: torch.nn.Module,
    module: Wav2Vec2ForCTC,
    waveforms: Waveforms,
    *,
    extra_frames: int = 0,
    extra_rows: int = 0,
) -> Comparison:
    """Check float32 parity of one batch: logits within tolerance, no arg-max changed."""
    padded, lengths = stack(waveforms, extra_frames=extra_frames, extra_rows=extra_rows)
    with torch.inference_mode():
        logits = forward(padded, lengths)
    found = compare(references_of(module, waveforms), logits)
    assert found.changed == 0
    assert found.max_difference <= found.tolerance
    return found
