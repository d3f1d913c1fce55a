"""Every error that the product raises on purpose.

::

    W2VError
    ├── ConfigError (ValueError)             a value outside its limits, or a contradiction
    │   └── UnknownNameError                 a model, dataset, dtype ... that is not in its catalog
    ├── DataError (ValueError)               audio or transcripts that cannot be used
    │   ├── AudioError                       a file or waveform that is not speech we can take
    │   │   └── AudioTooLongError            whole, and longer than the limit
    │   └── TranscriptError                  a transcript that is missing, duplicate or malformed
    ├── CheckpointError (ValueError)         a checkpoint unreadable or outside the two families
    ├── NotCachedError (FileNotFoundError)   a checkpoint or dataset not here and not reachable
    ├── DeviceError (RuntimeError)           a device that is missing, or cannot do what was asked
    │   ├── GraphError                       capture or replay was misused or failed
    │   ├── BucketOverflowError              a batch or utterance larger than its bucket
    │   └── DeviceLostError                  a device that answers no more; the process is over
    ├── EngineError (RuntimeError)           a batch failed; carries the utterance ids
    ├── RecordError (ValueError)             a record truncated, edited or of an unknown schema
    └── ReportError (OSError)                a report that cannot be written

Messages state the value, the limit and the remedy. They name an option by its field, as
``{flag:batch_size}`` or ``{use:graphs off}``; the front end that asked puts its own flag there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from w2v_core.printable import printable, shown

LFS_REMEDY = "is a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned"


_PLACE = re.compile(r"\{(flag|use):(\w+)(?: ([^{}]*))?\}")


class W2VError(Exception):
    """Base of every deliberate error.

    Attributes:
        field: The option or field that is wrong, where it is one.
        value: What it holds.
    """

    def __init__(self, *args: object, field: str | None = None, value: object = None) -> None:
        super().__init__(*args)
        self.field = field
        self.value = value

    def __str__(self) -> str:
        """Return the message, options by their names: for who calls this from Python.

        pytest shows it as it is, so what others wrote steers no terminal from here.
        """
        text = fill(" ".join(str(part) for part in self.args), plain)
        return "\n".join(printable(line) for line in text.split("\n"))


class ConfigError(W2VError, ValueError):
    """A configuration value is outside its limits or excludes another one."""


class UnknownNameError(ConfigError):
    """A name that its catalog does not hold."""


class DataError(W2VError, ValueError):
    """Audio or transcripts that cannot be used."""


class AudioError(DataError):
    """An audio file or waveform that cannot be decoded or fed to the model."""


class AudioTooLongError(AudioError):
    """Whole audio that is longer than the limit.

    Attributes:
        audio_s: Its length in seconds.
    """

    def __init__(self, message: str, *, audio_s: float) -> None:
        super().__init__(message)
        self.audio_s = audio_s


class TranscriptError(DataError):
    """A reference that is missing, duplicate or malformed."""


class CheckpointError(W2VError, ValueError):
    """A checkpoint that cannot be read or is outside the supported families."""


class NotCachedError(W2VError, FileNotFoundError):
    """A checkpoint or dataset is neither on disk nor reachable."""


class DeviceError(W2VError, RuntimeError):
    """A device is missing or cannot do what was asked."""


class GraphError(DeviceError):
    """Graph capture or replay was misused or failed."""


class BucketOverflowError(DeviceError):
    """A batch or utterance does not fit its bucket."""


class DeviceLostError(DeviceError):
    """The device does not answer any more, and is not asked again.

    Attributes:
        stacks: All threads' stacks at that moment, as ``faulthandler`` writes them.
    """

    def __init__(self, message: str, *, stacks: str = "") -> None:
        super().__init__(message)
        self.stacks = stacks


class EngineError(W2VError, RuntimeError):
    """A stage of the engine failed.

    Attributes:
        utterance_ids: The utterances that were in the failed batch.
        stage: ``h2d | compute | d2h | decode``.
    """

    def __init__(self, message: str, *, utterance_ids: Sequence[str], stage: str) -> None:
        super().__init__(message)
        self.utterance_ids = tuple(utterance_ids)
        self.stage = stage


class EngineBusyError(W2VError, TimeoutError):
    """An online engine had no room for a request in the time that its caller gave."""


class RecordError(W2VError, ValueError):
    """A record is truncated, edited or of a schema that this version does not know."""


class ReportError(W2VError, OSError):
    """A report cannot be written."""


def fill(text: str, say: Callable[[str, str, str], str]) -> str:
    """Put what ``say`` returns of kind, name and value into the places of a message."""
    return _PLACE.sub(lambda m: say(m[1], m[2], m[3] or ""), text)


def plain(kind: str, name: str, value: str) -> str:
    """Name an option as Python does: ``limit``, ``graphs off``, ``use graphs off``."""
    said = f"{name} {value}".rstrip()
    return f"use {said}" if kind == "use" else said


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name outside its catalog, with the nearest names first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return UnknownNameError(f"unknown {kind} {shown(name)}: {hint}known are {', '.join(names)}")


def is_lfs_pointer(data: bytes) -> bool:
    """Tell whether a file's first bytes are what a clone without git-lfs has in its place.

    Source: docs/spec.md of git-lfs, "The Pointer".
    """
    return data.startswith(b"version https://git-lfs.github.com/spec/")


def is_out_of_memory(error: Exception) -> bool:
    """Recognise Python's, a device's and the host allocator's way of saying it."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in ("can't allocate memory", "Allocation failed for"))
    )
