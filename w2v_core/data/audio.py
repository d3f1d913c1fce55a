"""Audio files -> 16 kHz mono float32 waveforms, checked and normalised. No torch here.

``data/containers`` decides whether a file is whole, ``data/plausibility`` what is odd about what
it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from w2v_core.data.containers import DamageError, read_marks
from w2v_core.data.containers.decoder import open_file, read_frames
from w2v_core.data.plausibility import mix, refuse_rate, remarks
from w2v_core.errors import LFS_REMEDY, AudioError, AudioTooLongError, is_lfs_pointer
from w2v_core.types import SAMPLE_RATE_HZ, Utterance, Waveform

AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".ogg", ".opus", ".oga", ".wave")
UNREAD_SUFFIXES = (
    *(".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".awb"),
    *(".caf", ".gsm", ".m4a", ".mka", ".mkv", ".mov", ".mp2", ".mp4", ".snd", ".sph", ".spx"),
    *(".tta", ".voc", ".w64", ".webm", ".wma", ".wv"),
)
"""Of audio that is not read: what lies in a folder of audio is refused by its name, not missed."""
MAX_AMPLITUDE = 1e9  # its square still fits float32, so the variance stays finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A decoded recording, and what a reader of its transcript should know."""

    waveform: Waveform = field(repr=False)
    """(S,) float32, mono, 16 kHz, C-contiguous, not normalised; S >= 1."""
    notes: tuple[str, ...] = ()
    """What is odd about it, as ``data/plausibility`` words it."""


def decode(source: Path | str | bytes, *, name: str, max_audio_s: float | None = None) -> Waveform:
    """Decode a whole file as ``read_audio`` does, without its notes."""
    return read_audio(source, name=name, max_audio_s=max_audio_s).waveform


def read_audio(
    source: Path | str | bytes,
    *,
    name: str,
    max_audio_s: float | None = None,
    duration_s: float | None = None,
) -> Audio:
    """Decode a whole FLAC, WAV, MP3 or OGG file; blocks on disk and processor.

    Channels are averaged, then resampled to 16 kHz (soxr, HQ) where the rate differs. All samples
    that the container's own marks prove are decoded, or the file is refused.

    Args:
        source: A path, or the file's bytes.
        name: What an error calls the audio.
        max_audio_s: Refuse longer audio. It is decoded to its end all the same, a block at a time:
            a header's count alone proves no length.
        duration_s: What a manifest says of the whole file; proves an MP3 without a frame count.

    Raises:
        AudioTooLongError: whole, and longer than ``max_audio_s``.
        AudioError: the file is missing, empty, not audio, cut off, joined or damaged, at a rate
            that no speech is recorded at, holds NaN or infinity, channels that cancel, or no
            sample at 16 kHz; names the audio, the cause and the remedy.
    """
    data = _read(source, name=name)
    try:
        with open_file(data) as file:
            rate_hz = int(file.samplerate)
            refuse_rate(rate_hz, name=name)
            marks = read_marks(data, container=file.format, rate_hz=rate_hz, duration_s=duration_s)
            limit = None if max_audio_s is None else int(max_audio_s * rate_hz)
            frames = read_frames(file, marks, keep=limit)
    except DamageError as error:
        raise AudioError(f"{name}: {error}") from error
    if max_audio_s is not None and marks.num_samples > max_audio_s * rate_hz:
        raise AudioTooLongError(
            f"{name}: {marks.num_samples / rate_hz:.1f} s of audio is more than {max_audio_s:g} s; "
            "cut it into utterances or raise the limit",
            audio_s=marks.num_samples / rate_hz,
        )
    return _mono(frames, rate_hz=rate_hz, name=name)


def _mono(frames: npt.NDArray[np.float32], *, rate_hz: int, name: str) -> Audio:
    """Turn (S, channels) at any rate into (S,) at 16 kHz, and say what is odd about it."""
    for channel in frames.T:
        _refuse_bad_samples(channel, name=name)
    mono = mix(frames, name=name)
    notes = remarks(frames, mono, rate_hz=rate_hz)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    if not mono.size:
        raise AudioError(
            f"{name}: {len(frames)} samples at {rate_hz} Hz are no sample at {SAMPLE_RATE_HZ} Hz; "
            "leave the file out or record it again"
        )
    return Audio(waveform=np.ascontiguousarray(mono, dtype=np.float32), notes=notes)


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
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for NaN and infinity
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
        data = source if isinstance(source, bytes) else _read_regular(Path(source), name=name)
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file; check the path or fetch it again") from error
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror}); check it") from error
    if not data:
        raise AudioError(f"{name}: the file is empty (0 bytes); fetch it again")
    if is_lfs_pointer(data):
        raise AudioError(f"{name} {LFS_REMEDY}")
    return data


def _read_regular(path: Path, *, name: str) -> bytes:
    """Read a regular file: a FIFO waits for ever, a device never ends."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise AudioError(f"{name}: a device or pipe is no audio file; write it to a file first")
    return path.read_bytes()


def _refuse_empty(samples: npt.NDArray[np.float32], *, name: str) -> None:
    if not samples.size:
        raise AudioError(f"{name}: the waveform is empty; at least one sample is needed")


def _refuse_bad_samples(samples: npt.NDArray[np.float32], *, name: str) -> None:
    _refuse_empty(samples, name=name)
    with np.errstate(over="ignore", invalid="ignore"):  # numpy 2.5 warns of both in dot
        if samples.dot(samples) <= MAX_AMPLITUDE**2:  # then every square is; False for NaN too
            return
    fine = np.abs(samples) <= MAX_AMPLITUDE
    if not fine.all():
        first = int(np.argmin(fine))
        raise AudioError(
            f"{name}: sample {first} is {samples[first]} ({np.count_nonzero(~fine)} such); "
            f"samples must be finite and within {MAX_AMPLITUDE:g}; repair or leave out the audio"
        )
