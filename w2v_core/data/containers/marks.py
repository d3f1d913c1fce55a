"""What a container's marks prove, and what is wrong with them. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

AGAIN = "fetch it again"
JOINED = "join the recordings as audio (sox A B OUT), or split the file"


class DamageError(ValueError):
    """What is wrong with a container and what helps, without the file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What a container's own marks prove of its samples."""

    num_samples: int
    """Samples per channel at the file's rate."""
    bits: int | None = None
    """Bits per sample of a stream that must be read as integers for its MD5; None elsewhere."""
    md5: bytes | None = None
    """MD5 over the interleaved little-endian samples; None where the file gives none."""
