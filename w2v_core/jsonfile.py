"""JSON files that others may have written: read whole, checked against a type, written whole.

Whatever the bytes are, reading ends with a value of the type asked for or with the caller's own
error, which names the file, the field, its value and what was expected.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import msgspec

from w2v_core.errors import LFS_REMEDY, W2VError, is_lfs_pointer
from w2v_core.printable import printable, shorten, shown

MAX_BYTES = 2**30
"""Larger files are refused: a run of 24 cells over 5,559 utterances has 60 MB."""

_NAME_CHARS = 100  # of the name that a half-written file has for a moment

T = TypeVar("T")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")


def read_json(path: Path, *, error: type[W2VError], most_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a JSON object from a regular file; blocks on nothing but the disk.

    Raises:
        W2VError: as ``error``: it is missing, no regular file, too large, or no JSON object.
    """
    data = read_bytes(path, error=error, most_bytes=most_bytes)
    return decode(data, source=name_of(path), error=error)


def read_bytes(path: Path, *, error: type[W2VError], most_bytes: int = MAX_BYTES) -> bytes:
    """Read a regular file; a larger one, a pipe or a device is refused, never waited for.

    Raises:
        W2VError: as ``error``, with a remedy.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 (a descriptor has no path)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{name_of(path)}: not a regular file; give a file")
            if status.st_size > most_bytes:
                raise error(
                    f"{name_of(path)}: {status.st_size} bytes; at most {most_bytes} are read"
                )
            return file.read()
    except (OSError, ValueError) as problem:
        if isinstance(problem, W2VError):
            raise
        raise error(f"{name_of(path)}: cannot be read: {_reason(problem)}") from problem


def decode(data: bytes, *, source: str, error: type[W2VError]) -> dict[str, Any]:
    """Decode a JSON object.

    Raises:
        W2VError: as ``error``: the bytes are a Git LFS pointer, no JSON, nested too deep, or no
            object.
    """
    if is_lfs_pointer(data):
        raise error(f"{source} {LFS_REMEDY}")
    try:  # not by msgspec, which refuses the lone surrogates of file names that are no UTF-8
        value = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        why = shorten(printable(str(problem)), 160)
        raise error(f"{source}: cannot be read as JSON ({why}); was it cut off?") from problem
    if not isinstance(value, dict):
        raise error(f"{source}: a JSON {type(value).__name__}, expected an object")
    return value


def convert(value: object, kind: type[T], *, source: str, error: type[W2VError]) -> T:
    """Check a decoded value against a type and return it as one.

    Raises:
        W2VError: as ``error``: names ``source``, the field, its value and what was expected.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as problem:
        if (entry := _misfit(value, kind)) is not None:
            key, inner, inner_kind = entry
            named = f"{source}: {shown(key)} is {shown(inner)}"
            convert(inner, inner_kind, source=named, error=error)
        expected, _, path = str(problem).partition(" - at `$")
        path = path.rstrip("`").lstrip(".")
        field = f"{printable(shorten(path, 160))}{_at(value, path)}: " if path else ""
        told = shorten(printable(expected), 160)
        raise error(f"{source}: {field}{told[:1].lower()}{told[1:]}") from problem
    except (ValueError, TypeError, RecursionError, OverflowError) as problem:
        raise error(f"{source}: {shorten(printable(str(problem)), 160)}") from problem


def _misfit(value: object, kind: object) -> tuple[str, object, Any] | None:
    """Return the first entry of a mapping whose value does not fit; msgspec names no keys."""
    if get_origin(kind) is not dict or not isinstance(value, Mapping):
        return None
    inner_kind = get_args(kind)[1]
    misfits = (key for key, inner in value.items() if not _fits(inner, inner_kind))
    key = next(misfits, None)
    return None if key is None else (key, value[key], inner_kind)


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401 - any type
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; blocks until it is on disk.

    Raises:
        OSError: it cannot be written; a file that stood there stays as it was.
    """
    own = f"{os.getpid()}-{secrets.token_hex(4)}"  # threads and other containers write here too
    temporary = path.with_name(f".{path.name[:_NAME_CHARS]}.{own}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def exists(path: Path) -> bool:
    """Whether something stands at a path; False for one that no system could hold."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_directory(path: Path) -> bool:
    """Whether a directory stands at a path; False for one that no system could hold."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def name_of(path: Path) -> str:
    """Return a path as a message shows it: printable and bounded."""
    return shorten(printable(str(path)), 400)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(shorten(text, 40))


def _reason(problem: Exception) -> str:
    told = problem.strerror if isinstance(problem, OSError) else None
    if isinstance(problem, FileNotFoundError):
        return "no such file"
    return told or shorten(printable(str(problem)), 160)


def _at(value: object, path: str) -> str:
    """Say what stands at a path such as ``record.scores[3].audio_s``; empty where it is not told.

    ``[...]`` in a path is some key of a mapping.
    """
    for step in _STEP.finditer(f".{path}"):
        name, index = step[1], step[2]
        if name is not None and isinstance(value, Mapping) and name in value:
            value = value[name]
        elif index is not None and isinstance(value, Sequence) and int(index) < len(value):
            value = value[int(index)]
        else:
            return ""
    return f" is {shown(value)}"


def canonical(value: object) -> str:
    """Return the one text of JSON values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
