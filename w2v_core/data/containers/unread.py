"""What a file is that libsndfile does not open, and what helps. No torch here.

A download may leave a server's page, an archive or a video in the place of audio; a converter may
leave a codec that no container's name tells. The first bytes say which.
"""

from __future__ import annotations

from w2v_core.data.containers import DamageError, read_marks
from w2v_core.data.containers.tags import audio_start

CONVERT = "FLAC, WAV, MP3 and OGG are read, convert it (ffmpeg -i FILE OUT.flac)"
UNPACK = "unpack it, and name the audio in it"
OURS = {b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "WAV", b"fLaC": "FLAC", b"OggS": "OGG"}
AUDIO = (  # offset, signature, name
    (4, b"ftyp", "MP4 (M4A, AAC, ALAC)"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF (WMA)"),
    (0, b"#!AMR", "AMR"),
    (0, b"ADIF", "AAC"),
    (0, b"TTA1", "TTA"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"DSD ", "DSD"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"BW64", "BW64"),
    (8, b"AVI ", "AVI"),
    (0, b"NIST_1A", "NIST SPHERE with compressed samples (shorten)"),
)
ARCHIVES = (
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ", "xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"Rar!", "RAR"),
    (257, b"ustar", "tar"),
)
LAYERS = {0: "AAC (ADTS)", 2: "MPEG layer II", 3: "MPEG layer I"}  # bits 1 and 2 behind the sync


def unread(data: bytes, *, cause: str) -> DamageError:
    """Return the error of a file that libsndfile does not open.

    Args:
        data: The file's bytes.
        cause: What libsndfile says.
    """
    start = audio_start(data)
    head = data[start : start + 512]
    if name := _named(head, AUDIO) or _mpeg(head):
        return DamageError(f"the file is {name}; {CONVERT}")
    if container := OURS.get(head[:4]):
        try:
            if not read_marks(data, container=container, rate_hz=48_000).num_samples:
                return DamageError("it holds no samples; record or fetch it again")
        except DamageError as error:
            return error
    if name := _named(head, ARCHIVES):
        return DamageError(f"the file is a {name} archive; {UNPACK}")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"<", b"{"} and b"\0" not in head:
        return DamageError(
            "the file is a text (HTML, XML or JSON), which a server sends in the place of a file; "
            "look at it, log in where it asks for that, and fetch the audio again"
        )
    return DamageError(
        f"{len(data)} bytes that are not FLAC, WAV, MP3 or OGG audio, or are cut off or "
        f"damaged in the header ({cause}); fetch or convert it again"
    )


def _named(head: bytes, known: tuple[tuple[int, bytes, str], ...]) -> str:
    return next((name for at, mark, name in known if head[at:].startswith(mark)), "")


def _mpeg(head: bytes) -> str:
    """Name what starts as an MPEG frame does and is no MP3."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or head[1] == 0xFF:
        return ""
    return LAYERS.get(head[1] >> 1 & 3, "")
