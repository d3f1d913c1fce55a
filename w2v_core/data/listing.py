"""What is found before any audio is decoded: recordings, exclusions, and the problems with both."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2v_core.data.decoding import Recording
from w2v_core.errors import LFS_REMEDY, TranscriptError, is_lfs_pointer
from w2v_core.printable import printable, shorten
from w2v_core.types import Exclusion

MAX_LISTED = 10
MAX_CHARS, MAX_NAME = 1_000, 300  # of one problem, of a name in it
ARCHIVED = re.compile(r"\.(ark|tar|zip):\d+$")
UNREFERENCED = "it has no reference, others have"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One utterance as a transcript or manifest has it, matched to its audio."""

    utterance_id: str
    place: str
    """``FILE:LINE``"""
    audio: Path = field(default=Path(), repr=False)
    reference: str | None = None
    """None where the corpus holds no references at all."""
    speaker: str | None = None
    duration_s: float | None = None
    problem: str = ""
    """Why it is damage, which nobody can leave out by its id; empty where it is not."""
    lack: str = ""
    """Why it is no whole utterance; empty where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The utterances of a corpus before any is decoded, ordered by id."""

    recordings: tuple[Recording, ...] = field(repr=False)
    exclusions: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader of the WER should know of how the references were found."""


def make_listing(
    root: Path, lines: Iterable[Line], *, problems: Sequence[str] = (), allow_partial: bool
) -> Listing:
    """Order what was found, or refuse all of it: each id is whole, left out, or a problem.

    Args:
        root: What an error calls the corpus.
        lines: The corpus' utterances, in the order of its files.
        problems: What is wrong besides.
        allow_partial: Exclude utterances that lack something instead of raising.

    Raises:
        TranscriptError: lists every problem (the first ten, and their count).
    """
    recordings: list[Recording] = []
    lacking: list[Exclusion] = []
    found: list[str] = []
    places: dict[str, str] = {}
    lines = list(lines)
    has_references = any(line.reference is not None for line in lines)
    for line in lines:
        name = line.utterance_id
        twice = f"duplicate id, also at {places[name]}" if name in places else ""
        if problem := line.problem or twice:
            found.append(": ".join(filter(None, (line.place, printable(name), problem))))
        elif lack := line.lack or has_references * (line.reference is None) * UNREFERENCED:
            lacking.append(Exclusion(utterance_id=name, reason=f"{lack} ({line.place})"))
        else:
            recordings.append(_recording(line))
        places.setdefault(name, line.place)
    found += problems
    if not allow_partial:
        found += [f"{shorten(e.utterance_id, MAX_NAME)}: {e.reason}" for e in lacking]
    if found:
        head = (
            f"{root}: {len(found)} problems in transcripts and audio; repair them (an utterance "
            "without audio, or with an empty reference, can be excluded: {use:allow_partial})"
        )
        raise TranscriptError(first_ten(head, found))
    return Listing(
        recordings=tuple(sorted(recordings, key=lambda r: r.utterance_id)),
        exclusions=tuple(sorted(lacking, key=lambda e: e.utterance_id)),
    )


def first_ten(head: str, problems: Sequence[str]) -> str:
    """Put problems below a heading, the first ten, and the count of the others."""
    left = len(problems) - MAX_LISTED
    more = [f"... and {left} more"] if left > 0 else []
    shown = (shorten(problem, MAX_CHARS) for problem in problems[:MAX_LISTED])
    return "\n  ".join([head, *shown, *more])


def _recording(line: Line) -> Recording:
    return Recording(
        utterance_id=line.utterance_id,
        audio=line.audio,
        name=str(line.audio),
        reference=line.reference,
        speaker=line.speaker,
        duration_s=line.duration_s,
    )


def read_text(path: Path) -> bytes:
    """Read a transcript or manifest, without an editor's byte order mark; UTF-16 becomes UTF-8.

    Raises:
        TranscriptError: it cannot be read, its link leads nowhere, or it is a Git LFS pointer.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise TranscriptError(f"{path} is no regular file; name one that can be read again")
        data = path.read_bytes()
    except OSError as error:
        reason = dangling(path) or error.strerror
        raise TranscriptError(f"{path} cannot be read ({reason}); check it") from error
    if is_lfs_pointer(data):
        raise TranscriptError(f"{path} {LFS_REMEDY}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise TranscriptError(f"{path} is no whole UTF-16 text ({error.reason})") from error
    return data.removeprefix(b"\xef\xbb\xbf")


def text_of(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Return a value as text, of ``datasets``' audio column the path; None where it is neither."""
    text = value.get("path", value) if isinstance(value, dict) else value
    return None if isinstance(text, list | dict | bool) else "" if text is None else str(text)


def locate(manifest: Path, audio: str) -> Path:
    """Find the audio below the manifest's folder, Common Voice's clips or the working directory.

    A name is found in Unicode's other forms too, which a Mac packs, and with Windows' separators.
    """
    path = Path(os.path.expanduser(audio))  # noqa: PTH111 (pathlib's raises for a file called ~x)
    places = (manifest.parent / path, manifest.parent / "clips" / path, path)
    texts = (text for place in map(str, places) for text in (place, place.replace("\\", "/")))
    written = (Path(other) for text in texts for other in (text, *_forms(text)))
    return next((place for place in written if is_file(place)), places[0])


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    return os.path.isfile(path)  # noqa: PTH113 (pathlib's raises for some of them)


def _forms(text: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)


def composed(name: str) -> str:
    """Return a name in Unicode's composed form, by which names are compared."""
    return _forms(name)[0]


def dangling(path: Path) -> str | None:
    """Describe a link that leads nowhere; None for anything else."""
    if not os.path.islink(path) or path.exists():  # noqa: PTH114 (as is_file)
        return None
    return f"{path.name} is a link to {path.readlink()}, which is not there"


def absent(path: Path, *, written: str = "") -> str:
    """Say of audio that it is not there, or what it is instead; ``written`` in the manifest."""
    if "://" in written:
        return f"{shorten(written, MAX_NAME)} is a URL; fetch it, and name the file by its path"
    if ARCHIVED.search(written):
        return f"{shorten(written, MAX_NAME)} lies in Kaldi's archive; write files (wav-copy)"
    what = "is no regular file" if os.path.exists(path) else "is not there"  # noqa: PTH110 (as is_file)
    return dangling(path) or f"its audio {shorten(str(path), MAX_NAME)} {what}"


def walk(root: Path, *, problems: list[str]) -> Iterator[Path]:
    """Yield every file at or below ``root``, folder by folder in name order; links are followed.

    Names that begin with a dot are not looked at, and a link back into the tree is not followed
    again. A folder that cannot be read is added to ``problems``: what it holds would be lost.
    """
    seen: set[str] = set()

    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: the folder cannot be read ({error.strerror})")

    for folder, folders, files in os.walk(root, followlinks=True, onerror=note):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, file) for file in sorted(files) if not file.startswith("."))
