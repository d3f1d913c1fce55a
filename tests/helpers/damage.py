"""Seeded damage to audio files whose true length is known: what soundfile was given to write."""

import struct
from dataclasses import dataclass

import numpy as np
import soxr

from tests.helpers.speech import encode, voiced

HEADER_BYTES = 256
ODD_SIZES = (0, 1, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFDB, 0xFFFF_FFFF)
LAYOUTS = (  # container, subtype, rate in Hz, channels
    ("WAV", "PCM_16", 16_000, 1),
    ("WAV", "PCM_24", 44_100, 2),
    ("WAV", "PCM_U8", 8_000, 1),
    ("WAV", "FLOAT", 16_000, 1),
    ("WAV", "ULAW", 8_000, 1),
    ("WAV", "IMA_ADPCM", 16_000, 1),
    ("WAVEX", "PCM_16", 16_000, 2),
    ("RF64", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_24", 48_000, 2),
    ("FLAC", "PCM_S8", 12_345, 1),
    ("FLAC, no MD5", "PCM_16", 16_000, 1),
    ("OGG", "VORBIS", 16_000, 1),
    ("OGG", "VORBIS", 44_100, 2),
    ("OGG", "OPUS", 16_000, 1),
    ("OGG", "OPUS", 48_000, 2),
    ("MP3", None, 16_000, 1),
    ("MP3", None, 44_100, 2),
)
NUM_SAMPLES = (20_000, 7_001, 9_999)
IMA_BLOCK = 1_017  # samples of libsndfile's block at 16 kHz mono; its writer fills the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An encoded file and what it holds."""

    label: str
    data: bytes
    num_samples: int
    """At 16 kHz."""


def recordings():
    """Whole files of every layout, some silent in parts, some behind or before a tag."""
    whole = []
    for index, (container, subtype, rate_hz, channels) in enumerate(LAYOUTS):
        count = NUM_SAMPLES[index % len(NUM_SAMPLES)]
        data = encode(
            speechlike(count, channels=channels, seed=index, rate_hz=rate_hz),
            rate_hz=rate_hz,
            container=container.split(",")[0],
            subtype=subtype,
        )
        if container == "FLAC, no MD5":
            data = data[:26] + bytes(16) + data[42:]
        if subtype == "IMA_ADPCM":
            count = -(-count // IMA_BLOCK) * IMA_BLOCK
        label = f"{container} {subtype} {rate_hz} Hz x{channels}"
        whole.append(Recording(label=label, data=data, num_samples=at_16_khz(count, rate_hz)))
    mp3 = whole[-1]
    tags = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128), b"TAG" + bytes(125)
    tagged = Recording(
        label="tagged MP3", data=tags[0] + mp3.data + tags[1], num_samples=mp3.num_samples
    )
    return [*whole, tagged]


def speechlike(count, *, channels, seed, rate_hz):
    """(S,) or (S, channels) float32 with digital silence in its middle."""
    signal = np.stack([voiced(count, seed=seed + c, rate_hz=rate_hz) for c in range(channels)], 1)
    signal[count // 3 : count // 2] = 0
    return signal[:, 0] if channels == 1 else signal


def at_16_khz(count, rate_hz):
    """Samples after resampling, as soxr counts them."""
    if rate_hz == 16_000:
        return count
    return len(soxr.resample(np.zeros(count, np.float32), rate_hz, 16_000))


def damaged(rng, whole):
    """Return (what was done, the bytes, the one length that is right if they are not refused)."""
    one = whole[rng.integers(len(whole))]
    kind = KINDS[rng.integers(len(KINDS))]
    if kind is joined:
        other = whole[rng.integers(len(whole))] if rng.random() < 0.7 else one
        tail = other.data[_body_at(other.data) if rng.random() < 0.5 else 0 :]
        data, right = one.data + tail, one.num_samples + other.num_samples
        return f"{one.label} joined with {other.label}", data, right
    return f"{one.label} {kind.__name__}", kind(rng, one.data), one.num_samples


def cut(rng, data):
    """Lose the end: anywhere, a few bytes, or whole kilobytes."""
    lost = (rng.integers(1, len(data)), rng.integers(1, 40), 1024 * rng.integers(1, 9))
    return data[: max(0, len(data) - int(lost[rng.integers(3)]))]


def beheaded(rng, data):
    """Lose bytes of the start."""
    return data[int(rng.integers(1, HEADER_BYTES)) :]


def holed(rng, data):
    """Lose bytes in the middle."""
    start, length = _place(rng, data), int(rng.integers(1, 3000))
    return data[:start] + data[start + length :]


def doubled(rng, data):
    """Hold a part twice."""
    start, length = _place(rng, data), int(rng.integers(1, 3000))
    return data[: start + length] + data[start:]


def flipped(rng, data):
    """Flip one to three bits."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        changed[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def zeroed(rng, data):
    """Hold zeros in place of a part, as a download that was resumed wrongly."""
    start, length = _place(rng, data), int(rng.integers(1, 1500))
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def resized(rng, data):
    """Hold an odd number where the header may hold a size or count."""
    at = int(rng.integers(4, 64))
    order = ("<I", ">I")[rng.integers(2)]
    number = ODD_SIZES[rng.integers(len(ODD_SIZES))]
    return data[:at] + struct.pack(order, number) + data[at + 4 :]


def scaled_sizes(rng, data):
    """Halve or double a number of the header, in place."""
    at, order = int(rng.integers(4, 64)), ("<I", ">I")[rng.integers(2)]
    number = struct.unpack_from(order, data, at)[0]
    changed = number // 2 if rng.random() < 0.5 else number * 2 & 0xFFFF_FFFF
    return data[:at] + struct.pack(order, changed) + data[at + 4 :]


def trailed(rng, data):
    """Hold noise, zeros or a piece of itself behind the end."""
    length = int(rng.integers(1, 5000))
    start = int(rng.integers(len(data)))
    tails = (rng.bytes(length), bytes(length), data[start : start + length])
    return data + tails[rng.integers(3)]


def swapped(rng, data):
    """Hold two neighbouring parts in the other order."""
    start, length = _place(rng, data), int(rng.integers(1, 1500))
    parts = data[start : start + length], data[start + length : start + 2 * length]
    return data[:start] + parts[1] + parts[0] + data[start + 2 * length :]


def joined(rng, data):
    """Stand for two whole files, one behind the other; the second perhaps without its header."""
    raise NotImplementedError


KINDS = (
    *(cut, beheaded, holed, doubled, flipped, flipped, flipped, zeroed),
    *(resized, scaled_sizes, trailed, swapped, joined),
)


def _body_at(data):
    """Where a FLAC's frames, a WAV's samples, an OGG's second page start; 0 elsewhere."""
    frames = max(data.find(b"\xff\xf8", 86), data.find(b"\xff\xf9", 86))
    places = {b"fLaC": frames, b"RIFF": data.find(b"data") + 8, b"OggS": data.find(b"OggS", 4)}
    return max(0, places.get(data[:4], 0))


def _place(rng, data):
    """A position: in the header for a third, near the end for a tenth, else anywhere."""
    draw = rng.random()
    if draw < 0.35:
        return int(rng.integers(min(HEADER_BYTES, len(data))))
    if draw < 0.45:
        return len(data) - 1 - int(rng.integers(min(HEADER_BYTES, len(data))))
    return int(rng.integers(len(data)))
