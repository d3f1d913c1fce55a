"""OGG (Vorbis, Opus): one stream, every page whole, in its place and with its checksum.

Sources: RFC 3533 (pages), Vorbis I section A.2 and RFC 7845 section 4 (granule positions). The
pages are read by mutagen. No torch here.
"""

from __future__ import annotations

import io

from mutagen.ogg import OggPage
from mutagen.ogg import error as OggError

from w2v_core.data.containers.marks import AGAIN, JOINED, DamageError

OPUS_RATE_HZ = 48_000  # granule positions of Opus count at 48 kHz, whatever was encoded
OPUS_PRE_SKIP = slice(10, 12)


def count_samples(data: bytes, *, rate_hz: int) -> int:
    """Count the samples per channel from the last granule position, once every page is sound.

    Args:
        data: The file's bytes.
        rate_hz: The rate that it is decoded to.

    Raises:
        DamageError: a page damaged, missing, out of place or cut off; several streams; no codec
            that is read.
    """
    first = last = None
    file, index = io.BytesIO(data), 0
    while file.tell() < len(data):
        page = _page(file, data, index)
        if first is None:
            first = page
        _refuse_misplaced(page, index, first=first, previous=last)
        last, index = page, index + 1
    if first is None or last is None:
        raise DamageError(f"it holds no OGG page; {AGAIN}")
    if not last.last or not last.complete:
        raise DamageError(f"cut off: the last OGG page does not end the stream; {AGAIN}")
    return _samples(first, last, rate_hz=rate_hz)


def _page(file: io.BytesIO, data: bytes, index: int) -> OggPage:
    start = file.tell()
    try:
        page = OggPage(file)
    except (OggError, EOFError) as error:
        raise DamageError(
            f"damaged or cut off: OGG page {index} (byte {start}) cannot be read; {AGAIN}"
        ) from error
    if page.write() != data[start : file.tell()]:  # computes the checksum anew
        raise DamageError(f"damaged: the checksum of OGG page {index} is wrong; {AGAIN}")
    return page


def _refuse_misplaced(
    page: OggPage, index: int, *, first: OggPage, previous: OggPage | None
) -> None:
    if page.first != (previous is None) or page.serial != first.serial:
        kind = "chained" if previous is not None and previous.last else "multiplexed"
        raise DamageError(
            f"several OGG streams are {kind} (page {index} starts or continues another), of which "
            f"only one would be read; write one stream (ffmpeg -i FILE OUT.flac)"
        )
    if previous is None:
        return
    if previous.last:
        raise DamageError(f"OGG page {index} stands behind the end of the stream; {JOINED}")
    if page.sequence != previous.sequence + 1:
        raise DamageError(
            f"damaged: OGG page {index} has number {page.sequence}, {previous.sequence + 1} "
            f"belongs; {AGAIN}"
        )


def _samples(first: OggPage, last: OggPage, *, rate_hz: int) -> int:
    head = first.packets[0] if first.packets else b""
    if head.startswith(b"OpusHead") and len(head) >= OPUS_PRE_SKIP.stop:
        count = last.position - int.from_bytes(head[OPUS_PRE_SKIP], "little")
        return int(count) * rate_hz // OPUS_RATE_HZ
    if head.startswith(b"\x01vorbis"):
        return int(last.position)
    raise DamageError(
        "the OGG stream is neither Vorbis nor Opus; convert it (ffmpeg -i FILE OUT.flac)"
    )
