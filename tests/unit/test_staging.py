"""What a slot's row holds."""

import numpy as np
import pytest

from w2v_core.data.audio import scaled
from w2v_core.types import Utterance


def staged(waveform, *, scale=True, spare=5):
    row = np.full(len(waveform) + spare, np.nan, np.float32)
    utterance = Utterance(utterance_id="u", waveform=waveform)
    (scaled(utterance) if scale else utterance).write_to(row)
    return row


def noise(num_samples, *, scale=0.05, offset=0.0):
    values = np.random.default_rng(num_samples).standard_normal(num_samples)
    return (scale * values + offset).astype(np.float32)


@pytest.mark.parametrize("num_samples", [1, 2, 400, 559_280])
@pytest.mark.parametrize("scale", [1e-6, 0.05, 3e4])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.1, 100.0])
def test_a_row_is_normalised_as_float64_would(num_samples, scale, offset):
    """Offsets are in deviations; the mean is rounded to float32, as the library's is."""
    waveform = noise(num_samples, scale=scale, offset=offset * scale)
    exact = waveform.astype(np.float64)
    expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-7)

    found = staged(waveform)[:num_samples]

    rounding = 1.2e-7 * abs(exact.mean()) / np.sqrt(exact.var() + 1e-7)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-6 + rounding)


@pytest.mark.parametrize("level", [0.0, 0.25, -0.1])
def test_silence_becomes_zeros(level):
    found = staged(np.full(1_600, level, np.float32))

    np.testing.assert_allclose(found, np.zeros(1_605), rtol=0, atol=3e-5)


def test_without_a_scaling_samples_are_written_as_they_are():
    waveform = noise(400, offset=0.5)

    np.testing.assert_array_equal(staged(waveform, scale=False)[:400], waveform)


@pytest.mark.parametrize("scale", [False, True])
def test_zeros_lie_behind_the_utterance(scale):
    np.testing.assert_array_equal(staged(noise(400), scale=scale)[400:], np.zeros(5))


def test_a_normalised_utterance_is_not_scaled():
    utterance = Utterance(utterance_id="u", waveform=noise(400), normalised=True)

    assert scaled(utterance) is utterance


def test_the_waveform_itself_is_left_alone():
    waveform = noise(400)
    waveform.flags.writeable = False

    staged(waveform)
