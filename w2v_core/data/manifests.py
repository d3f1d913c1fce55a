"""Folders of audio with a table of it: ``.csv``, ``.tsv``, ``.jsonl``, or Kaldi's ``wav.scp``.

Columns are known by the names that corpora give them: Common Voice's ``path`` and ``sentence``,
NeMo's ``audio_filepath``, ``text`` and ``duration``, the hub's ``file_name``. An utterance without
an id of its own is called by its audio's path without the ending. A table without a column of
references, or ``wav.scp`` without ``text``, makes a corpus that is measured and not scored.

Nothing that a manifest names is run: a command in wav.scp is refused. So are parts of recordings
(Kaldi's ``segments``, NeMo's ``offset``), because every utterance here is a file of its own.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from w2v_core.data.layout import (
    AUDIO,
    WAV_SCP,
    clip_durations,
    decode_lines,
    delimiter_of,
    find_manifest,
    first_line,
    json_rows,
    key_of,
    read_pairs,
)
from w2v_core.data.listing import Line, Listing, absent, is_file, locate, make_listing, text_of
from w2v_core.errors import DataError, TranscriptError
from w2v_core.printable import printable, shorten

TEXT = ("sentence", "text", "transcript", "transcription", "reference", "wrd")
IDS = ("id", "utterance_id", "utt_id")
SPEAKERS = ("speaker", "speaker_id", "client_id")
TEXTUAL = frozenset((*AUDIO, *TEXT, *IDS))
KNOWN = {"the audio": AUDIO, "references": TEXT, "ids": IDS, "speakers": SPEAKERS}
READ = frozenset((*TEXTUAL, *SPEAKERS, "duration", "offset"))
DURATION_TOLERANCE_S = 0.05
MAX_FIELD_CHARS = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One utterance of a manifest as it is written."""

    place: str
    """``FILE:LINE``"""
    audio: str = ""
    name: str = ""
    """Its id; empty where the audio's path names it."""
    reference: str | None = None
    """None where the manifest holds no references at all."""
    speaker: str | None = None
    duration_s: float | None = None
    problem: str = ""
    unread: tuple[str, ...] = ()
    """Columns that are not read."""
    others: tuple[tuple[str, str, str], ...] = ()
    """What is held by two columns that differ, the column that is taken, and the other."""


def list_manifest(path: Path, *, allow_partial: bool = False) -> Listing:
    """Read a manifest and find its audio; decodes nothing.

    Args:
        path: The manifest, or a folder that holds exactly one.
        allow_partial: Exclude rows without audio or with an empty reference instead of raising.

    Raises:
        DataError: no manifest, more than one, or one that holds no utterance.
        TranscriptError: lists every problem (the first ten, and their count): missing columns or
            audio, a duplicate id, a malformed line, a command, text that is not UTF-8 or UTF-16.
    """
    manifest = find_manifest(path)
    rows = list(_read_kaldi(manifest) if manifest.name == WAV_SCP else _read_table(manifest))
    if not rows:
        raise DataError(f"{manifest} holds no utterance; at least one line is needed")
    clips_s = clip_durations(manifest.parent)
    rows = [r if r.duration_s else replace(r, duration_s=clips_s.get(r.audio)) for r in rows]
    lines = (_line(manifest, row) for row in rows)
    listing = make_listing(manifest, lines, allow_partial=allow_partial)
    return replace(listing, notes=_notes(rows))


def _notes(rows: Sequence[_Row]) -> tuple[str, ...]:
    """Say which of two columns of one kind was taken, and that none holds references."""
    unread = rows[0].unread if all(row.reference is None for row in rows) else ()
    lack = (
        f"there are no references, and no WER: no column is called {', '.join(TEXT)} (not read are "
        f"{printable(shorten(', '.join(unread), 200))}; rename the one that holds them)"
    )
    counts = Counter(other for row in rows for other in row.others)
    return (lack,) * bool(unread) + tuple(
        f"{kind} are those of the column {taken}; {other} holds others in {count} of {len(rows)} "
        f"rows (leave the column out whose values are not meant)"
        for (kind, taken, other), count in counts.items()
    )


def _name(manifest: Path, audio: str) -> str:
    """Name an utterance by its audio's path, below the manifest's folder where it lies there."""
    stem = str(Path(audio)).removesuffix(Path(audio).suffix)
    folder = f"{manifest.absolute().parent}/"
    return stem.removeprefix(folder)


def _line(manifest: Path, row: _Row) -> Line:
    """Find a row's audio, and say what it lacks."""
    path, lack, problem = locate(manifest, row.audio), "", row.problem
    if not is_file(path):
        lack = absent(path, written=row.audio)
    elif row.reference is not None and not row.reference.strip():
        lack = "the reference is empty"
    elif not problem:
        problem = _other_duration(path, row.duration_s)
    return Line(
        utterance_id=row.name or (_name(manifest, row.audio) if row.audio else ""),
        place=row.place,
        audio=path,
        reference=row.reference.strip() if row.reference is not None else None,
        speaker=row.speaker,
        duration_s=row.duration_s,
        problem=problem,
        lack=lack,
    )


def _other_duration(path: Path, duration_s: float | None) -> str:
    """Say where a manifest means another stretch of audio than the whole file; else empty."""
    if duration_s is None:
        return ""
    try:
        whole_s = float(soundfile.info(str(path)).duration)
    except soundfile.LibsndfileError:
        return ""  # decoding says what is wrong with it
    if abs(whole_s - duration_s) <= DURATION_TOLERANCE_S + 0.01 * whole_s:
        return ""
    return f"the manifest says {duration_s:g} s, {path} has {whole_s:.2f} s; cut it, or mend it"


