"""MP3: a count in the first frame, or a duration, and a walk over every frame. No torch here.

Sources: the Xing and LAME tags as LAME's ``VbrTag.c`` describes them; frame headers are read by
mutagen, once per distinct header.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

from mutagen.mp3 import HeaderNotFoundError, MPEGFrame

from w2v_core.data.containers.marks import AGAIN, JOINED, DamageError
from w2v_core.data.containers.tags import audio_end

DECODER_DELAY = 529  # samples by which every decoder is behind; they are cut with the encoder's
CRC_FRAME_BYTES = 190  # what ffmpeg takes the LAME tag's checksum over
DURATION_TOLERANCE_S = 0.05  # a frame has 24 to 72 ms; durations come in milliseconds
REENCODE = "encode it again (ffmpeg -i FILE OUT.flac)"
UNCOUNTED = (
    f"its first frame holds no frame count, so a cut would go unnoticed; {REENCODE}, or give its "
    "duration in a manifest"
)


@dataclass(frozen=True, slots=True)
class _Frame:
    num_bytes: int
    num_samples: int
    kind: tuple[float, int, int, int]
    """MPEG version, layer, rate in Hz, channels: the same in every frame of a stream."""


def count_samples(data: bytes, *, start: int, duration_s: float | None) -> int:
    """Count the samples per channel that the encoder was given.

    Args:
        data: The file's bytes.
        start: Where the first frame stands, behind ID3v2 tags.
        duration_s: What a manifest says; it proves the length of a file without a count, as ffmpeg
            writes to a pipe. Encoder delay and padding are in both then.

    Raises:
        DamageError: no count, and no duration or another one; more or fewer frames than it says;
            bytes that are no frame; a tag with a wrong checksum.
    """
    head = data[start : start + 4]
    first = _frame(head)
    if first is None and head[:1] == b"\xff" and len(head) == 4 and not head[2] & 0xF0:
        raise DamageError(f"free format (no bitrate in its frames) is not read; {REENCODE}")
    if first is None:
        raise DamageError(f"no MPEG frame stands at its start (byte {start}); {AGAIN}")
    tag = data[start : start + first.num_bytes]
    known = _vbri(tag) or _xing(tag)
    counted = _walk(data, start + first.num_bytes, audio_end(data), first.kind)
    if known is None:
        return _proved((counted + 1) * first.num_samples, first.kind[2], duration_s)
    expected, padding = known
    if counted != expected:
        remedy = JOINED if counted > expected else AGAIN
        raise DamageError(f"its header counts {expected} MP3 frames, {counted} are there; {remedy}")
    return max(0, expected * first.num_samples - padding)


def _proved(num_samples: int, rate_hz: int, duration_s: float | None) -> int:
    """Return the count where a duration from elsewhere proves it."""
    if duration_s is None:
        raise DamageError(UNCOUNTED)
    if not abs(num_samples / rate_hz - duration_s) <= DURATION_TOLERANCE_S:  # NaN too
        raise DamageError(
            f"its frames hold {num_samples / rate_hz:.2f} s, the manifest says {duration_s:g} s, "
            f"and it has no count of its own: cut off or joined; {AGAIN}, or mend the manifest"
        )
    return num_samples


@lru_cache(maxsize=4096)
def _frame(header: bytes) -> _Frame | None:
    """Read a frame's header of four bytes; None where it is none."""
    file = io.BytesIO(header + bytes(64))
    try:
        frame = MPEGFrame(file)
    except HeaderNotFoundError:
        return None
    low_rate = frame.version >= 2 and frame.layer == 3
    num_samples = 384 if frame.layer == 1 else 576 if low_rate else 1152
    kind = (frame.version, frame.layer, frame.sample_rate, frame.channels)
    return _Frame(file.tell(), num_samples, kind)


def _walk(data: bytes, position: int, end: int, kind: tuple[float, int, int, int]) -> int:
    """Count the frames from a position to the end, each where the one before it ends."""
    counted = 0
    while position < end:
        frame = _frame(data[position : position + 4])
        if frame is None or frame.kind != kind:
            raise DamageError(
                f"damaged or joined: no frame of its kind where frame {counted + 1} belongs (byte "
                f"{position}); {AGAIN}, or {JOINED}"
            )
        position += frame.num_bytes
        counted += 1
    if position != end:
        raise DamageError(f"cut off: its last frame lacks {position - end} bytes; {AGAIN}")
    return counted


def _vbri(tag: bytes) -> tuple[int, int] | None:
    """Return the frame count of Fraunhofer's header, which stands 36 bytes into the frame."""
    return (int.from_bytes(tag[50:54], "big"), 0) if tag[36:40] == b"VBRI" else None


def _xing(tag: bytes) -> tuple[int, int] | None:
    """Return the frame count, and the samples of encoder delay and padding; None without a count.

    A stream that was copied by ffmpeg without encoding says 0 for both: its last frame ends it, and
    what the decoder is behind is lost, whoever decodes it.
    """
    at = max(tag[:64].find(b"Xing"), tag[:64].find(b"Info"))
    flags = int.from_bytes(tag[at + 4 : at + 8], "big")
    if at < 0 or not flags & 1:
        return None
    expected = int.from_bytes(tag[at + 8 : at + 12], "big")
    lame = at + 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4)
    lame += 4 * bool(flags & 8)
    if lame + 36 > len(tag) or not any(tag[lame : lame + 36]):
        return expected, 0
    _refuse_wrong_checksum(tag, at=lame + 34)
    delay_and_padding = int.from_bytes(tag[lame + 21 : lame + 24], "big")
    return expected, (delay_and_padding >> 12) + max(DECODER_DELAY, delay_and_padding & 0xFFF)


def _refuse_wrong_checksum(tag: bytes, *, at: int) -> None:
    """Compare the LAME tag's checksum; LAME and ffmpeg take it over different bytes."""
    given = int.from_bytes(tag[at : at + 2], "big")
    blanked = tag[:at] + bytes(2) + tag[at + 2 :]
    if given not in {
        _crc16(tag[:at]),
        _crc16(blanked.ljust(CRC_FRAME_BYTES, b"\0")[:CRC_FRAME_BYTES]),
    }:
        raise DamageError(f"damaged: the checksum of its first frame's tag is wrong; {AGAIN}")


def _crc16(data: bytes) -> int:
    """CRC-16/ARC: polynomial 0x8005, reflected, from 0."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value
