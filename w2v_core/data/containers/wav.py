"""WAV, WAVEX and RF64: every byte belongs to a chunk. No torch here.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, ``fmt``, ``fact``);
EBU Tech 3306 (RF64 and ``ds64``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from w2v_core.data.containers.marks import AGAIN, JOINED, DamageError

MAGIC = (b"RIFF", b"RIFX", b"RF64")
IN_DS64 = 0xFFFF_FFFF  # RF64: the size stands in the ds64 chunk
NEVER_WRITTEN = 0x7FFF_0000  # sox, arecord, ffmpeg leave 2 to 4 GiB in the header of a pipe's WAV
UNWRITTEN = (
    "its length was never written (a WAV from a pipe), so a cut would go unnoticed; write it to a "
    "file that is not a pipe (ffmpeg -i FILE OUT.wav)"
)
PCM, FLOAT, ALAW, ULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE  # wFormatTag
IN_BLOCKS = frozenset({0x02, 0x11, 0x31})  # MS and IMA ADPCM, GSM 6.10: fmt gives a block's samples
USUAL_RATES_HZ = frozenset(
    {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000}
)
CONVERT = "convert it (ffmpeg -i FILE OUT.wav)"


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    start: int
    """Where the body starts."""
    size: int


def count_samples(data: bytes, *, start: int) -> int:
    """Count the samples per channel that the data chunk holds.

    Args:
        data: The file's bytes.
        start: Where ``RIFF`` stands.

    Raises:
        DamageError: bytes that no chunk explains, a size beyond the file or never written, two
            data chunks, a ``fmt`` that contradicts itself, or a codec whose count nothing proves.
    """
    order = ">" if data[start : start + 4] == b"RIFX" else "<"
    chunks: dict[bytes, _Chunk] = {}
    for chunk in _walk(data, start=start, order=order):
        if chunk.kind in chunks and chunk.kind in {b"data", b"fmt ", b"fact"}:
            raise DamageError(f"it holds two {_shown(chunk.kind)} chunks; {JOINED}")
        chunks[chunk.kind] = chunk
    if b"fmt " not in chunks or b"data" not in chunks:
        raise DamageError(f"it lacks its fmt or data chunk; {AGAIN}")
    layout = chunks[b"fmt "]
    return _samples(data[layout.start : layout.start + layout.size], data, chunks, order)


def _walk(data: bytes, *, start: int, order: str) -> Iterator[_Chunk]:
    """Yield the chunks; what stands behind the last must be another, or nothing."""
    if data[start : start + 4] not in MAGIC or data[start + 8 : start + 12] != b"WAVE":
        raise DamageError(f"it does not start with RIFF and WAVE; {AGAIN}")
    is_rf64 = data[start : start + 4] == b"RF64"
    position, size64, has_data = start + 12, None, False
    while position < len(data):
        kind, rest = data[position : position + 4], len(data) - position - 8
        if kind in MAGIC:
            raise DamageError(f"another WAV is joined to it at byte {position}; {JOINED}")
        if rest < 0 or not all(0x20 <= byte < 0x7F for byte in kind):
            raise _stray(data, position, has_data=has_data)
        size = int(struct.unpack_from(f"{order}I", data, position + 4)[0])
        if kind == b"ds64" and is_rf64 and rest >= 16:
            size64 = int(struct.unpack_from("<Q", data, position + 16)[0])
        if kind == b"data":
            has_data = True
            size = _data_size(size, size64 if is_rf64 else None, rest)
        if size > rest:
            raise DamageError(
                f"cut off: its {_shown(kind)} chunk has {size} bytes, {rest} are there; {AGAIN}"
            )
        yield _Chunk(kind, position + 8, size)
        position += 8 + size
        if size % 2 and data[position : position + 1] == b"\0":
            position += 1


def _data_size(size: int, size64: int | None, rest: int) -> int:
    """Return the data chunk's size; of RF64 the one in ds64."""
    if size64 is not None and size == IN_DS64:
        size = size64
    if size > rest and size >= NEVER_WRITTEN and (size64 is None or size >= IN_DS64):
        raise DamageError(UNWRITTEN)
    if size == 0 and rest:
        raise DamageError(UNWRITTEN)
    return size


def _stray(data: bytes, position: int, *, has_data: bool) -> DamageError:
    where = "behind its data" if has_data else "in its header"
    return DamageError(
        f"{len(data) - position} bytes {where} (from byte {position}) belong to no chunk: its "
        f"sizes are wrong or something was joined to it; {AGAIN}"
    )


def _samples(layout: bytes, data: bytes, chunks: dict[bytes, _Chunk], order: str) -> int:
    if len(layout) < 16:
        raise DamageError(f"its fmt chunk has {len(layout)} bytes, at least 16 belong; {AGAIN}")
    tag, channels, rate_hz, byte_rate, align, bits = struct.unpack_from(f"{order}HHIIHH", layout)
    if tag == EXTENSIBLE and len(layout) >= 26:  # the codec stands in the sub-format's GUID
        tag = int(struct.unpack_from(f"{order}H", layout, 24)[0])
    size = chunks[b"data"].size
    if tag not in {PCM, FLOAT, ALAW, ULAW, *IN_BLOCKS}:
        raise DamageError(f"its codec ({tag:#06x}) is not read; {CONVERT}")
    if tag in IN_BLOCKS:
        block = struct.unpack_from(f"{order}H", layout, 18)[0] if len(layout) >= 20 else 0
        off = abs(byte_rate * block - rate_hz * align)
        if rate_hz not in USUAL_RATES_HZ or not block or off > 0.01 * rate_hz * align:
            raise DamageError(
                f"its codec ({tag:#06x}) has {rate_hz} Hz, but {block} samples in {align} bytes "
                f"and {byte_rate} bytes a second; {AGAIN}, or {CONVERT}"
            )
        return _fact(data, chunks.get(b"fact"), tag, order)
    whole = channels * ((bits + 7) // 8)
    if align != whole or not align or byte_rate != rate_hz * align:
        raise DamageError(
            f"its header contradicts itself ({channels} channels of {bits} bits at {rate_hz} Hz, "
            f"but {align} bytes a sample and {byte_rate} bytes a second); {AGAIN}, or {CONVERT}"
        )
    if size % align:
        raise DamageError(f"cut off: {size} bytes of data are no multiple of {align}; {AGAIN}")
    return int(size // align)


def _fact(data: bytes, fact: _Chunk | None, tag: int, order: str) -> int:
    """Return the count that a compressed WAV gives; the decoder's has to be the same."""
    if fact is None or fact.size < 4:
        raise DamageError(f"its codec ({tag:#06x}) is given no sample count; {CONVERT}")
    return int(struct.unpack_from(f"{order}I", data, fact.start)[0])


def _shown(kind: bytes) -> str:
    return kind.decode("ascii").strip()
