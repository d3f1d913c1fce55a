"""Group norm's statistics in float32: on devices without float64 nothing else guards them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.parity.reference import CPU, small_model, stack
from w2v_core.model.exact import key_bias
from w2v_core.model.forward import build_forward
from w2v_core.model.front_end import GroupNormLayer0, window_mask


def high_pass_model():
    """Layer 0 takes second differences, as trained filters block what speech is loudest in."""
    module = copy.deepcopy(small_model("group"))
    weight = module.wav2vec2.feature_extractor.conv_layers[0].conv.weight
    weight.copy_(weight.diff(n=2, dim=2, prepend=torch.zeros(*weight.shape[:2], 2)))
    weight[:, :, 0] -= weight.sum(dim=2)
    weight[:, :, 1] -= (weight * torch.arange(10.0)).sum(dim=2)
    weight[:, :, 0] -= weight.sum(dim=2)
    return module


def low_tone(num_samples: int) -> np.ndarray:
    """A 60 Hz hum with noise 70 dB below it: 1.4 in amplitude, 4e-4 where the filters look."""
    noise = np.random.default_rng(0).standard_normal(num_samples)
    hum = np.sin(2 * np.pi * 60 * np.arange(num_samples) / 16_000)
    return (np.sqrt(2) * hum + 4e-4 * noise).astype(np.float32)


def layer0(module, *, float64_statistics: bool) -> GroupNormLayer0:
    forward = build_forward(
        module,
        name="exact",
        dtype="float32",
        device=CPU,
        float64_statistics=float64_statistics,
    )
    return forward.front_end.layer0


def windows_of(waveforms: torch.Tensor) -> torch.Tensor:
    return waveforms.unfold(1, 10, 5)


@pytest.mark.parametrize("float64_statistics", [False, True], ids=["float32", "float64"])
def test_variance_survives_cancellation(float64_statistics):
    """Against the convolution itself in float64, on a waveform 10^3 to 10^4 louder than it."""
    module = high_pass_model()
    waveforms = [low_tone(560_000), low_tone(5_000)]
    padded, lengths = stack(waveforms)
    weight = module.wav2vec2.feature_extractor.conv_layers[0].conv.weight.double()

    _, found = layer0(module, float64_statistics=float64_statistics).statistics(
        windows_of(padded), window_mask(lengths, padded.shape[1] // 5 - 1)
    )

    for row, waveform in enumerate(waveforms):
        outputs = torch.nn.functional.conv1d(
            torch.from_numpy(waveform).double()[None, None], weight, stride=5
        )
        expected = outputs[0].var(dim=1, correction=0)
        loudness = float(np.square(waveform).mean()) * weight[:, 0].square().sum(dim=1)
        assert (loudness / expected).median() > 1e5  # it does cancel
        torch.testing.assert_close(found[row].double(), expected, rtol=1e-4, atol=0)


def test_autocast_leaves_the_statistics_in_float32():
    layer = layer0(small_model("group"), float64_statistics=False)
    padded, lengths = stack([low_tone(5_000), low_tone(16_000)])
    windows, valid = windows_of(padded), window_mask(lengths, padded.shape[1] // 5 - 1)
    with torch.autocast("cpu", torch.bfloat16):
        centred, variance = layer.statistics(windows, valid)

    expected_centred, expected_variance = layer.statistics(windows, valid)
    torch.testing.assert_close(centred, expected_centred, rtol=0, atol=0)
    torch.testing.assert_close(variance, expected_variance, rtol=0, atol=0)


def test_a_row_without_windows_has_finite_statistics():
    layer = layer0(small_model("group"), float64_statistics=False)

    centred, variance = layer.statistics(
        torch.full((1, 143, 10), torch.nan), torch.zeros(1, 143, dtype=torch.bool)
    )

    assert (centred == 0).all()
    assert (variance == 0).all()


@pytest.mark.parametrize(
    ("num_samples", "keys"),
    [pytest.param(0, 1, id="padding-row"), (399, 1), (400, 1), (719, 1), (720, 2), (1_040, 3)],
)
def test_every_row_attends_to_its_frames_and_at_least_to_one(num_samples, keys):
    """A softmax over nothing is NaN on devices that compute it plainly."""
    bias = key_bias(torch.tensor([num_samples], dtype=torch.int32), 4)

    assert bias.shape == (1, 1, 1, 4)
    assert (bias == 0).sum() == keys
    assert torch.isneginf(bias).sum() == 4 - keys
