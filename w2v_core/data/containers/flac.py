"""FLAC: STREAMINFO's count and MD5, and frames that add up to the count at the file's end.

Source: RFC 9639, sections 8 (metadata) and 9.1 (frame headers). No torch here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from mutagen.flac import StreamInfo
from mutagen.flac import error as FlacError

from w2v_core.data.containers.marks import AGAIN, JOINED, DamageError, Marks
from w2v_core.data.containers.tags import audio_end

STREAMINFO = b"\x00\x00\x00\x22"  # block type 0, 34 bytes; the first bit: the last block
RATES_HZ = dict(enumerate((88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000), 1))
RATES_HZ |= {9: 44_100, 10: 48_000, 11: 96_000}
CRC8 = tuple(range(256))
for _ in range(8):  # polynomial 0x07, a bit at a time
    CRC8 = tuple((value << 1 ^ (0x107 if value & 0x80 else 0)) for value in CRC8)
MAX_FRAME_BYTES = 1 << 20  # where STREAMINFO does not say
CRC16_PERIOD = 32_767  # of x modulo x^16 + x^15 + x^2 + 1
BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}


@dataclass(frozen=True, slots=True)
class _Frame:
    number: int
    """Of its first sample, or, where all blocks but the last are equal, of the frame."""
    counts_samples: bool
    num_samples: int
    rate_hz: int | None
    """None: as STREAMINFO says."""
    channels: int
    bits: int | None


def read_marks(data: bytes, *, start: int) -> Marks:
    """Return the sample count and the MD5 that the stream must decode to.

    Args:
        data: The file's bytes.
        start: Where ``fLaC`` stands.

    Raises:
        DamageError: no count, a joined stream, a STREAMINFO that contradicts the first frame, or
            frames that do not add up to the count, or go on behind it.
    """
    try:
        info = StreamInfo(data[start + 8 : start + 42])
    except FlacError as error:
        raise DamageError(f"damaged: its STREAMINFO cannot be read ({error}); {AGAIN}") from error
    if not info.total_samples:
        raise DamageError(
            "its header holds no sample count, so a cut would go unnoticed; encode it to a file "
            "that is not a pipe (flac -d FILE -o OUT.wav, then flac OUT.wav)"
        )
    frames_at = _frames_at(data, start + 4)
    if (joined := _joined_at(data, frames_at)) >= 0:
        raise DamageError(f"another FLAC is joined to it at byte {joined}; {JOINED}")
    _refuse_contradiction(info, _frame(data, frames_at))
    belongs = _belongs_to(info)
    last = _last_at(data, frames_at, info, belongs)
    _refuse_other_sum(data, info, belongs, frames_at, last)
    md5 = int(info.md5_signature)
    return Marks(
        num_samples=int(info.total_samples),
        bits=int(info.bits_per_sample),
        md5=md5.to_bytes(16, "big") if md5 else None,
    )


def _frames_at(data: bytes, position: int) -> int:
    """Return where the first frame stands, behind the metadata blocks."""
    is_last = False
    while not is_last and position + 4 <= len(data):
        is_last = bool(data[position] & 0x80)
        position += 4 + int.from_bytes(data[position + 1 : position + 4], "big")
    return position


def _joined_at(data: bytes, position: int) -> int:
    """Return where another stream's start stands, or -1."""
    while (position := data.find(b"fLaC", position)) >= 0:
        kind = data[position + 4 : position + 8]
        if len(kind) == 4 and bytes([kind[0] & 0x7F]) + kind[1:] == STREAMINFO:
            return position
        position += 4
    return -1


def _refuse_contradiction(info: StreamInfo, frame: _Frame | None) -> None:
    """The first frame has a checksum, STREAMINFO has none: a wrong rate would change the length."""
    if frame is None:
        raise DamageError(f"damaged: no frame stands behind its header; {AGAIN}")
    if not _belongs_to(info)(frame):
        raise DamageError(
            f"damaged: its header says {info.sample_rate} Hz, {info.channels} channels, "
            f"{info.bits_per_sample} bits, its first frame {frame.rate_hz} Hz, {frame.channels}, "
            f"{frame.bits}; {AGAIN}"
        )


def _belongs_to(info: StreamInfo) -> Callable[[_Frame | None], bool]:
    """Return whether a frame has the stream's rate, channels and bits."""

    def belongs(frame: _Frame | None) -> bool:
        return (
            frame is not None
            and frame.rate_hz in {None, info.sample_rate}
            and frame.channels == info.channels
            and frame.bits in {None, info.bits_per_sample}
        )

    return belongs


def _last_at(
    data: bytes, start: int, info: StreamInfo, belongs: Callable[[_Frame | None], bool]
) -> int:
    """Return where the frame stands that ends the file; its CRC-16 tells that it does.

    Raises:
        DamageError: something else stands behind the last frame, or the last frame is cut.
    """
    position = end = audio_end(data)
    earliest = max(start, end - (info.max_framesize or MAX_FRAME_BYTES))
    sync = data[start : start + 2]  # its last bit, how blocks are counted, never changes
    while (position := data.rfind(sync, earliest, position + 1)) >= 0:
        if belongs(_frame(data, position)) and _has_crc16(data[position:end]):
            return position
    raise DamageError(
        f"cut off, or something was joined to it: it does not end with a whole frame; {AGAIN}"
    )


