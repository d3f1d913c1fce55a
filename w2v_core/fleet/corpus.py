"""A corpus decoded once for all processes of a node: float32 samples in one file, mapped by each.

Pages of a mapped file are the system's, and there once however many processes read them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from w2v_core.data.catalog import Corpus, parse_dataset
from w2v_core.errors import DataError
from w2v_core.jsonfile import convert, read_json
from w2v_core.records.store import as_report_error, write_text
from w2v_core.types import Exclusion, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An utterance but for its samples, which lie behind those of the row before."""

    utterance_id: str
    num_samples: int
    reference: str | None
    speaker: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """A corpus but for its samples."""

    dataset: str
    rows: tuple[_Row, ...]
    exclusions: tuple[Exclusion, ...]
    expected: tuple[str, ...]
    notes: tuple[str, ...]
    revision: str | None


def write_mapped(corpus: Corpus, path: Path) -> int:
    """Write a corpus to ``path``, and what is known of it beside it; returns the bytes of audio.

    Raises:
        ReportError: it cannot be written.
    """
    index = _Index(
        dataset=corpus.spec.name,
        rows=tuple(
            _Row(
                utterance_id=u.utterance_id,
                num_samples=u.num_samples,
                reference=u.reference,
                speaker=u.speaker,
                notes=u.notes,
            )
            for u in corpus.utterances
        ),
        exclusions=corpus.exclusions,
        expected=corpus.expected,
        notes=corpus.notes,
        revision=corpus.revision,
    )
    with as_report_error(path.parent), path.open("wb") as file:
        for utterance in corpus.utterances:
            file.write(np.ascontiguousarray(utterance.waveform, dtype=np.float32).data)
    write_text(path.with_suffix(".json"), json.dumps(asdict(index)))
    return path.stat().st_size


def read_mapped(path: Path) -> Corpus:
    """Map a corpus that ``write_mapped`` wrote; its samples are read where they are used.

    Raises:
        DataError: the files do not belong together.
    """
    data = read_json(path.with_suffix(".json"), error=DataError)
    index = convert(data, _Index, source=path.name, error=DataError)
    total = sum(row.num_samples for row in index.rows)
    if path.stat().st_size != total * np.dtype(np.float32).itemsize:
        raise DataError(f"{path}: {path.stat().st_size} bytes for {total} samples; decode it again")
    samples = np.memmap(path, dtype=np.float32, mode="r") if total else np.zeros(0, np.float32)
    utterances, start = [], 0
    for row in index.rows:
        waveform = np.asarray(samples[start : start + row.num_samples])
        utterances.append(
            Utterance(
                utterance_id=row.utterance_id,
                waveform=waveform,
                reference=row.reference,
                speaker=row.speaker,
                notes=row.notes,
            )
        )
        start += row.num_samples
    return Corpus(
        spec=parse_dataset(index.dataset),
        utterances=tuple(utterances),
        exclusions=index.exclusions,
        expected=index.expected,
        notes=index.notes,
        revision=index.revision,
    )
