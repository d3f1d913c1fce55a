"""Records as a history holds them: compressed JSON, whose transcripts many of them share."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from w2v_core.errors import RecordError
from w2v_core.jsonfile import canonical, convert, decode
from w2v_core.records.history_table import StoredEnvironment, utf_8
from w2v_core.records.record import CellRecord, UtteranceScore, from_json, to_json

Scores = tuple[UtteranceScore, ...]
Known = dict[bytes, tuple[Scores, str]]
"""Scores that were read, and their canonical text, by their packed text."""
_SCORES = b',"scores":'  # the last field of a record, as pack() writes it
_ENVIRONMENT = msgspec.json.Decoder(StoredEnvironment)


def pack(record: CellRecord) -> tuple[bytes, str]:
    """Compress a record; returns it with its checksum."""
    data = to_json(record)
    text = json.dumps(data["record"], ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(utf_8(text), level=6), str(data["sha256"])


def unpack(body: bytes, digest: str, *, source: str, known: Known) -> CellRecord:
    """Read a packed record; transcripts that are in ``known`` are neither read nor kept again.

    Raises:
        RecordError: it is damaged, or does not fit its checksum; names ``source``.
    """
    text = _decompressed(body, source)
    try:
        return _beside_known(text, digest, known)
    except (RecordError, KeyError):  # whatever is wrong is told of the record as a whole
        data = {"record": decode(text, source=source, error=RecordError), "sha256": digest}
        return from_json(data, source=source)


def environment_in(body: bytes, source: str) -> StoredEnvironment:
    """Return what a packed record says of its environment; its checksum is not looked at."""
    try:
        return _ENVIRONMENT.decode(_decompressed(body, source))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        if b"\\ud" in (text := _decompressed(body, source)):  # of utf_8(), which msgspec refuses
            read = decode(text, source=source, error=RecordError)
            return convert(read, StoredEnvironment, source=source, error=RecordError)
        raise RecordError(f"{source}: a record is damaged: {error}") from error


def _decompressed(body: bytes, source: str) -> bytes:
    try:
        return zlib.decompress(body)
    except (zlib.error, TypeError) as error:
        raise RecordError(f"{source}: a record is damaged: {error}") from error


def _beside_known(text: bytes, digest: str, known: Known) -> CellRecord:
    """Read what stands before the scores, and the scores once.

    Raises:
        RecordError, KeyError: it is not as pack() writes it, or does not fit its checksum.
    """
    head, mark, tail = text.rpartition(_SCORES)
    rest = decode(head + b"}", source="", error=RecordError)
    if not mark or "scores" in rest:
        raise RecordError("not as it was packed")
    scores, written = known.get(tail) or known.setdefault(tail, _scores_in(tail))

    def digest_of(payload: Mapping[str, Any]) -> str:
        before = canonical({k: v for k, v in payload.items() if k < "scores"})[1:-1]
        behind = canonical({k: v for k, v in payload.items() if k > "scores"})[1:-1]
        parts = [part for part in (before, f'"scores":{written}', behind) if part]
        return hashlib.sha256(f"{{{','.join(parts)}}}".encode()).hexdigest()

    record = from_json({"record": {**rest, "scores": []}, "sha256": digest}, digest_of=digest_of)
    object.__setattr__(record, "scores", scores)
    return record


def _scores_in(tail: bytes) -> tuple[Scores, str]:
    only = decode(b'{"scores":' + tail, source="", error=RecordError)
    value = only.pop("scores")
    if only:
        raise RecordError("fields behind the scores")
    read: Scores = convert(value, Scores, source="", error=RecordError)
    return read, canonical(value)
