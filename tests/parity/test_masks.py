"""Each of the three masks is needed: with one dropped, parity breaks. Also: what stock costs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.parity.reference import CPU, compare, references_of, small_model, speech_like, stack
from w2v_core.model import exact as exact_module
from w2v_core.model.forward import StockForward, build_forward

LENGTHS = (16_000, 9_000, 400)


def differences(family: str, *, name: str = "exact", attention_mask: bool = False):
    """Return the comparison of a padded batch of three utterances."""
    rng = np.random.default_rng(3)
    waveforms = [speech_like(rng, length) for length in LENGTHS]
    padded, lengths = stack(waveforms, extra_frames=20)
    module = small_model(family)
    forward = build_forward(
        module, name=name, dtype="float32", device=CPU, attention_mask=attention_mask
    )
    with torch.inference_mode():
        logits = forward(padded, lengths)
    return compare(references_of(module, waveforms), logits)


def statistics_over_padding(num_samples, bucket_samples):
    return torch.ones(num_samples.shape[0], bucket_samples // 5 - 1, dtype=torch.bool)


def nothing_zeroed(hidden, num_samples):
    return hidden


def every_key(num_samples, frames):
    return torch.zeros(num_samples.shape[0], 1, 1, frames)


MASKS = [
    pytest.param("group", "statistics_mask", statistics_over_padding, id="group-statistics"),
    pytest.param("group", "zero_outside", nothing_zeroed, id="group-positions"),
    pytest.param("group", "key_bias", every_key, id="group-keys"),
    pytest.param("layer", "zero_outside", nothing_zeroed, id="layer-positions"),
    pytest.param("layer", "key_bias", every_key, id="layer-keys"),
]


@pytest.mark.parametrize(("family", "mask", "replacement"), MASKS)
def test_dropping_a_mask_breaks_parity(monkeypatch, family, mask, replacement):
    monkeypatch.setattr(exact_module, mask, replacement)

    found = differences(family)

    assert found.max_difference > 100 * found.tolerance


@pytest.mark.parametrize("family", ["group", "layer"])
def test_all_masks_give_parity(family):
    found = differences(family)

    assert found.max_difference <= found.tolerance


@pytest.mark.parametrize(
    ("family", "attention_mask"),
    [pytest.param("group", False, id="group"), pytest.param("layer", False, id="layer-no-mask")],
)
def test_stock_leaks_padding(family, attention_mask):
    found = differences(family, name="stock", attention_mask=attention_mask)

    assert found.max_difference > 100 * found.tolerance


def test_stock_with_its_attention_mask_is_exact_for_layer_norm():
    found = differences("layer", name="stock", attention_mask=True)

    assert found.max_difference <= found.tolerance


@pytest.mark.parametrize("attention_mask", [False, True])
def test_stock_gives_finite_padding_rows_and_static_frames(attention_mask):
    module = small_model("layer")
    forward = build_forward(
        module, name="stock", dtype="bfloat16", device=CPU, attention_mask=attention_mask
    )
    padded, lengths = stack([np.ones(5_000, np.float32)], extra_rows=1)

    with torch.inference_mode():
        logits = forward(padded, lengths)

    assert logits.shape == (2, (padded.shape[1] - 80) // 320, 32)
    assert torch.isfinite(logits).all()


class Recorder(torch.nn.Module):
    """Stands in for a checkpoint's module and keeps the attention mask it was given."""

    def __init__(self):
        super().__init__()
        self.lm_head = torch.nn.Linear(1, 1)

    def forward(self, waveforms, *, attention_mask):
        self.attention_mask = attention_mask
        return SimpleNamespace(logits=waveforms)


def test_the_stock_attention_mask_marks_samples_and_one_frame_of_a_padding_row():
    forward = StockForward(Recorder(), dtype=torch.float32, attention_mask=True)

    forward(torch.zeros(3, 1_040), torch.tensor([0, 400, 1_039], dtype=torch.int32))

    assert forward.module.attention_mask.sum(dim=1).tolist() == [400, 400, 1_039]
