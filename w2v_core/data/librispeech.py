"""Folders in LibriSpeech's layout: ``<speaker>/<chapter>/*.trans.txt`` beside the audio.

A transcript file holds one ``<speaker>-<chapter>-<utterance> WORDS ...`` per line; the audio lies
in the same folder as ``<id>.flac`` (or .wav, .mp3, .ogg). Endings may be in any case. Any folder
at, above or below a split works. Names that begin with a dot are not looked at.

References are kept as they are written. Scoring folds case; a character that the checkpoints
cannot write (a digit, an accented letter) stays and counts as an error, and is noted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from w2v_core.data.audio import AUDIO_SUFFIXES
from w2v_core.data.layout import TRANSCRIPT_SUFFIX, UNREAD
from w2v_core.data.listing import (
    MAX_LISTED,
    Line,
    Listing,
    composed,
    dangling,
    make_listing,
    read_text,
    walk,
)
from w2v_core.errors import DataError

_Audio = dict[tuple[Path, str], list[Path]]  # by folder and stem
ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")  # the 28 that LibriSpeech's vocabulary writes


def list_recordings(root: Path, *, allow_partial: bool = False) -> Listing:
    """Match the transcripts under ``root`` to their audio files; decodes nothing.

    Args:
        root: Any folder at, above or below a split; links to folders are followed.
        allow_partial: Exclude a transcript line that has no audio file or no words, with the
            reason, instead of raising.

    Raises:
        DataError: ``root`` is no folder or holds no transcript file.
        TranscriptError: lists every problem under ``root`` (the first ten, and their count): audio
            without a line, a line without audio, a duplicate id, audio in two formats, a malformed
            line, an empty reference, text that is not UTF-8.
    """
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder; name a LibriSpeech split, for example test-clean, or a "
            f"folder with a manifest; {UNREAD}"
        )
    transcripts, audio, problems = _walk(root)
    if not transcripts and not problems:
        raise DataError(
            f"{root} holds no *{TRANSCRIPT_SUFFIX}; name a folder in LibriSpeech's layout, "
            "<speaker>/<chapter>/<speaker>-<chapter>.trans.txt beside the audio, or one with a "
            f"manifest: a .csv, .tsv or .jsonl file, or Kaldi's wav.scp; {UNREAD}"
        )
    lines = [line for path in transcripts for line in _read_lines(path, audio)]
    problems += [f"{files[0]}: no transcript line for {name}" for (_, name), files in audio.items()]
    return make_listing(root, lines, problems=problems, allow_partial=allow_partial)


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


def _walk(root: Path) -> tuple[list[Path], _Audio, list[str]]:
    """Return the transcript files, the audio files by folder and stem, and what hides any."""
    transcripts: list[Path] = []
    audio: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    problems: list[str] = []
    for path in walk(root, problems=problems):
        if path.name.lower().endswith(TRANSCRIPT_SUFFIX):
            transcripts.append(path)
        elif path.suffix.lower() in AUDIO_SUFFIXES:
            audio[path.parent, composed(path.stem)].append(path)
        elif where := dangling(path):  # perhaps a folder of speakers
            problems.append(f"{path.parent}: {where}")
    return sorted(transcripts), dict(audio), problems


def _read_lines(path: Path, audio: _Audio) -> Iterator[Line]:
    """Match the lines of a transcript to the audio of their ids, which is taken out."""
    for number, raw in enumerate(read_text(path).split(b"\n"), start=1):
        if raw.strip():
            yield _line(raw.rstrip(), path.parent, audio, place=f"{path}:{number}")


def _line(raw: bytes, folder: Path, audio: _Audio, *, place: str) -> Line:
    first, _, rest = raw.replace(b"\t", b" ", 1).partition(b" ")
    name, reference, problem = first.decode("utf-8", errors="backslashreplace"), "", ""
    try:
        reference = rest.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        problem = f"the text is not UTF-8 ({error.reason})"
    files = audio.pop((folder, composed(name)), [])
    if "-" not in name or not name.isprintable():
        problem = "malformed line, it must begin with <speaker>-<chapter>-<utterance>"
    elif not problem and len(files) > 1:
        problem = f"audio in two formats, {' and '.join(f.name for f in files)}; keep one"
    return Line(
        utterance_id=name,
        place=place,
        audio=files[0] if files else Path(),
        reference=reference,
        speaker=name.split("-", maxsplit=1)[0],
        problem=problem,
        lack=_lack(reference, files),
    )


def _lack(reference: str, files: list[Path]) -> str:
    """Say what an utterance lacks; empty where it is whole."""
    if not files:
        return "no audio file beside its transcript line"
    return (dangling(files[0]) or "") if reference else "the reference is empty"
