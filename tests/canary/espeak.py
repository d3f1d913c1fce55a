"""A thin ctypes binding of espeak-ng, with the times of its phonemes.

The library and its data come from the wheel `espeakng-loader` (espeak-ng is GPL-3: a tool used to
make the audio, not shipped). espeak-ng keeps state between calls, so a repeated call need not
give the same bytes: the bundled audio is committed, not regenerated.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from w2v_core.types import SAMPLE_RATE_HZ

_UP, _DOWN = 320, 441  # 22050 Hz, espeak-ng's own rate, to 16000 Hz
_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1  # espeak speak_lib.h
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_PHONEME, _TERMINATED = 7, 0  # espeak_EVENT_TYPE
_SYNTH_CHUNK_MS = 0  # library default

Samples = npt.NDArray[np.float32]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One speaker: an espeak-ng voice at a base pitch."""

    speaker: int
    """Numeric id in the LibriSpeech layout."""
    name: str
    pitch: int
    """0 to 99; 50 is the voice's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """A synthesised sentence."""

    samples: Samples
    """16 kHz, int16 scale."""
    phones: tuple[tuple[str, int], ...]
    """Phoneme and the sample at which it begins."""


class Espeak:
    """espeak-ng in this process; one instance per process."""

    def __init__(self) -> None:
        """Load the library and its data."""
        import espeakng_loader

        self._library: Any = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data = str(espeakng_loader.get_data_path()).encode()
        self._library.espeak_Initialize(
            _SYNCHRONOUS - 1, _SYNTH_CHUNK_MS, data, _PHONEME_EVENTS
        )  # AUDIO_OUTPUT_RETRIEVAL
        self._chunks: list[Samples] = []
        self._phones: list[tuple[str, int]] = []
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = prototype(self._receive)  # kept: ctypes does not own it
        self._library.espeak_SetSynthCallback(self._callback)

    # ctypes gives its pointers no static type
    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self._chunks.append(np.ctypeslib.as_array(wave, (count,)).astype(np.float32))
        index = 0
        while events[index].type != _TERMINATED:
            if events[index].type == _PHONEME:
                start = events[index].audio_position * SAMPLE_RATE_HZ // 1000
                self._phones.append((events[index].id.decode("utf-8", "ignore"), start))
            index += 1
        return 0

    def synthesise(self, text: str, *, voice: Voice, words_per_minute: int, pitch: int) -> Speech:
        """Speak `text`; raises `ValueError` if espeak-ng refuses the voice or the text."""
        if self._library.espeak_SetVoiceByName(voice.name.encode()):
            raise ValueError(f"espeak-ng has no voice {voice.name!r}")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._chunks.clear()
        self._phones.clear()
        raw = text.encode() + b"\0"
        if self._library.espeak_Synth(raw, ctypes.c_size_t(len(raw)), 0, 0, 0, _UTF8, None, None):
            raise ValueError(f"espeak-ng could not speak {text!r}")
        self._library.espeak_Synchronize()
        wave = resample_poly(np.concatenate(self._chunks), _UP, _DOWN).astype(np.float32)
        return Speech(samples=wave, phones=tuple(self._phones))
