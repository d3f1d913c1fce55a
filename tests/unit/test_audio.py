"""Decoding, resampling and normalising."""

import numpy as np
import pytest
import soundfile
from transformers import Wav2Vec2FeatureExtractor

from tests.helpers.speech import encode, voiced
from w2v_core.data import audio
from w2v_core.data.containers import flac
from w2v_core.data.containers.decoder import CONTAINERS
from w2v_core.errors import AudioError
from w2v_core.types import Utterance

STEP_16_BIT = 1 / 2**15
STEP_24_BIT = 1 / 2**23


def utterance(waveform, **changes):
    return Utterance(utterance_id="7-1-0000", waveform=waveform, **changes)


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [
        pytest.param("FLAC", "PCM_16", STEP_16_BIT, id="flac-16"),
        pytest.param("FLAC", "PCM_24", STEP_24_BIT, id="flac-24"),
        pytest.param("WAV", "PCM_16", STEP_16_BIT, id="wav-16"),
        pytest.param("WAV", "PCM_24", STEP_24_BIT, id="wav-24"),
        pytest.param("WAV", "FLOAT", 0, id="wav-float"),
    ],
)
def test_lossless_file_decodes_to_its_samples(container, subtype, tolerance):
    """Exact to the container's quantisation step, as (S,) float32."""
    expected = voiced(3000)

    got = audio.decode(encode(expected, container=container, subtype=subtype), name="x")

    assert (got.dtype, got.shape) == (np.float32, (3000,))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("container", ["MP3", "OGG"])
def test_lossy_file_keeps_length_and_place(container):
    """No sample is gained or lost, and the waveform is not shifted."""
    expected = voiced(16_000)

    got = audio.decode(encode(expected, container=container), name="x")

    assert got.shape == (16_000,)
    lags = range(-20, 21)
    products = [np.dot(np.roll(expected, lag)[100:-100], got[100:-100]) for lag in lags]
    assert lags[int(np.argmax(products))] == 0


def test_path_and_bytes_decode_alike(tmp_path):
    """Hub corpora hold bytes, folders hold files; both give the same samples."""
    data = encode(voiced(2000))
    path = tmp_path / "a.flac"
    path.write_bytes(data)

    np.testing.assert_array_equal(audio.decode(path, name="x"), audio.decode(data, name="x"))


def test_container_is_read_from_the_content_not_the_name(tmp_path):
    """A WAV file called .flac decodes."""
    path = tmp_path / "a.flac"
    path.write_bytes(encode(voiced(500), container="WAV"))

    assert audio.decode(path, name="x").shape == (500,)


