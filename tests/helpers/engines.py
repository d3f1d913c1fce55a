"""Small engines on the host, and utterances for them."""

from __future__ import annotations

import numpy as np

from tests.helpers.checkpoints import TOKENS, make_module
from w2v_core.backends.cpu import CpuBackend
from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.data.audio import normalise
from w2v_core.engine.engine import Engine
from w2v_core.model.checkpoint import Checkpoint
from w2v_core.types import Utterance, Vocabulary

VOCABULARY = Vocabulary(tokens=TOKENS, blank_id=0, delimiter_id=4)


def make_checkpoint(*, family="group", seed=0):
    return Checkpoint(
        name="tiny",
        cell_name="tiny",
        location="",
        revision=None,
        sha256="0" * 64,
        do_normalize=True,
        attention_mask=family == "layer",
        vocabulary=VOCABULARY,
        module=make_module(family=family, seed=seed),
    )


def make_utterance(utterance_id, num_samples, *, seed=None, reference=None):
    seed = sum(utterance_id.encode()) + num_samples if seed is None else seed
    noise = np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32)
    return Utterance(
        utterance_id=utterance_id,
        waveform=normalise(noise) if num_samples else noise,
        reference=reference,
        normalised=True,
    )


def make_utterances(lengths):
    return [make_utterance(f"u{i}", n) for i, n in enumerate(lengths)]


def make_engine(*, backend=None, family="group", seed=0, **config):
    config.setdefault("plan", BatchPlan(kind="optimal", num_buckets=2, batch_size=2, at_most=True))
    return Engine(
        make_checkpoint(family=family, seed=seed), backend or CpuBackend(), EngineConfig(**config)
    )


def warm_engine(utterances, **config):
    engine = make_engine(**config)
    engine.warm_up([u.num_samples for u in utterances])
    return engine
