"""What is odd about audio that decodes: refused, or said."""

import numpy as np
import pytest

from tests.helpers.speech import encode, voiced
from w2v_core.data import audio
from w2v_core.data.plausibility import summarise
from w2v_core.errors import AudioError
from w2v_core.types import Utterance


def noted(waveform, *, rate_hz=16_000, subtype="FLOAT"):
    data = encode(waveform, rate_hz=rate_hz, container="WAV", subtype=subtype)
    return audio.read_audio(data, name="a.wav").notes


def kinds(waveform, **options):
    return [note.partition(":")[0] for note in noted(waveform, **options)]


def stereo(left, right):
    return np.stack([left, right], axis=1)


def test_plain_speech_gets_no_note():
    """A note on every file would be read by nobody."""
    assert noted(voiced(16_000)) == ()
    assert noted(stereo(voiced(16_000), voiced(16_000, seed=1))) == ()


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_channels_in_opposite_phase_are_refused(subtype):
    """Their mean is silence, whatever was said."""
    speech = voiced(16_000)
    data = encode(stereo(speech, -speech), container="WAV", subtype=subtype)

    with pytest.raises(AudioError, match=r"^a\.wav: its 2 channels cancel .*pan=mono"):
        audio.decode(data, name="a.wav")


def test_constant_offset_does_not_hide_channels_that_cancel():
    """The offset alone survives the mean; speech does not."""
    speech = voiced(16_000)
    data = encode(stereo(0.2 + speech, 0.2 - speech), container="WAV", subtype="FLOAT")

    with pytest.raises(AudioError, match="channels cancel"):
        audio.decode(data, name="a.wav")


@pytest.mark.parametrize(
    ("right", "is_noted"),
    [
        pytest.param(-0.7, True, id="cancels-in-part"),
        pytest.param(0.0, False, id="one-channel-silent"),
        pytest.param(1.0, False, id="alike"),
    ],
)
def test_channels_that_cancel_in_part_are_noted(right, is_noted):
    """The mean of channels that are alike, or of one alone, is what was recorded."""
    speech = voiced(16_000)

    assert ("channels cancel" in kinds(stereo(speech, right * speech))) == is_noted


def test_two_silent_channels_are_silent_and_do_not_cancel():
    """Nothing was lost in the mean."""
    assert kinds(np.zeros((1600, 2), np.float32)) == ["silent"]


@pytest.mark.parametrize(
    ("waveform", "kind"),
    [
        pytest.param(np.zeros(16_000, np.float32), "silent", id="digital-silence"),
        pytest.param(voiced(16_000) * np.float32(1e-4), "silent", id="hiss"),
        pytest.param(np.clip(20 * voiced(16_000), -1, 1), "clipped", id="clipping"),
        pytest.param(voiced(16_000) + np.float32(0.4), "constant offset", id="offset"),
        pytest.param(voiced(16_000) * 32_768, "beyond full scale", id="integers-as-floats"),
    ],
)
def test_implausible_levels_are_noted(waveform, kind):
    """Decoded all the same: it may be meant so."""
    assert kinds(waveform) == [kind]


@pytest.mark.parametrize(
    ("rate_hz", "expected"),
    [
        (4_000, ["low sample rate"]),
        (8_000, ["low sample rate"]),
        (16_000, []),
        (192_000, []),
        (384_000, ["unusual sample rate"]),
    ],
)
def test_rates_outside_the_usual_are_noted(rate_hz, expected):
    """What the model was not trained on, and what a damaged header looks like."""
    assert kinds(voiced(rate_hz // 10, rate_hz=rate_hz), rate_hz=rate_hz) == expected


@pytest.mark.parametrize("rate_hz", [1, 3_999, 768_001, 2**31 - 1])
def test_rates_of_no_speech_are_refused(rate_hz):
    """Resampling 1 Hz makes hours of a second."""
    data = encode(voiced(100), rate_hz=rate_hz, container="WAV", subtype="FLOAT")

    with pytest.raises(AudioError, match=rf"^a\.wav: a sample rate of {rate_hz} Hz; .*4000"):
        audio.decode(data, name="a.wav")


def test_audio_of_no_sample_after_resampling_is_refused():
    """One sample at 384 kHz is no audio at 16 kHz."""
    data = encode(voiced(1), rate_hz=384_000, container="WAV", subtype="FLOAT")

    with pytest.raises(AudioError, match=r"^a\.wav: 1 samples at 384000 Hz are no sample at 16000"):
        audio.decode(data, name="a.wav")


def test_notes_of_a_corpus_are_one_line_a_kind():
    """A corpus of telephone speech gets one line, not one for each utterance."""
    waveform = voiced(100)
    utterances = [
        Utterance(utterance_id=f"u{i}", waveform=waveform, notes=("silent: an RMS of 0",))
        for i in range(5)
    ]

    assert summarise(utterances) == (
        "silent: 5 utterances (u0, u1, u2 and 2 more); the first: an RMS of 0",
    )
    assert summarise([Utterance(utterance_id="u", waveform=waveform)]) == ()


@pytest.mark.parametrize("bad", [3e38, np.inf, np.nan])
def test_samples_that_overflow_are_refused_without_a_warning(bad):
    """numpy 2.5 warns of an overflow in ``dot``, which is an error here."""
    waveform = voiced(1000)
    waveform[7] = bad

    with np.errstate(all="raise"), pytest.raises(AudioError, match="sample 7 is"):
        audio.check(Utterance(utterance_id="u", waveform=waveform))
    with np.errstate(all="raise"), pytest.raises(AudioError, match="sample 7 is"):
        audio.scaled(Utterance(utterance_id="u", waveform=waveform))