def test_stereo_becomes_the_mean_of_its_channels():
    """Neither the left channel alone nor the sum."""
    left, right = voiced(1000, seed=0), voiced(1000, seed=1)
    data = encode(np.stack([left, right], axis=1), container="WAV", subtype="FLOAT")

    got = audio.decode(data, name="x")

    np.testing.assert_allclose(got, (left + right) / 2, atol=1e-7)  # float32 rounding
    assert got.flags.c_contiguous


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_other_rates_are_resampled_to_16_khz(rate_hz):
    """A second stays a second and a 1 kHz tone stays a 1 kHz tone, at its level."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz).astype(np.float32) / 2

    got = audio.decode(encode(tone, rate_hz=rate_hz, container="WAV", subtype="FLOAT"), name="x")

    expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000) / 2
    assert (got.dtype, got.shape) == (np.float32, (16_000,))
    np.testing.assert_allclose(got[800:-800], expected[800:-800], atol=1e-3)  # inside the edges


def test_resampling_does_not_alias():
    """A 15 kHz tone at 48 kHz is above the new half rate; it must vanish, not fold to 1 kHz."""
    tone = np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000).astype(np.float32)

    got = audio.decode(encode(tone, rate_hz=48_000, container="WAV", subtype="FLOAT"), name="x")

    assert np.abs(got[800:-800]).max() < 1e-3


def test_short_audio_is_kept():
    """100 samples are less than one frame; the engine answers them with an empty hypothesis."""
    assert audio.decode(encode(voiced(100)), name="x").shape == (100,)


@pytest.mark.parametrize(
    ("num_samples", "refused"), [pytest.param(16_000, False, id="at"), (16_001, True)]
)
def test_limit_refuses_only_longer_audio(num_samples, refused):
    """``max_audio_s`` is inclusive; the error names the file, both numbers and a remedy."""
    data = encode(voiced(num_samples))
    if not refused:
        assert audio.decode(data, name="a.flac", max_audio_s=1).shape == (num_samples,)
        return
    with pytest.raises(AudioError, match=r"a\.flac: 1\.0 s .* 1 s; cut it"):
        audio.decode(data, name="a.flac", max_audio_s=1)


@pytest.mark.parametrize("return_attention_mask", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("num_samples", [1, 100, 16_000, 100_003])
def test_normalised_as_transformers_does(num_samples, return_attention_mask):
    """Both families' extractors, through their ``__call__``, with the dtype."""
    extractor = Wav2Vec2FeatureExtractor(
        do_normalize=True, return_attention_mask=return_attention_mask
    )
    waveform = voiced(num_samples) + np.float32(0.05)
    expected = extractor(waveform, sampling_rate=16_000)["input_values"][0]

    got = audio.normalise(waveform)

    assert got.dtype == np.asarray(expected).dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


def test_silence_normalises_to_zeros():
    """No division by zero: the variance is offset by 1e-7."""
    got = audio.normalise(np.full(1600, 0.25, dtype=np.float32))

    np.testing.assert_array_equal(got, np.zeros(1600, dtype=np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
def test_first_bad_sample_is_named(bad):
    """NaN, infinity and what overflows the variance; the id, the index and the count are said."""
    waveform = voiced(100)
    waveform[[40, 70]] = bad

    with pytest.raises(AudioError, match=r"7-1-0000: sample 40 is .* \(2 such\)"):
        audio.check(utterance(waveform))


@pytest.mark.parametrize(
    "waveform",
    [
        pytest.param(np.zeros(0, np.float32), id="empty"),
        pytest.param(np.zeros((2, 100), np.float32), id="two-channels"),
        pytest.param(np.zeros(100, np.float64), id="float64"),
        pytest.param(np.zeros(100, np.int16), id="int16"),
    ],
)
def test_wrong_waveform_is_refused_with_its_id(waveform):
    """The engine's buffers are (S,) float32."""
    with pytest.raises(AudioError, match="7-1-0000"):
        audio.check(utterance(waveform))


def test_largest_allowed_amplitude_normalises_to_finite_values():
    """The limit on the amplitude keeps the float32 variance finite."""
    waveform = (voiced(1000) * 1e9).astype(np.float32)

    got = audio.normalise(waveform)

    assert np.isfinite(got).all()
    assert got.std() == pytest.approx(1, abs=1e-3)


def test_every_readable_container_is_one_that_libsndfile_knows():
    """A libsndfile built without MP3 would otherwise fail late."""
    assert set(soundfile.available_formats()) >= CONTAINERS


@pytest.mark.parametrize("num_bytes", [1, 2, 4095, 32_765, 32_766, 40_000, 70_001])
def test_a_flac_frames_checksum_is_taken_bit_for_bit(num_bytes):
    """Frames of any length, one within and beyond the checksum's period, and each with a flip."""
    body = np.random.default_rng(num_bytes).bytes(num_bytes)
    value = 0
    for byte in body:  # RFC 9639, section 9.3: polynomial 0x8005, a bit at a time
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0x18005 if value & 0x8000 else 0)) & 0xFFFF
    frame = bytearray(body + value.to_bytes(2, "big"))
    assert flac._has_crc16(bytes(frame))
    frame[num_bytes // 2] ^= 0x10
    assert not flac._has_crc16(bytes(frame))