def _refuse_other_sum(
    data: bytes,
    info: StreamInfo,
    belongs: Callable[[_Frame | None], bool],
    position: int,
    last: int,
) -> None:
    """Follow the frames by their numbers: the one that ends the file must complete the count."""
    sync, first, total, reached = data[position : position + 2], None, 0, position
    while position >= 0:
        frame = _frame(data, position)
        if frame is not None and belongs(frame):
            first = first or frame
            ahead = (frame.number - first.number) * (
                1 if frame.counts_samples else first.num_samples
            )
            if ahead == total:
                total, reached = total + frame.num_samples, position
        position = data.find(sync, position + 1)
    if total != info.total_samples:
        what = "cut off" if total < info.total_samples else "joined"
        raise DamageError(
            f"{what} or damaged: its header counts {info.total_samples} samples, its frames hold "
            f"{total}; {AGAIN}"
        )
    if reached != last:
        raise DamageError(
            f"frames of another recording stand behind the {total} samples that its header "
            f"counts; {JOINED}"
        )


def _frame(data: bytes, position: int) -> _Frame | None:
    """Read a frame's header; None where it is none, or its checksum is wrong."""
    head = data[position : position + 16]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code, bits_code = head[2] >> 4, head[2] & 15, head[3] >> 1 & 7
    channels = (head[3] >> 4) + 1 if head[3] >> 4 < 8 else 2
    ones = f"{head[4]:08b}".find("0")  # the coded number: its first byte's ones count its bytes
    at = 4 + max(1, ones)
    size_bytes, rate_bytes = {6: 1, 7: 2}.get(size_code, 0), {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    end = at + size_bytes + rate_bytes
    if not size_code or rate_code == 15 or head[3] >> 4 > 10 or end >= len(head):
        return None
    if ones in {-1, 1} or _crc8(head[:end]) != head[end]:
        return None
    extra = int.from_bytes(head[at : at + size_bytes], "big")
    rate = int.from_bytes(head[at + size_bytes : end], "big")
    scaled = {12: rate * 1000, 13: rate, 14: rate * 10}.get(rate_code)
    return _Frame(
        number=_number(head[4:at]),
        counts_samples=bool(head[1] & 1),
        num_samples=_block(size_code, extra),
        rate_hz=scaled if scaled is not None else RATES_HZ.get(rate_code),
        channels=channels,
        bits=BITS.get(bits_code),
    )


def _number(coded: bytes) -> int:
    """Decode a frame's number, which is coded as UTF-8 codes characters, in up to 7 bytes."""
    number = coded[0] & (0x7F if len(coded) == 1 else 0x7F >> len(coded))
    for byte in coded[1:]:
        number = number << 6 | byte & 0x3F
    return number


def _block(code: int, extra: int) -> int:
    if code in {6, 7}:
        return extra + 1
    if code >= 8:
        return int(1 << code)
    return 192 if code == 1 else int(144 << code)


def _crc8(data: bytes) -> int:
    """CRC-8 of RFC 9639: polynomial 0x07, from 0."""
    value = 0
    for byte in data:
        value = CRC8[value ^ byte]
    return value


@lru_cache(maxsize=1)
def _masks() -> npt.NDArray[np.uint8]:
    """Return which bits of a frame each bit of its CRC-16 adds up, from the frame's end on.

    (16, period) bytes: bit n of row r tells whether x^(16 + n) modulo 0x8005 has x^r.
    """
    value, powers = 0x8005, []
    for _ in range(CRC16_PERIOD):
        powers.append(value)
        value = (value << 1 ^ (0x18005 if value & 0x8000 else 0)) & 0xFFFF
    bits = np.tile(np.array(powers, np.uint16), 8)[:, np.newaxis] >> np.arange(16) & 1
    by_byte = bits.astype(np.uint8).reshape(CRC16_PERIOD, 8, 16)
    return np.ascontiguousarray(np.packbits(by_byte, axis=1, bitorder="little")[:, 0].T)


def _has_crc16(frame: bytes) -> bool:
    """Whether the CRC-16 of a frame (RFC 9639) with its own at the end is 0, as it must be.

    The CRC is linear, so each of its bits is the parity of those bits that it adds up.
    """
    row, masks = np.frombuffer(frame[::-1], np.uint8), _masks()
    sums = np.zeros(16, np.uint8)
    for at in range(0, len(row), CRC16_PERIOD):
        part = row[at : at + CRC16_PERIOD]
        sums ^= np.bitwise_xor.reduce(masks[:, : len(part)] & part, axis=1)
    return not np.any(np.unpackbits(sums[:, np.newaxis], axis=1).sum(axis=1) & 1)
