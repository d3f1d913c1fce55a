"""Folders in LibriSpeech's layout: ``<speaker>/<chapter>/*.trans.txt`` beside the audio.

A transcript file holds one ``<speaker>-<chapter>-<utterance> WORDS ...`` per line; the audio lies
in the same folder as ``<id>.flac`` (or .wav, .mp3, .ogg, in any case). Any folder at, above or
below a split works. Names that begin with a dot are not looked at.

References are kept as they are written. Scoring folds case; a character that the checkpoints
cannot write (a digit, an accented letter) stays and counts as an error, and is noted.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from w2v_core.data.audio import AUDIO_SUFFIXES
from w2v_core.data.decoding import Recording
from w2v_core.errors import DataError, TranscriptError
from w2v_core.types import Exclusion

__all__ = ["Listing", "list_recordings", "note_foreign_characters"]

TRANSCRIPT_SUFFIX = ".trans.txt"
ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")  # the 28 that LibriSpeech's vocabulary writes
MAX_LISTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The utterances of a corpus before any is decoded, ordered by id."""

    recordings: tuple[Recording, ...] = field(repr=False)
    exclusions: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    utterance_id: str
    reference: str
    place: str
    """``FILE:NUMBER``"""
    folder: Path
    problem: str = ""
    """Why the line cannot be used; empty where it can."""


def list_recordings(root: Path, *, allow_partial: bool = False) -> Listing:
    """Match the transcripts under ``root`` to their audio files; decodes nothing.

    Args:
        root: Any folder at, above or below a split; links to folders are followed.
        allow_partial: Exclude a transcript line that has no audio file, with the reason, instead
            of raising.

    Raises:
        DataError: ``root`` is no folder or holds no transcript file.
        TranscriptError: lists every problem under ``root`` (the first ten, and their count): audio
            without a line, a line without audio, a duplicate id, audio in two formats, a malformed
            line, an empty reference, text that is not UTF-8.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; name a LibriSpeech split, for example test-clean")
    transcripts, audio = _walk(root)
    if not transcripts:
        raise DataError(
            f"{root} holds no *{TRANSCRIPT_SUFFIX}; name a folder in LibriSpeech's layout, "
            "<speaker>/<chapter>/<speaker>-<chapter>.trans.txt beside the audio"
        )
    lines = [line for path in transcripts for line in _read_lines(path)]
    recordings, unheard, problems = _match(lines, audio)
    if not allow_partial:
        problems += [f"{e.utterance_id}: {e.reason}" for e in unheard]
    if problems:
        raise TranscriptError(_listed(root, problems))
    return Listing(
        recordings=tuple(sorted(recordings, key=lambda r: r.utterance_id)),
        exclusions=tuple(sorted(unheard, key=lambda e: e.utterance_id)),
        notes=note_foreign_characters(r.reference for r in recordings),
    )


def note_foreign_characters(references: Iterable[str | None]) -> tuple[str, ...]:
    """Count the references with characters that no checkpoint writes; empty where none has."""
    counts: Counter[str] = Counter()
    num_references = 0
    for reference in references:
        foreign = [c for c in (reference or "").upper() if c not in ALPHABET and not c.isspace()]
        counts.update(foreign)
        num_references += bool(foreign)
    if not counts:
        return ()
    shown = ", ".join(f"{c!r} x{n}" for c, n in counts.most_common(MAX_LISTED))
    note = (
        f"{num_references} references hold characters outside A-Z and the apostrophe, which no "
        f"LibriSpeech checkpoint writes; they count as errors: {shown}"
    )
    return (note,)


def _walk(root: Path) -> tuple[list[Path], dict[tuple[Path, str], list[Path]]]:
    """Return the transcript files, and the audio files by folder and stem; both sorted."""
    transcripts: list[Path] = []
    audio: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back into the tree
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(folder, file) for file in sorted(files) if not file.startswith(".")):
            if path.name.endswith(TRANSCRIPT_SUFFIX):
                transcripts.append(path)
            elif path.suffix.lower() in AUDIO_SUFFIXES:
                audio[path.parent, path.stem].append(path)
    return sorted(transcripts), dict(audio)


def _read_lines(path: Path) -> Iterator[_Line]:
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")  # an editor's byte order mark
    except OSError as error:
        raise TranscriptError(f"{path} cannot be read ({error.strerror}); check it") from error
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if raw.strip():
            yield _parse_line(raw.rstrip(), folder=path.parent, place=f"{path}:{number}")


def _parse_line(raw: bytes, *, folder: Path, place: str) -> _Line:
    first, _, rest = raw.replace(b"\t", b" ", 1).partition(b" ")
    name, reference, problem = first.decode("utf-8", errors="backslashreplace"), "", ""
    try:
        reference = rest.decode("utf-8").strip()
        if not reference:
            problem = "the reference is empty"
    except UnicodeDecodeError as error:
        problem = f"the text is not UTF-8 ({error.reason})"
    if "-" not in name or not name.isprintable():
        problem = "malformed line, it must begin with <speaker>-<chapter>-<utterance>"
    return _Line(
        utterance_id=name, reference=reference, place=place, folder=folder, problem=problem
    )


def _match(
    lines: Iterable[_Line], audio: dict[tuple[Path, str], list[Path]]
) -> tuple[list[Recording], list[Exclusion], list[str]]:
    """Pair each line with the audio of its id: recordings, lines without audio, problems."""
    recordings: list[Recording] = []
    unheard: list[Exclusion] = []
    problems: list[str] = []
    places: dict[str, str] = {}
    left = dict(audio)
    for line in lines:
        name = line.utterance_id
        files = left.pop((line.folder, name), [])
        if line.problem:
            problems.append(f"{line.place}: {name}: {line.problem}")
        elif name in places:
            problems.append(f"{line.place}: {name}: duplicate id, also at {places[name]}")
        elif len(files) > 1:
            both = " and ".join(file.name for file in files)
            problems.append(f"{line.place}: {name}: audio in two formats, {both}; keep one")
        elif files:
            recordings.append(_recording(line, files[0]))
        else:
            reason = f"no audio file beside its transcript line ({line.place})"
            unheard.append(Exclusion(utterance_id=name, reason=reason))
        places.setdefault(name, line.place)
    problems += [f"{files[0]}: no transcript line for {stem}" for (_, stem), files in left.items()]
    return recordings, unheard, problems


def _recording(line: _Line, path: Path) -> Recording:
    return Recording(
        utterance_id=line.utterance_id,
        audio=path,
        name=str(path),
        reference=line.reference,
        speaker=line.utterance_id.split("-", maxsplit=1)[0],
    )


def _listed(root: Path, problems: list[str]) -> str:
    shown = problems[:MAX_LISTED]
    if len(problems) > MAX_LISTED:
        shown.append(f"... and {len(problems) - MAX_LISTED} more")
    head = (
        f"{root}: {len(problems)} problems in transcripts and audio; repair them (a line without "
        "audio can be excluded instead: allow_partial, --allow-partial)"
    )
    return "\n  ".join([head, *shown])
