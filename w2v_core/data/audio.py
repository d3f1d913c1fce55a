"""Audio files -> 16 kHz mono float32 waveforms, checked and normalised. No torch here.

A file that was cut off must never pass as a shorter utterance. What tells, by container:

* FLAC: the stream's header holds the sample count, and a cut frame does not decode. A header
  without the count (an encoder that wrote to a pipe) is refused.
* WAV: libsndfile silently shortens the data chunk, so its size is compared with the file's.
* OGG: the last page must be whole and marked as the end of its stream.
* MP3: the Xing or Info header (LAME, ffmpeg and libsndfile write one) holds the frame count. A
  file without one is refused: libsndfile guesses its length from the first frame's bit rate and
  stops there, which halves a whole file as easily as it hides a cut.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from w2v_core.errors import AudioError
from w2v_core.types import SAMPLE_RATE_HZ, Utterance, Waveform

__all__ = [
    "AUDIO_SUFFIXES",
    "check",
    "decode",
    "duration_s",
    "normalise",
    "scaled",
]

AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".ogg")
CONTAINERS = frozenset({"FLAC", "WAV", "WAVEX", "RF64", "MP3", "OGG"})  # libsndfile's names
MAX_AMPLITUDE = 1e9  # its square still fits float32, so the variance stays finite
BLOCK_FRAMES = 1 << 20
UNKNOWN_FRAMES = 1 << 62  # libsndfile gives 2**63 - 1 where a FLAC header holds no count
CHUNK_TO_END = 0xFFFF_FFFF  # the data size that streaming WAV writers leave in the header
OGG_HEADER_BYTES = 27  # RFC 3533, section 6
OGG_END_OF_STREAM = 0x04
AGAIN = "fetch it again"


def decode(source: Path | str | bytes, *, name: str, max_audio_s: float | None = None) -> Waveform:
    """Decode a whole FLAC, WAV, MP3 or OGG file; blocks on disk and processor.

    Channels are averaged, then resampled to 16 kHz (soxr, HQ) where the rate differs.

    Args:
        source: A path, or the file's bytes.
        name: What an error calls the audio.
        max_audio_s: Refuse longer audio before decoding it.

    Returns:
        (S,) float32, C-contiguous, not normalised.

    Raises:
        AudioError: the file is missing, empty, not audio, cut off, longer than ``max_audio_s`` or
            holds NaN or infinity; names the audio and the remedy.
    """
    data = _read(source, name=name)
    with _open(data, name=name) as file:
        audio_s = file.frames / file.samplerate
        if max_audio_s is not None and audio_s > max_audio_s:
            raise AudioError(
                f"{name}: {audio_s:.1f} s of audio is more than {max_audio_s:g} s; "
                "cut it into utterances or raise the limit"
            )
        rate_hz = int(file.samplerate)
        frames = _read_frames(file, name=name)
    mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
    _refuse_bad_samples(mono, name=name)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def duration_s(source: Path | str | bytes, *, name: str) -> float:
    """Read the duration from the header without decoding.

    Raises:
        AudioError: as ``decode``, but for what only decoding shows.
    """
    with _open(_read(source, name=name), name=name) as file:
        return int(file.frames) / int(file.samplerate)


def check(utterance: Utterance) -> None:
    """Refuse a waveform that the engine cannot take; silence and shortness are fine.

    Raises:
        AudioError: not (S,) float32, no sample, or a sample that is NaN, infinite or above 1e9;
            names the utterance and the first such sample.
    """
    _refuse_bad_shape(utterance)
    _refuse_bad_samples(utterance.waveform, name=utterance.utterance_id)


def normalise(waveform: Waveform) -> Waveform:
    """Scale to zero mean and unit variance over all samples.

    What ``Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm`` of transformers computes, to float32
    rounding.

    Args:
        waveform: (S,) float32, S >= 1, finite.

    Returns:
        (S,) float32, a new array.
    """
    row: Waveform = np.empty_like(waveform)
    scaled(Utterance(utterance_id="waveform", waveform=waveform)).write_to(row)
    return row


def scaled(utterance: Utterance) -> Utterance:
    """Return the utterance with the scaling that normalises it; unchanged where it already is.

    Staging applies the scaling, which saves an array and a pass over it.

    Raises:
        AudioError: as ``check``.
    """
    if utterance.normalised:
        check(utterance)
        return utterance
    _refuse_bad_shape(utterance)
    mean, power = _moments(utterance.waveform)
    if not power * utterance.num_samples <= MAX_AMPLITUDE**2:  # NaN too
        _refuse_bad_samples(utterance.waveform, name=utterance.utterance_id)
    return replace(utterance, scaling=_scaling(utterance.waveform, mean, power))


def _scaling(waveform: Waveform, mean: float, power: float) -> tuple[float, float]:
    """Return the mean and the factor that normalise a waveform of these moments.

    Where a constant outweighs the signal the variance would cancel, and the constant is taken off
    first. 1e-7 keeps silence finite.
    """
    variance = power - mean**2
    if variance < mean**2:
        rest, power = _moments(waveform - np.float32(mean))
        mean, variance = float(np.float32(mean)) + rest, max(power - rest**2, 0.0)
    return mean, 1.0 / math.sqrt(variance + 1e-7)


def _moments(waveform: Waveform) -> tuple[float, float]:
    """Return the mean and the mean square of (S,)."""
    total, square = np.add.reduce(waveform), np.dot(waveform, waveform)
    return float(total) / waveform.size, float(square) / waveform.size


def _refuse_bad_shape(utterance: Utterance) -> None:
    waveform, name = utterance.waveform, utterance.utterance_id
    if waveform.ndim != 1 or waveform.dtype != np.float32:
        raise AudioError(
            f"{name}: waveform is {waveform.dtype} of shape {waveform.shape}; "
            "it must be float32 of shape (S,), mono"
        )
    _refuse_empty(waveform, name=name)


def _read(source: Path | str | bytes, *, name: str) -> bytes:
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file; check the path or fetch it again") from error
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror}); check it") from error
    if not data:
        raise AudioError(f"{name}: the file is empty (0 bytes); fetch it again")
    return data


def _open(data: bytes, *, name: str) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{name}: {len(data)} bytes that are not FLAC, WAV, MP3 or OGG audio, or are cut off "
            f"in the header ({error.error_string}); fetch or convert it again"
        ) from error
    if file.format not in CONTAINERS:
        raise AudioError(
            f"{name}: the file is {file.format_info}; FLAC, WAV, MP3 and OGG are read, convert it"
        )
    if file.frames >= UNKNOWN_FRAMES or (file.format == "MP3" and not _mp3_has_count(data)):
        raise AudioError(
            f"{name}: the header holds no sample count, so a cut would go unnoticed; re-encode it"
        )
    if file.format in ("WAV", "WAVEX") and (missing := _wav_missing_bytes(data)):
        raise AudioError(f"{name}: cut off, {missing} bytes of the data chunk are missing; {AGAIN}")
    if file.format == "OGG" and not _ogg_is_whole(data):
        raise AudioError(f"{name}: cut off, the last OGG page does not end the stream; {AGAIN}")
    return file


def _read_frames(file: soundfile.SoundFile, *, name: str) -> npt.NDArray[np.float32]:
    """Read (frames, channels) in blocks: a header's wrong count allocates no more than a block."""
    blocks: list[npt.NDArray[np.float32]] = []
    try:
        while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
            blocks.append(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{name}: damaged or cut off, decoding stopped ({error.error_string}); {AGAIN}"
        ) from error
    got, expected = sum(map(len, blocks)), int(file.frames)
    if got < expected:
        raise AudioError(f"{name}: cut off, {got} of {expected} samples decode; {AGAIN}")
    if not got:
        raise AudioError(f"{name}: the file holds no samples; record or fetch it again")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _refuse_empty(samples: npt.NDArray[np.float32], *, name: str) -> None:
    if not samples.size:
        raise AudioError(f"{name}: the waveform is empty; at least one sample is needed")


