"""Audio that cannot be used: each error names the file and says what is wrong."""

import struct

import numpy as np
import pytest

from tests.helpers.speech import encode, voiced
from w2v_core.data import audio
from w2v_core.errors import AudioError

ALL = ("FLAC", "WAV", "MP3", "OGG")


def test_missing_file_is_named(tmp_path):
    path = tmp_path / "gone.flac"

    with pytest.raises(AudioError, match=r"gone\.flac: no such file"):
        audio.decode(path, name=str(path))


def test_folder_in_place_of_a_file_is_named(tmp_path):
    with pytest.raises(AudioError, match="a folder: cannot be read"):
        audio.decode(tmp_path, name="a folder")


def test_empty_file_is_named(tmp_path):
    path = tmp_path / "empty.wav"
    path.write_bytes(b"")

    with pytest.raises(AudioError, match=r"empty\.wav: the file is empty"):
        audio.decode(path, name=path.name)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"7-1-0000 SOME TRANSCRIPT\n" * 50, id="text"),
        pytest.param(bytes(5000), id="zeros"),
        pytest.param(np.random.default_rng(0).bytes(5000), id="noise"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", id="error-page"),
    ],
)
def test_non_audio_is_named(data):
    with pytest.raises(AudioError, match=r"^a\.flac: "):
        audio.decode(data, name="a.flac")


@pytest.mark.parametrize("container", ["AIFF", "AU", "CAF", "W64"])
def test_container_whose_cuts_go_unnoticed_is_refused(container):
    """libsndfile reads them, and silently short where they are cut off."""
    data = encode(voiced(1000), container=container, subtype="PCM_16")

    with pytest.raises(AudioError, match=r"^a: .*FLAC, WAV, MP3 and OGG"):
        audio.decode(data, name="a")


@pytest.mark.parametrize("cut", [0.02, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("container", ALL)
def test_file_that_was_cut_off_never_passes_as_a_shorter_one(container, cut):
    data = encode(voiced(48_000), container=container)

    with pytest.raises(AudioError, match=r"^cut\.file: "):
        audio.decode(data[: int(len(data) * cut)], name="cut.file")


@pytest.mark.parametrize("container", ALL)
def test_file_without_its_last_byte_is_noticed(container):
    data = encode(voiced(20_000), container=container)

    with pytest.raises(AudioError, match=r"^cut\.file: "):
        audio.decode(data[:-1], name="cut.file")


def test_flac_cut_at_a_frame_boundary_is_noticed():
    """Every frame that is left decodes; only the header's count tells."""
    data = encode(voiced(48_000))
    frame = data.rfind(b"\xff\xf8")

    with pytest.raises(AudioError, match=r"^a\.flac: .*cut off"):
        audio.decode(data[:frame], name="a.flac")


def test_ogg_cut_at_a_page_boundary_is_noticed():
    """Every page that is left is whole; only the missing end-of-stream flag tells."""
    data = encode(voiced(160_000), container="OGG")
    page = data.rfind(b"OggS")

    with pytest.raises(AudioError, match=r"^a\.ogg: cut off"):
        audio.decode(data[:page], name="a.ogg")


def test_flac_without_a_sample_count_is_refused():
    """An encoder that writes to a pipe leaves 0; a cut file would then look whole."""
    data = bytearray(encode(voiced(16_000)))
    data[21] &= 0xF0  # STREAMINFO: the last 36 bits before the MD5 are the sample count
    data[22:26] = bytes(4)

    with pytest.raises(AudioError, match=r"^a\.flac: its header holds no sample count"):
        audio.decode(bytes(data), name="a.flac")


def test_mp3_without_a_frame_count_is_refused():
    """libsndfile guesses the length from the first frame and stops there: half of this file."""
    data = encode(voiced(48_000), container="MP3")
    second_frame = data.index(b"\xff\xf3", 4)

    with pytest.raises(AudioError, match=r"^a\.mp3: its first frame holds no frame count"):
        audio.decode(data[second_frame:], name="a.mp3")


def test_mp3_with_a_leading_tag_is_read():
    """An ID3 tag, a picture in it perhaps, stands before the frame that holds the count."""
    data = encode(voiced(16_000), container="MP3")
    body = bytes(1000)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, len(body) >> 7, len(body) & 127]) + body

    assert audio.decode(tag + data, name="a.mp3").shape == (16_000,)


@pytest.mark.parametrize(
    "size", [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF - 36, 0xFFFF_FFFF]
)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_wav_whose_length_was_never_written_is_refused_by_that_name(container, size):
    """ffmpeg, sox and arecord leave these in a pipe's WAV; a cut could not be told from its end."""
    data = bytearray(encode(voiced(1000), container=container, subtype="PCM_16"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)

    for content in (data, data[:-500]):
        with pytest.raises(AudioError, match=r"^a\.wav: its length was never written .*ffmpeg -i"):
            audio.decode(bytes(content), name="a.wav")


@pytest.mark.parametrize("container", ["FLAC", "WAV"])
def test_file_without_samples_is_named(container):
    data = encode(np.zeros(0, np.float32), container=container)

    with pytest.raises(AudioError, match=r"^a\.file: "):
        audio.decode(data, name="a.file")


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_sample_is_named_before_resampling_spreads_it(bad, rate_hz):
    waveform = voiced(4800)
    waveform[123] = bad
    data = encode(waveform, rate_hz=rate_hz, container="WAV", subtype="FLOAT")

    with pytest.raises(AudioError, match=r"^a\.wav: sample 123 is .* \(1 such\)"):
        audio.decode(data, name="a.wav")


def test_damage_inside_a_flac_is_noticed():
    data = bytearray(encode(voiced(48_000)))
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)

    with pytest.raises(AudioError, match=r"^a\.flac: "):
        audio.decode(bytes(data), name="a.flac")


@pytest.mark.parametrize("container", ALL)
def test_error_of_a_path_names_the_path_once_opened_by_name(container, tmp_path):
    """The name that the caller gave is what the error says, for files as for bytes."""
    path = tmp_path / "7-1-0000.audio"
    path.write_bytes(encode(voiced(20_000), container=container)[:-10])

    with pytest.raises(AudioError, match=r"7-1-0000\.audio"):
        audio.decode(path, name=str(path))


def test_flac_whose_header_has_another_rate_than_its_frames_is_refused():
    """STREAMINFO has no checksum: 16,002 Hz would resample to another length."""
    data = bytearray(encode(voiced(16_000)))
    data[20] ^= 0x20  # STREAMINFO: the rate's 20 bits end in the upper half of this byte

    with pytest.raises(AudioError, match=r"^a\.flac: damaged: its header says 16002 Hz"):
        audio.decode(bytes(data), name="a.flac")


def test_flac_without_md5_whose_count_is_below_its_frames_is_refused():
    """libsndfile stops at the count; half of the audio would be hidden."""
    data = bytearray(encode(voiced(16_000)))
    data[26:42] = bytes(16)
    assert audio.decode(bytes(data), name="a.flac").shape == (16_000,)

    data[22:26] = struct.pack(">I", 8_000)
    with pytest.raises(AudioError, match=r"^a\.flac: joined .*8000 samples.* hold 16000"):
        audio.decode(bytes(data), name="a.flac")
