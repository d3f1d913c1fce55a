"""What lies at a path: a corpus in LibriSpeech's layout, or audio with a table of it.

A table beside the audio is a manifest where a column of it names the audio; others (speakers,
scores, a data set's card) are no concern of ours.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from w2v_core.config import parse_path
from w2v_core.data.listing import read_text, walk
from w2v_core.errors import ConfigError, DataError, TranscriptError
from w2v_core.printable import printable, shown

AUDIO = (
    *("path", "audio_filepath", "audio_path", "audio", "file_name", "filename", "file", "wav"),
    "wav_filename",
)
"""Names of the column of audio, first to last."""
UNREAD = (
    "archives, parquet and arrow tables, .stm and .txt files are not read: unpack them, or write "
    "the audio to files with a manifest"
)
NO_LINES = (
    "no JSON object on one line, as JSON lines have it, and no list of objects; convert it "
    "(jq -c '.[]' FILE > OUT.jsonl)"
)
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
WAV_SCP = "wav.scp"
CLIP_DURATIONS = "clip_durations.tsv"
TRANSCRIPT_SUFFIX = ".trans.txt"


def name_folder(path: str) -> str:
    """Return the dataset's name for a path that is given without saying what lies there.

    ``manifest:PATH`` where a manifest is, else ``librispeech:PATH``. Looks at the disk.

    Raises:
        ConfigError: both are there; names both. Or the home folder that ``~`` means is not known.
    """
    root = parse_path(path)
    found = find_manifests(root)
    if not found:
        return f"librispeech:{path}"
    if not (transcript := _find_transcript(root)):
        return f"manifest:{path}"
    if not (manifests := [p for p in found if is_manifest(p)]):
        return f"librispeech:{path}"
    raise ConfigError(
        f"{path} holds LibriSpeech's transcripts ({transcript}) and a manifest "
        f"({manifests[0].name}); say which: {{flag:dataset}} librispeech:{path} or "
        f"{{flag:dataset}} manifest:{root / manifests[0].name}"
    )


def find_manifests(path: Path) -> tuple[Path, ...]:
    """Return what may be a manifest at a path: itself, or what lies in the folder; names only."""
    if path.is_file():
        is_one = path.suffix.lower() in SUFFIXES or path.name == WAV_SCP
        return (path,) if is_one else ()
    if not path.is_dir():
        return ()
    if (path / WAV_SCP).exists():
        return (path / WAV_SCP,)
    named = (p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES)
    return tuple(p for p in named if not (p.name.startswith(".") or p.is_dir()))


def is_manifest(path: Path) -> bool:
    """Whether a table names audio. One that cannot be read may: whoever reads it says why not."""
    if path.name == WAV_SCP:
        return True
    try:
        return any(key_of(column) in AUDIO for column in _columns(path, decode_lines(path)))
    except (TranscriptError, csv.Error):
        return True


def find_manifest(path: Path) -> Path:
    """Return the one manifest at a path; raises DataError where there is none, or more than one."""
    tables = find_manifests(path)
    found = tuple(p for p in tables if is_manifest(p)) or tables[: len(tables) == 1]
    if tables and not found:
        names = ", ".join(p.name for p in tables)
        raise DataError(
            f"{path} holds {len(tables)} tables, {names}, and none has a column of audio, called "
            f"{', '.join(AUDIO)}; write one; {UNREAD}"
        )
    if not found:
        what = "holds no manifest" if path.exists() else "is not there"
        raise DataError(f"{path} {what}; name a {', '.join(SUFFIXES)} file, or Kaldi's {WAV_SCP}")
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise DataError(
            f"{path} holds {len(found)} manifests, {names}; name one of them: {found[0]}"
        )
    return found[0]


def _columns(path: Path, text: str) -> list[str]:
    if path.suffix.lower().startswith(".json"):
        _, first = next(json_rows(path, text), ("", ""))
        return list(first) if isinstance(first, dict) else []
    header = first_line(text)
    return next(csv.reader([header], delimiter=delimiter_of(path, header)), [])


def first_line(text: str) -> str:
    """Return the first line that is not blank."""
    return next((line for line in text.split("\n") if line.strip()), "")


def json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield the objects of JSON lines, or of one list, each with its place; or what is wrong."""
    if text.lstrip().startswith("["):
        value = _decoded(text)
        for index, row in enumerate(value if isinstance(value, list) else [value]):
            yield f"{path}[{index}]", row if isinstance(row, dict | str) else _no_object(row)
        return
    lines = ((n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip())
    for count, (number, line) in enumerate(lines):
        row = _decoded(line)
        yield f"{path}:{number}", row if isinstance(row, dict | str) else _no_object(row)
        if row == NO_LINES and not count:
            return  # nor are the others


def _decoded(text: str) -> Any:  # noqa: ANN401 - any JSON value; a text says what is wrong
    try:
        value = json.loads(text, object_pairs_hook=unique)
    except TwiceError as error:
        return f"the key {printable(str(error))} stands there twice; keep one"
    except (ValueError, RecursionError):
        return NO_LINES
    return _no_object(value) if isinstance(value, str) else value


def _no_object(value: object) -> str:
    return f"a JSON {type(value).__name__} where an object belongs"


def delimiter_of(path: Path, header: str) -> str:
    """Return what stands between the columns of a table."""
    return "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)


def key_of(column: str) -> str:
    """Return the name by which a column is known, however it is written."""
    return column.strip().lower()


def decode_lines(path: Path) -> str:
    """Read a table as text.

    Raises:
        TranscriptError: it cannot be read, or is no UTF-8 or UTF-16; names the line.
    """
    data = read_text(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TranscriptError(
            f"{path}:{line}: the text is neither UTF-8 nor UTF-16 ({error.reason}); convert it"
        ) from error


class TwiceError(ValueError):
    """A key that an object holds twice, of which JSON's reader would take the last."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of a line of JSON; for ``object_pairs_hook``. Raises TwiceError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TwiceError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return found


def clip_durations(folder: Path) -> dict[str, float]:
    """Read Common Voice's table of its clips' lengths, in seconds by name; empty without one.

    Raises:
        TranscriptError: a length is no number; names the line.
    """
    path = folder / CLIP_DURATIONS
    if not path.is_file():
        return {}
    found: dict[str, float] = {}
    for number, line in enumerate(decode_lines(path).splitlines()[1:], start=2):
        name, _, length_ms = line.partition("\t")
        if not length_ms.strip().isdecimal():
            raise TranscriptError(
                f"{path}:{number}: {shown(length_ms)} is no number of milliseconds; mend the table"
            )
        found[name] = int(length_ms) / 1000
    return found


def read_pairs(path: Path) -> dict[str, tuple[str, str]]:
    """Read Kaldi's ``<id> <rest>`` lines: the rest and the place by id.

    Raises:
        TranscriptError: an id stands there twice.
    """
    pairs: dict[str, tuple[str, str]] = {}
    lines = enumerate(decode_lines(path).split("\n"), start=1)
    for number, line in ((number, line.strip()) for number, line in lines if line.strip()):
        name, _, rest = line.replace("\t", " ", 1).partition(" ")
        if name in pairs:
            raise TranscriptError(
                f"{path}:{number}: {name}: duplicate id, also at {pairs[name][1]}; keep one"
            )
        pairs[name] = (rest.strip(), f"{path}:{number}")
    return pairs


def _find_transcript(root: Path) -> Path | None:
    """Return a LibriSpeech transcript below a folder, relative to it; None where there is none."""
    if not root.is_dir():
        return None
    named = (p for p in walk(root, problems=[]) if p.name.lower().endswith(TRANSCRIPT_SUFFIX))
    return next((p.relative_to(root) for p in named), None)
