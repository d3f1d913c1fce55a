"""An engine whose forward costs next to nothing, over the lengths of canary-speech.

What is looked at is the machinery around the forward: many batches, real lengths, little compute.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.engines import make_checkpoint
from w2v_core.backends.base import Backend
from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.engine import engine as engine_module
from w2v_core.engine.engine import Engine
from w2v_core.types import FRAME_STRIDE, Utterance, num_frames

__all__ = ["canary_utterances", "cheap_engine", "repeated"]


class LoudnessForward(torch.nn.Module):
    """Logits from each frame's mean absolute value: as cheap as a forward can be, and exact."""

    centres: torch.Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.0, 2.0, vocab_size))

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) and (B,) to logits (B, T, V)."""
        frames = num_frames(waveforms.shape[1])
        cut = waveforms[:, : frames * FRAME_STRIDE].view(-1, frames, FRAME_STRIDE)
        loudness = cut.abs().amax(dim=-1, keepdim=True)
        return -(loudness - self.centres).abs()


@lru_cache(maxsize=1)
def canary_utterances() -> tuple[Utterance, ...]:
    """The 73 utterances of canary-speech."""
    corpus = load(parse_dataset("canary-speech"))
    return corpus.utterances


def repeated(utterances: tuple[Utterance, ...], times: int) -> list[Utterance]:
    """The set, ``times`` over, with ids of its own each time."""
    return [
        replace(u, utterance_id=f"{u.utterance_id}#{time}")
        for time in range(times)
        for u in utterances
    ]


def cheap_engine(backend: Backend, monkeypatch: pytest.MonkeyPatch, **config: Any) -> Engine:
    """A warm engine over canary-speech, cut to a tenth of its length to save memory traffic."""

    def build(_module: Any, **kwargs: Any) -> torch.nn.Module:
        return LoudnessForward(32).to(kwargs["device"])

    monkeypatch.setattr(engine_module, "build_forward", build)
    settings = {"plan": BatchPlan(kind="optimal", num_buckets=4, batch_size=8), **config}
    engine = Engine(make_checkpoint(), backend, EngineConfig(**settings))
    engine.warm_up([u.num_samples for u in short_utterances()])
    return engine


@lru_cache(maxsize=1)
def short_utterances() -> tuple[Utterance, ...]:
    """The first tenth of each utterance: the spread of lengths stays."""
    return tuple(
        replace(u, waveform=np.ascontiguousarray(u.waveform[: u.num_samples // 10]))
        for u in canary_utterances()
    )
