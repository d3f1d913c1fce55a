"""Checkpoints outside the two families are refused with the field that differs."""

from __future__ import annotations

import pytest
from transformers import Wav2Vec2ForCTC

from tests.parity.reference import CPU, small_config, small_model
from w2v_core.errors import CheckpointError
from w2v_core.model.forward import build_forward
from w2v_core.model.layers import check_family

OUTSIDE = [
    pytest.param("group", {"conv_kernel": (10, 3, 3, 3, 3, 2, 3)}, id="conv_kernel"),
    pytest.param("group", {"conv_stride": (5, 2, 2, 2, 2, 2, 1)}, id="conv_stride"),
    pytest.param("group", {"conv_bias": True}, id="conv_bias"),
    pytest.param("layer", {"conv_bias": False}, id="conv_bias-layer"),
    pytest.param("group", {"do_stable_layer_norm": True}, id="do_stable_layer_norm"),
    pytest.param("layer", {"do_stable_layer_norm": False}, id="do_stable_layer_norm-layer"),
    pytest.param("group", {"feat_extract_activation": "relu"}, id="feat_extract_activation"),
    pytest.param("group", {"hidden_act": "gelu_new"}, id="hidden_act"),
    pytest.param("layer", {"add_adapter": True}, id="add_adapter"),
    pytest.param("layer", {"adapter_attn_dim": 16}, id="adapter_attn_dim"),
    pytest.param("group", {"conv_pos_batch_norm": True}, id="conv_pos_batch_norm"),
    pytest.param("group", {"feat_extract_norm": "batch"}, id="feat_extract_norm"),
    pytest.param("group", {"model_type": "hubert"}, id="model_type"),
]


@pytest.mark.parametrize(("family", "changes"), OUTSIDE)
def test_a_config_outside_the_families_is_refused_by_field(family, changes):
    config = small_config(family)
    (field, value), *_ = changes.items()
    stored = list(value) if isinstance(value, tuple) else value
    object.__setattr__(config, field, value)

    with pytest.raises(CheckpointError) as caught:
        check_family(config)

    assert f"config.{field} is {stored!r}; supported" in str(caught.value)


@pytest.mark.parametrize("family", ["group", "layer"])
def test_both_families_are_accepted(family):
    assert check_family(small_config(family)) == family


def test_a_field_that_an_older_library_lacks_is_no_difference():
    config = small_config("group")
    del config.adapter_attn_dim

    assert check_family(config) == "group"


def test_the_exact_forward_refuses_what_stock_runs():
    module = Wav2Vec2ForCTC(small_config("group", hidden_act="relu")).eval()

    build_forward(module, name="stock", dtype="float32", device=CPU)
    with pytest.raises(CheckpointError, match="hidden_act is 'relu'"):
        build_forward(module, name="exact", dtype="float32", device=CPU)


def test_weight_norm_is_folded_into_the_positional_convolution():
    module = small_model("layer")
    forward = build_forward(module, name="exact", dtype="float32", device=CPU)

    expected = module.wav2vec2.encoder.pos_conv_embed.conv.weight

    assert (forward.positions.weight - expected).abs().max() == 0
    assert not any("parametrizations" in name for name, _ in forward.named_buffers())
