"""Audio that other tools wrote: every sample of it, or a refusal that names what it is."""

import io
import re
import struct

import numpy as np
import pytest
import soundfile
from mutagen.ogg import OggPage

from tests.helpers.speech import encode, voiced
from w2v_core.data import audio
from w2v_core.data.containers import mp3
from w2v_core.errors import AudioError

NUM_SAMPLES = 12_204  # 12 blocks of IMA ADPCM, whose writer fills the last one
LAYOUTS = [
    (container, subtype)
    for container in soundfile.available_formats()
    if container != "SD2"  # leaves a file in the working directory
    for subtype in soundfile.available_subtypes(container)
]
WRITTEN = ("FLAC", "WAV", "WAVEX", "RF64", "OGG", "MP3")
REMEDY = re.compile(r"^a\.file: .*(convert|fetch)")


def written(container, subtype):
    """The bytes that libsndfile writes at the first rate that the codec takes; None at none."""
    for rate_hz in (16_000, 8_000):
        buffer = io.BytesIO()
        try:
            soundfile.write(buffer, voiced(NUM_SAMPLES), rate_hz, format=container, subtype=subtype)
        except (soundfile.SoundFileError, ValueError):
            continue
        return buffer.getvalue(), NUM_SAMPLES * 16_000 // rate_hz
    return None


def test_every_layout_that_libsndfile_writes_is_read_whole_or_refused_with_a_remedy():
    """Of the containers that are read, the usual codecs are read."""
    read, wrong = set(), []
    for container, subtype in LAYOUTS:
        if (found := written(container, subtype)) is None:
            continue
        data, right = found
        try:
            decoded = len(audio.decode(data, name="a.file"))
        except AudioError as error:
            if not REMEDY.search(str(error)):
                wrong.append((container, subtype, str(error)))
            continue
        read.add(container)
        if container not in WRITTEN or decoded != right:
            wrong.append((container, subtype, decoded))

    assert wrong == []
    assert read == set(WRITTEN)


def renamed(ogg, codec):
    """An OGG whose first page, with a new checksum, names another codec."""
    pages = io.BytesIO(ogg)
    first = OggPage(pages)
    first.packets = [codec.ljust(len(first.packets[0]), b"\0")]
    return first.write() + pages.read()


NAMED = {
    "MP4": b"\0\0\0\x20ftypM4A " + bytes(99),
    "WebM": b"\x1aE\xdf\xa3" + bytes(99),
    "WMA": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(99),
    "AMR": b"#!AMR-WB\n" + bytes(99),
    "AAC": b"\xff\xf1\x50\x80" + bytes(99),
    "AVI": b"RIFF\x64\0\0\0AVI " + bytes(99),
    "SPHERE": b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n".ljust(2000),
    "ZIP": b"PK\x03\x04" + bytes(99),
    "tar": b"clips/".ljust(257, b"\0") + b"ustar\0" + bytes(99),
    "HTML": b"\n<!DOCTYPE html><html><title>Sign in</title></html>",
    "JSON": b'{"error": "Repository not found"}',
    "0x0161": b"RIFF\x64\0\0\0WAVEfmt \x12\0\0\0"
    + struct.pack("<HHIIHHH", 0x0161, 1, 16_000, 2_000, 744, 16, 0)
    + b"data\x04\0\0\0abcd",
    "2147483648 Hz": b"RIFF\x64\0\0\0WAVEfmt \x10\0\0\0"
    + struct.pack("<HHIIHH", 1, 1, 2**31, 0, 2, 16)
    + b"data\x04\0\0\0abcd",
    "neither Vorbis nor Opus": renamed(encode(voiced(99), container="OGG"), b"Speex   1.2"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_no_audio_that_is_read_is_called_by_its_name(name):
    with pytest.raises(AudioError, match=f"^a.file: .*{name}.*(convert|fetch|unpack)"):
        audio.decode(NAMED[name], name="a.file")


def test_mp3_that_was_copied_without_encoding_decodes_as_decoders_do():
    """ffmpeg -c copy says 0 for delay and padding; a decoder's own 529 samples are lost."""
    data = bytearray(encode(voiced(NUM_SAMPLES), container="MP3"))
    lame = max(data.find(b"Xing"), data.find(b"Info")) + 120
    data[lame + 21 : lame + 24] = bytes(3)
    data[lame + 34 : lame + 36] = mp3._crc16(bytes(data[: lame + 34])).to_bytes(2, "big")
    right = len(soundfile.read(io.BytesIO(bytes(data)))[0])

    assert audio.decode(bytes(data), name="a.mp3").shape == (right,)
    assert right > NUM_SAMPLES


def test_free_format_mp3_is_refused_by_that_name():
    """Its frames give no bitrate, so nothing says where the next one starts."""
    data = bytearray(encode(voiced(NUM_SAMPLES), container="MP3"))
    for at in [m.start() for m in re.finditer(re.escape(bytes(data[:2])), bytes(data))]:
        data[at + 2] &= 0x0F

    with pytest.raises(AudioError, match=r"^a\.mp3: free format"):
        audio.decode(bytes(data), name="a.mp3")


@pytest.mark.parametrize("num_samples", [NUM_SAMPLES, 5_000])
@pytest.mark.parametrize("with_md5", [True, False])
def test_frames_of_another_flac_behind_the_last_are_noticed(num_samples, with_md5):
    """ffmpeg's concat keeps the first file's header: count and MD5 fit, and half is hidden."""
    data = encode(voiced(NUM_SAMPLES))
    if not with_md5:
        data = data[:26] + bytes(16) + data[42:]
    other = encode(voiced(num_samples, seed=1))

    with pytest.raises(AudioError, match=r"^a\.flac: frames of another recording"):
        audio.decode(data + other[other.find(b"\xff\xf8", 86) :], name="a.flac")


def test_every_block_size_of_flac_is_followed():
    """One frame, whole frames, and a short last one."""
    for num_samples in (1, 4_095, 4_096, 4_097, 8_192, 600_000):
        data = encode(np.zeros(num_samples, np.float32) + voiced(num_samples))

        assert audio.decode(data, name="a.flac").shape == (num_samples,)
