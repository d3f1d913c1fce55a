"""Recordings -> utterances, in a small pool of threads. No torch here."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from w2v_core.data.audio import read_audio
from w2v_core.errors import AudioError, AudioTooLongError
from w2v_core.types import Exclusion, Utterance

NUM_WORKERS = min(4, os.cpu_count() or 1)  # libsndfile and soxr decode outside the interpreter lock
WINDOW = 4 * NUM_WORKERS  # recordings being decoded or waiting to be taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One utterance before decoding: where its audio is, and what is known of it."""

    utterance_id: str
    audio: Path | bytes = field(repr=False)
    """A file, or a whole file's bytes."""
    name: str
    """What errors call it: the file's path, or the corpus and id."""
    reference: str | None = None
    speaker: str | None = None
    duration_s: float | None = None
    """Of the whole file, where a manifest gives it."""


def decode_all(
    recordings: Iterable[Recording], *, max_audio_s: float
) -> Iterator[Utterance | Exclusion | AudioError]:
    """Yield one outcome per recording, in their order, whatever thread finished first.

    At most ``WINDOW`` recordings are taken ahead of the caller. An utterance's waveform is not
    normalised. One longer than ``max_audio_s`` becomes an exclusion once it has proved whole; audio
    that cannot be used is yielded as its error, so that the caller can name all of them.

    Raises:
        Whatever ``recordings`` raises while it is iterated.
    """
    with ThreadPoolExecutor(NUM_WORKERS, thread_name_prefix="decode") as pool:
        under_way: deque[Future[Utterance | Exclusion | AudioError]] = deque()
        try:
            for recording in recordings:
                under_way.append(pool.submit(_decode_one, recording, max_audio_s=max_audio_s))
                if len(under_way) >= WINDOW:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:  # the caller may stop early
            for future in under_way:
                future.cancel()


def _decode_one(recording: Recording, *, max_audio_s: float) -> Utterance | Exclusion | AudioError:
    try:
        audio = read_audio(
            recording.audio,
            name=recording.name,
            max_audio_s=max_audio_s,
            duration_s=recording.duration_s,
        )
    except AudioTooLongError as error:
        reason = f"{error.audio_s:.1f} s of audio, longer than the limit of {max_audio_s:g} s"
        return Exclusion(utterance_id=recording.utterance_id, reason=reason)
    except AudioError as error:
        return error
    return Utterance(
        utterance_id=recording.utterance_id,
        waveform=audio.waveform,
        reference=recording.reference,
        speaker=recording.speaker,
        notes=audio.notes,
    )