def _refuse_bad_samples(samples: npt.NDArray[np.float32], *, name: str) -> None:
    _refuse_empty(samples, name=name)
    if samples.dot(samples) <= MAX_AMPLITUDE**2:  # then every square is; False for NaN too
        return
    fine = np.abs(samples) <= MAX_AMPLITUDE
    if not fine.all():
        first = int(np.argmin(fine))
        raise AudioError(
            f"{name}: sample {first} is {samples[first]} ({np.count_nonzero(~fine)} such); "
            f"samples must be finite and within {MAX_AMPLITUDE:g}; repair or leave out the audio"
        )


def _wav_missing_bytes(data: bytes) -> int:
    """Count the bytes that the data chunk claims past the file's end (RIFF: id, size, body)."""
    position = 12  # "RIFF", size, "WAVE"
    order = ">" if data[:4] == b"RIFX" else "<"
    while position + 8 <= len(data):
        chunk, size = data[position : position + 4], data[position + 4 : position + 8]
        num_bytes = int(struct.unpack(f"{order}I", size)[0])
        if chunk == b"data":
            claimed = 0 if num_bytes == CHUNK_TO_END else num_bytes
            return max(0, position + 8 + claimed - len(data))
        position += 8 + num_bytes + num_bytes % 2
    return 0


def _mp3_has_count(data: bytes) -> bool:
    """Whether the first frame is a Xing, Info or VBRI header that holds the frame count."""
    start = 0
    if data[:3] == b"ID3":  # ID3v2: ten bytes, the last four the body's size in 7-bit digits
        for digit in data[6:10]:
            start = start << 7 | digit
        start += 10
    first = data[start : start + 512]  # the tag starts 13 to 36 bytes into the frame
    if b"VBRI" in first:
        return True
    tag = max(first.find(b"Xing"), first.find(b"Info"))
    flags = int.from_bytes(first[tag + 4 : tag + 8], "big")
    return tag >= 0 and bool(flags & 1)  # bit 0: the frame count follows


def _ogg_is_whole(data: bytes) -> bool:
    """Whether the last page is complete and carries the end-of-stream flag."""
    start = data.rfind(b"OggS")
    if start < 0 or start + OGG_HEADER_BYTES > len(data):
        return False
    num_segments = data[start + 26]
    lengths = data[start + OGG_HEADER_BYTES : start + OGG_HEADER_BYTES + num_segments]
    end = start + OGG_HEADER_BYTES + num_segments + sum(lengths)
    return bool(data[start + 5] & OGG_END_OF_STREAM) and end <= len(data)
