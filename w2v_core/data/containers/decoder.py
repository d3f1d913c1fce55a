"""libsndfile's decoder, held to what a container's marks prove. No torch here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from w2v_core.data.containers.marks import AGAIN, DamageError, Marks
from w2v_core.data.containers.unread import CONVERT, unread

CONTAINERS = frozenset({"FLAC", "WAV", "WAVEX", "RF64", "MP3", "OGG"})  # libsndfile's names
BLOCK_VALUES = 1 << 20  # samples over all channels that are read at once

Integers = npt.NDArray[np.int16] | npt.NDArray[np.int32]


class _Forwards(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """soundfile seeks after each read, which fails where a header counts too many samples."""

    def seekable(self) -> bool:
        """Return False, so that nothing seeks."""
        return False


def open_file(data: bytes) -> soundfile.SoundFile:
    """Open a file that is held in memory.

    Raises:
        DamageError: no audio, or of a container that is not read.
    """
    try:
        file = _Forwards(io.BytesIO(data))
    except soundfile.SoundFileError as error:
        raise unread(data, cause=cause(error)) from error
    if file.format not in CONTAINERS:
        file.close()
        raise DamageError(f"the file is {file.format_info}; {CONVERT}")
    return file


def read_frames(
    file: soundfile.SoundFile, marks: Marks, *, keep: int | None
) -> npt.NDArray[np.float32]:
    """Decode to the end, a block at a time: a wrong count allocates no more than a block.

    Args:
        file: An open file at its start.
        marks: What it has to decode to.
        keep: Samples per channel above which nothing is kept; all are kept where None.

    Returns:
        (S, channels) float32; incomplete where ``keep`` is exceeded.

    Raises:
        DamageError: other samples, or another number of them, than the marks prove; or none.
    """
    dtype = "float32" if marks.md5 is None else "int16" if marks.bits == 16 else "int32"
    blocks: list[npt.NDArray[np.float32]] = []
    digest, decoded = hashlib.md5(usedforsecurity=False), 0
    block_frames = max(1, BLOCK_VALUES // file.channels)
    for block in _blocks(file, block_frames, dtype):
        decoded += len(block)
        if marks.md5 is not None:
            digest.update(packed(block, bits=marks.bits or 16).data)
        if keep is None or decoded <= keep:
            blocks.append(_as_float(block))
    if decoded != marks.num_samples:
        what = "cut off or damaged" if decoded < marks.num_samples else "padded or damaged"
        raise DamageError(
            f"{what}: {decoded} samples decode, {marks.num_samples} belong; "
            f"{AGAIN}, or convert it (ffmpeg -i FILE OUT.flac)"
        )
    if marks.md5 not in {None, digest.digest()}:
        raise DamageError(f"damaged: its samples have another MD5 than its header gives; {AGAIN}")
    if not decoded:
        raise DamageError("it holds no samples; record or fetch it again")
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0] if blocks else _nothing(file)


def packed(samples: Integers, *, bits: int) -> npt.NDArray[np.generic]:
    """Lay samples out as FLAC's MD5 takes them: little-endian, whole bytes, interleaved.

    Args:
        samples: (S, channels) int16 for 16 bits; else int32, left-justified as libsndfile reads.
        bits: Bits per sample of the stream, 4 to 32.
    """
    if samples.dtype == np.int16:
        return np.ascontiguousarray(samples, dtype="<i2")
    whole = (samples >> (32 - bits)).astype("<i4").reshape(-1, 1).view(np.uint8)
    return np.ascontiguousarray(whole[:, : (bits + 7) // 8])


def cause(error: soundfile.SoundFileError) -> str:
    """Return what libsndfile says, without the object's address in this process."""
    return str(getattr(error, "error_string", error))


def _blocks(file: soundfile.SoundFile, block_frames: int, dtype: str) -> Iterator[Any]:
    left = file.frames  # libsndfile never gives more
    try:
        while left > 0:
            block = file.read(min(block_frames, left), dtype=dtype, always_2d=True)
            if not len(block):
                return
            left -= len(block)
            yield block
    except (soundfile.SoundFileError, ValueError) as error:
        raise DamageError(
            f"damaged or cut off, decoding stopped ({cause(error)}); {AGAIN}"
        ) from error


def _as_float(
    block: Integers | npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Scale integers to [-1, 1): exact for up to 24 bits, and what libsndfile gives."""
    if block.dtype == np.float32:
        return block.astype(np.float32, copy=False)
    step = np.float32(1 / 2**15 if block.dtype == np.int16 else 1 / 2**31)
    scaled = block.astype(np.float32)
    scaled *= step
    return scaled


def _nothing(file: soundfile.SoundFile) -> npt.NDArray[np.float32]:
    return np.zeros((0, file.channels), np.float32)
