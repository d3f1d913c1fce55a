"""The figures that the table divides by; these run in every plain ``pytest``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils.parametrize import remove_parametrizations
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from tests.benchmarks.variants import BASELINE, REFERENCE, VARIANTS
from tests.benchmarks.workload import corpus_lengths, forward_flops


@pytest.mark.parametrize("num_samples", [400, 16_000, 50_123])
def test_flops_are_those_that_torch_counts(num_samples):
    config = Wav2Vec2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(32, 32, 32, 48, 48, 48, 48),
        num_conv_pos_embeddings=33,  # odd: torch also counts the output that an even one drops
        num_conv_pos_embedding_groups=4,
        attn_implementation="eager",
    )
    module = Wav2Vec2ForCTC(config).eval()
    # The counter's hooks do not get along with a parametrised weight.
    remove_parametrizations(module.wav2vec2.encoder.pos_conv_embed.conv, "weight")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(torch.zeros(1, num_samples))

    assert forward_flops(config, [num_samples]) == counter.get_total_flops()


def test_the_lengths_have_the_mean_of_test_clean():
    """118,794 samples; 21 quantiles joined by lines come close."""
    assert np.mean(corpus_lengths()) == pytest.approx(118_794, rel=0.05)


def test_variants_have_distinct_names_and_their_two_anchors():
    names = [variant.name for variant in VARIANTS]

    assert len(set(names)) == len(names)
    assert {BASELINE, REFERENCE} <= set(names)