def _read_table(path: Path) -> Iterator[_Row]:
    text = decode_lines(path)
    records = (
        _read_json(path, text) if path.suffix.lower().startswith(".json") else _read_csv(path, text)
    )
    for place, record in records:
        if isinstance(record, str):
            yield _Row(place=place, problem=record)
        else:
            yield _row(place, record)


def _read_csv(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, str] | str]]:
    """Yield each line's place, and its fields by column or what is wrong with it."""
    header = first_line(text)
    is_tsv = path.suffix.lower() == ".tsv"
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter_of(path, header),
        quoting=csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL,  # a TSV sentence may hold a quote
        strict=True,  # a quote that never closes would swallow the lines behind it
    )
    try:
        named = next((fields for fields in reader if any(f.strip() for f in fields)), [])
        columns = [column.strip() for column in named]
        _require(path, columns)
        for fields in reader:
            place = f"{path}:{reader.line_num}"
            if not any(f.strip() for f in fields):
                continue
            if len(fields) != len(columns):
                yield place, f"{len(fields)} fields where the header has {len(columns)}"
            else:
                yield place, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise TranscriptError(f"{path}:{reader.line_num}: {error}; mend the table") from error


def _read_json(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, str] | str]]:
    """Yield each object's place, and its fields as text or what is wrong with it."""
    for index, (place, value) in enumerate(json_rows(path, text)):
        if isinstance(value, str):
            yield place, value
            continue
        if twice := _twice(value):
            yield place, f"the key {printable(twice)} stands there twice; keep one"
            continue
        row = {k: text_of(v) for k, v in value.items()}
        if nested := [k for k, v in row.items() if v is None and key_of(k) in TEXTUAL]:
            yield place, f"{nested[0]} is a JSON list, object or true where text belongs"
            continue
        if not index:
            _require(path, value)
        yield place, {k: v or "" for k, v in row.items()}


def _require(path: Path, columns: Iterable[str]) -> None:
    if twice := _twice(columns):
        raise TranscriptError(f"{path}: the column {printable(twice)} stands there twice; keep one")
    if not set(AUDIO) & {key_of(column) for column in columns}:
        raise TranscriptError(
            f"{path}: no column names the audio; it must be called {', '.join(AUDIO)} "
            f"(found: {', '.join(list(columns)[:20]) or 'none'})"
        )


def _twice(columns: Iterable[str]) -> str:
    """Return a column that is read and stands there twice: the last would win; else empty."""
    counts = Counter(map(key_of, columns))
    return next((name for name, count in counts.items() if count > 1 and name in READ), "")


def _row(place: str, record: Mapping[str, str]) -> _Row:
    fields = {key_of(column): value for column, value in record.items()}

    def first(names: tuple[str, ...]) -> str | None:
        return next((fields[name] for name in names if name in fields), None)

    audio, name = (first(AUDIO) or "").strip(), (first(IDS) or "").strip()
    problem, duration_s = "", None
    try:
        duration_s = float(fields["duration"]) if fields.get("duration") else None
        if float(fields.get("offset") or 0):
            problem = f"offset {fields['offset']}: parts of a recording are not read; cut the audio"
    except ValueError:
        problem = "duration and offset must be numbers of seconds"
    if not audio:
        problem = "no audio is named"
    elif not (name or audio).isprintable():
        problem = f"the id {name or audio!r} holds control characters"
    elif any("\ud800" <= c <= "\udfff" for c in first(TEXT) or ""):
        problem = "the reference holds half a surrogate pair; no UTF-8 file can"
    return _Row(
        place=place,
        audio=audio,
        name=name,
        reference=first(TEXT),
        speaker=first(SPEAKERS) or None,
        duration_s=duration_s,
        problem=problem,
        unread=tuple(name for name in fields if name and name not in READ),
        others=tuple(_others(fields)),
    )


def _others(fields: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for kind, names in KNOWN.items():
        taken, *rest = [name for name in names if name in fields] or [""]
        for other in rest:
            if _told(kind, fields[other]) != _told(kind, fields[taken]):
                yield kind, taken, other


def _told(kind: str, value: str) -> str:
    """Return what is compared: of audio its file's name, as exports hold a cache's path too."""
    return Path(value).name if kind == "the audio" else value.strip()


def _read_kaldi(path: Path) -> Iterator[_Row]:
    if (path.parent / "segments").exists():
        raise DataError(
            f"{path.parent / 'segments'}: parts of recordings are not read; write each to a file "
            "of its own (Kaldi's extract-segments), name those in wav.scp, and leave segments out"
        )
    beside = (path.parent / name for name in ("text", "utt2spk"))
    texts, speakers = (read_pairs(p) if p.exists() else None for p in beside)
    listed = read_pairs(path)
    for name, (audio, place) in listed.items():
        reference, problem = None, ""
        if texts is not None and name not in texts:
            problem = f"no line in {path.parent / 'text'}"
        elif texts is not None:
            reference = texts[name][0]
        if audio.endswith("|") or audio.startswith("|"):
            problem = f"a command ({audio[:60]}) is refused and never run; name a file"
        elif not audio:
            problem = "no audio is named"
        yield _Row(
            place=place,
            audio=audio,
            name=name,
            reference=reference,
            speaker=(speakers or {}).get(name, (None, ""))[0],
            problem=problem,
        )
    for name, (reference, place) in (texts or {}).items():
        if name not in listed:
            yield _Row(place=place, audio=name, name=name, reference=reference)
