"""Where tags end and audio starts, and the other way round. No torch here."""

from __future__ import annotations

ID3V1_BYTES = 128
APE_BYTES = 32  # APEv2's footer, which is as long as its header


def audio_start(data: bytes) -> int:
    """Return where the audio starts behind ID3v2 tags, which libsndfile skips in any container."""
    start = 0
    while data[start : start + 3] == b"ID3" and start + 10 <= len(data):
        size = 0
        for digit in data[start + 6 : start + 10]:  # 7 bits a byte
            size = size << 7 | digit & 0x7F
        start += 10 + size
    return start


def audio_end(data: bytes) -> int:
    """Return where the audio ends before an ID3v1 or APEv2 tag."""
    end = len(data)
    if data[end - ID3V1_BYTES : end - ID3V1_BYTES + 3] == b"TAG":
        end -= ID3V1_BYTES
    footer = data[max(0, end - APE_BYTES) : end]
    if footer.startswith(b"APETAGEX") and len(footer) == APE_BYTES:
        has_header = bool(footer[23] & 0x80)
        end -= int.from_bytes(footer[12:16], "little") + APE_BYTES * has_header
    return end
