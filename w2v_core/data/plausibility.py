"""Audio that decodes and still is hardly speech: what is refused, and what gets a word.

Refused, because nothing that could be transcribed is left: a rate below 4 kHz or above 768 kHz
(a damaged header), channels that cancel almost wholly when they are averaged. Noted, because the
recording may be meant so: silence, samples at full scale, a constant that outweighs the signal,
levels beyond full scale, channels that cancel in part, rates below 16 kHz or above 192 kHz.
A note's first words, up to the colon, are its kind. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from w2v_core.errors import AudioError
from w2v_core.types import SAMPLE_RATE_HZ, Utterance, Waveform

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 768_000
USUAL_MAX_RATE_HZ = 192_000
CANCELLED, MOSTLY_CANCELLED = 1e-4, 0.1  # of the power that the mean of unrelated channels has
SILENT_RMS = 1e-4  # 3 steps of 16 bits; LibriSpeech's quietest utterances have 50 times that
FULL_SCALE, CLIPPED_SHARE = 0.99, 0.01
MIN_OFFSET = 1e-3
MAX_NAMED = 3
ONE_CHANNEL = 'keep one channel (ffmpeg -i FILE -af "pan=mono|c0=c0" OUT.wav)'


def refuse_rate(rate_hz: int, *, name: str) -> None:
    """Refuse a sample rate that no speech is recorded at.

    Raises:
        AudioError: below 4 kHz or above 768 kHz.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"{name}: a sample rate of {rate_hz} Hz; speech is read at {MIN_RATE_HZ} to "
            f"{MAX_RATE_HZ} Hz: the header is damaged, or the file must be recorded again"
        )


def mix(frames: npt.NDArray[np.float32], *, name: str) -> Waveform:
    """Average the channels of (S, channels) to (S,) float32.

    Raises:
        AudioError: the channels cancel: their mean has under 1e-4 of the power that it would have
            if they were unrelated.
    """
    if frames.shape[1] == 1:
        return frames[:, 0]
    mono: Waveform = frames.mean(axis=1, dtype=np.float32)
    if _kept(frames, mono) < CANCELLED:
        raise AudioError(
            f"{name}: its {frames.shape[1]} channels cancel (opposite phase), their mean is "
            f"silent; {ONE_CHANNEL}"
        )
    return mono


def remarks(frames: npt.NDArray[np.float32], mono: Waveform, *, rate_hz: int) -> tuple[str, ...]:
    """Say what is odd about a recording.

    Args:
        frames: (S, channels) at ``rate_hz``, finite.
        mono: (S,), their mean.
        rate_hz: The file's own rate.
    """
    found = [_rate(rate_hz), _cancelled(frames, mono), *_levels(mono)]
    return tuple(note for note in found if note)


def summarise(utterances: Iterable[Utterance]) -> tuple[str, ...]:
    """Join the notes of a corpus: a line for each kind, with its count and the first ids."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for utterance in utterances:
        for note in utterance.notes:
            kind, _, detail = note.partition(": ")
            kinds.setdefault(kind, []).append((utterance.utterance_id, detail))
    lines = []
    for kind, members in sorted(kinds.items()):
        ids = ", ".join(name for name, _ in members[:MAX_NAMED])
        ids += f" and {len(members) - MAX_NAMED} more" if len(members) > MAX_NAMED else ""
        noun = "utterance" if len(members) == 1 else "utterances"
        lines.append(f"{kind}: {len(members)} {noun} ({ids}); the first: {members[0][1]}")
    return tuple(lines)


def _kept(frames: npt.NDArray[np.float32], mono: Waveform) -> float:
    """Return the mean's power over what it would have if the channels were unrelated."""
    unrelated = float(frames.var(axis=0, dtype=np.float64).mean()) / frames.shape[1]
    if unrelated <= SILENT_RMS**2:
        return 1.0
    return float(mono.var(dtype=np.float64)) / unrelated


def _cancelled(frames: npt.NDArray[np.float32], mono: Waveform) -> str:
    if frames.shape[1] == 1 or (kept := _kept(frames, mono)) >= MOSTLY_CANCELLED:
        return ""
    return (
        f"channels cancel: their mean keeps {kept:.1%} of the power of unrelated channels; "
        f"{ONE_CHANNEL}"
    )


def _rate(rate_hz: int) -> str:
    if rate_hz < SAMPLE_RATE_HZ:
        return (
            f"low sample rate: {rate_hz} Hz holds nothing above {rate_hz / 2000:g} kHz, where "
            "models of 16 kHz speech listen too; expect a higher WER"
        )
    if rate_hz > USUAL_MAX_RATE_HZ:
        return f"unusual sample rate: {rate_hz} Hz; check the header if it sounds too fast"
    return ""


def _levels(mono: Waveform) -> list[str]:
    """Return notes on the level; two passes over the samples, a third where they are loud."""
    with np.errstate(over="ignore"):  # samples within 1e9 may overflow, and are noted
        mean = float(np.add.reduce(mono)) / mono.size
        power = float(np.dot(mono, mono)) / mono.size
    rms = math.sqrt(max(power - mean**2, 0.0))
    notes = []
    if rms < SILENT_RMS:
        notes.append(f"silent: an RMS of {rms:.1e} of full scale")
    if abs(mean) > max(rms, MIN_OFFSET):
        notes.append(f"constant offset: {mean:.3f} of full scale, more than the signal's RMS")
    if power > 1:
        notes.append(f"beyond full scale: an RMS of {rms:.3g}, float audio lies within 1")
    elif power >= CLIPPED_SHARE * FULL_SCALE**2:  # else fewer can be
        share = np.count_nonzero(np.abs(mono) >= FULL_SCALE) / mono.size
        if share >= CLIPPED_SHARE:
            notes.append(f"clipped: {share:.0%} of the samples are at full scale")
    return notes
