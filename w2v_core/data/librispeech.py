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
from dataclasses import dataclass
from pathlib import Path

from w2v_core.data.audio import AUDIO_SUFFIXES
from w2v_core.data.decoding import Recording
from w2v_core.data.listing import MAX_LISTED, Listing, dangling, make_listing, read_text, walk
from w2v_core.errors import DataError
from w2v_core.types import Exclusion

TRANSCRIPT_SUFFIX = ".trans.txt"
ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")  # the 28 that LibriSpeech's vocabulary writes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    utterance_id: str
    reference: str
    place: str
    """``FILE:NUMBER``"""
    folder: Path
    problem: str = ""
    """Why the line cannot be used; empty where it can."""
    is_empty: bool = False
    """Whether the reference is: an utterance of silence, or a line that was lost."""


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
        raise DataError(f"{root} is not a folder; name a LibriSpeech split, for example test-clean")
    transcripts, audio, problems = _walk(root)
    if not transcripts and not problems:
        raise DataError(
            f"{root} holds no *{TRANSCRIPT_SUFFIX}; name a folder in LibriSpeech's layout, "
            "<speaker>/<chapter>/<speaker>-<chapter>.trans.txt beside the audio, or one with a "
            "manifest: a .csv, .tsv or .jsonl file, or Kaldi's wav.scp"
        )
    lines = [line for path in transcripts for line in _read_lines(path)]
    recordings, incomplete, more = _match(lines, audio)
    return make_listing(
        root,
        recordings,
        incomplete=incomplete,
        problems=problems + more,
        allow_partial=allow_partial,
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


def _walk(root: Path) -> tuple[list[Path], dict[tuple[Path, str], list[Path]], list[str]]:
    """Return the transcript files, the audio files by folder and stem, and what hides any."""
    transcripts: list[Path] = []
    audio: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    problems: list[str] = []
    for path in walk(root, problems=problems):
        if path.name.lower().endswith(TRANSCRIPT_SUFFIX):
            transcripts.append(path)
        elif path.suffix.lower() in AUDIO_SUFFIXES:
            audio[path.parent, path.stem].append(path)
        elif where := dangling(path):  # perhaps a folder of speakers
            problems.append(f"{path.parent}: {where}")
    return sorted(transcripts), dict(audio), problems


def _read_lines(path: Path) -> Iterator[_Line]:
    for number, raw in enumerate(read_text(path).split(b"\n"), start=1):
        if raw.strip():
            yield _parse_line(raw.rstrip(), folder=path.parent, place=f"{path}:{number}")


def _parse_line(raw: bytes, *, folder: Path, place: str) -> _Line:
    first, _, rest = raw.replace(b"\t", b" ", 1).partition(b" ")
    name, reference, problem = first.decode("utf-8", errors="backslashreplace"), "", ""
    try:
        reference = rest.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        problem = f"the text is not UTF-8 ({error.reason})"
    if "-" not in name or not name.isprintable():
        problem = "malformed line, it must begin with <speaker>-<chapter>-<utterance>"
    return _Line(
        utterance_id=name,
        reference=reference,
        place=place,
        folder=folder,
        problem=problem,
        is_empty=not problem and not reference,
    )


def _match(
    lines: Iterable[_Line], audio: dict[tuple[Path, str], list[Path]]
) -> tuple[list[Recording], list[Exclusion], list[str]]:
    """Pair each line with the audio of its id: recordings, incomplete utterances, problems."""
    recordings: list[Recording] = []
    incomplete: list[Exclusion] = []
    problems: list[str] = []
    places: dict[str, str] = {}
    left = dict(audio)
    for line in lines:
        name = line.utterance_id
        files = left.pop((line.folder, name), [])
        if problem := _problem(line, files, places):
            problems.append(f"{line.place}: {name}: {problem}")
        elif reason := _lack(line, files):
            incomplete.append(Exclusion(utterance_id=name, reason=f"{reason} ({line.place})"))
        else:
            recordings.append(_recording(line, files[0]))
        places.setdefault(name, line.place)
    problems += [f"{files[0]}: no transcript line for {stem}" for (_, stem), files in left.items()]
    return recordings, incomplete, problems


def _problem(line: _Line, files: list[Path], places: dict[str, str]) -> str:
    """Say why a line is damage, which nobody can leave out by its id; empty where it is not."""
    if line.problem:
        return line.problem
    if line.utterance_id in places:
        return f"duplicate id, also at {places[line.utterance_id]}"
    if len(files) > 1:
        return f"audio in two formats, {' and '.join(f.name for f in files)}; keep one"
    return ""


def _lack(line: _Line, files: list[Path]) -> str | None:
    """Say what an utterance lacks; None where it is whole."""
    if not files:
        return "no audio file beside its transcript line"
    if line.is_empty:
        return "the reference is empty"
    return dangling(files[0])


def _recording(line: _Line, path: Path) -> Recording:
    return Recording(
        utterance_id=line.utterance_id,
        audio=path,
        name=str(path),
        reference=line.reference,
        speaker=line.utterance_id.split("-", maxsplit=1)[0],
    )
