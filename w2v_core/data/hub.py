"""Corpora from the Hugging Face hub: only the parquet files of the one split that is asked for.

``datasets.load_dataset("openslr/librispeech_asr", "clean", split="test")`` would first fetch every
split of the configuration, 30 GB of training audio among them. So the split's files are fetched by
``huggingface_hub`` into its usual cache, and ``datasets`` reads them from there, row group by row
group, with the audio left encoded. Importing this module imports neither package.
"""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from w2v_core.data.decoding import Recording
from w2v_core.errors import (
    LFS_REMEDY,
    DataError,
    NotCachedError,
    TranscriptError,
    is_lfs_pointer,
    unknown_name,
)
from w2v_core.hub_errors import explain

WITHOUT_HUB = "canary-speech, librispeech:PATH and manifest:PATH need no hub"
LFS_POINTER_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HubCorpus:
    """One split of one dataset repository in LibriSpeech's parquet format."""

    repository: str
    config: str
    split: str
    expected_count: int
    """Utterances in the split."""

    @property
    def pattern(self) -> str:
        """The split's files in the repository, in a folder of their own or not."""
        return f"{self.config}/{self.split}*.parquet"


CORPORA: Mapping[str, HubCorpus] = MappingProxyType(
    {
        "test-clean": HubCorpus(
            repository="openslr/librispeech_asr", config="clean", split="test", expected_count=2620
        ),
        "dev-clean-dummy": HubCorpus(
            repository="hf-internal-testing/librispeech_asr_dummy",
            config="clean",
            split="validation",
            expected_count=73,
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFiles:
    """A split on disk."""

    name: str
    """What errors call it."""
    paths: tuple[Path, ...]
    revision: str | None = None
    """The resolved commit; None for files that are no hub snapshot."""


def is_cached(name: str, *, revision: str | None = None, cache_dir: Path | None = None) -> bool:
    """Whether every utterance of the corpus is in the local cache; never uses the network.

    Raises:
        UnknownNameError: the hub catalog does not hold ``name``.
    """
    corpus = _corpus(name)
    try:
        files = _snapshot(name, revision=revision, cache_dir=cache_dir, local_only=True)
        return sum(rows for rows, _ in _footers(files)) == corpus.expected_count
    except (NotCachedError, DataError):
        return False


def locate(name: str, *, revision: str | None = None, cache_dir: Path | None = None) -> HubFiles:
    """Find the split in the cache, and fetch it where it is not there or not complete.

    A complete cached copy is used without asking the hub for a newer one. Blocks on the network
    while fetching; ``HF_HUB_OFFLINE=1`` forbids that, as everywhere.

    Args:
        name: A key of ``CORPORA``.
        revision: Branch, tag or commit; the newest cached or current one where None.
        cache_dir: The hub cache; huggingface_hub's own (``HF_HUB_CACHE``) where None.

    Raises:
        UnknownNameError: the hub catalog does not hold ``name``.
        NotCachedError: not cached and not reachable; says how to fetch it, and what works without.
    """
    _corpus(name)
    local_only = is_cached(name, revision=revision, cache_dir=cache_dir)
    return _snapshot(name, revision=revision, cache_dir=cache_dir, local_only=local_only)


def read_ids(files: HubFiles, *, expected_count: int | None = None) -> tuple[str, ...]:
    """Read the id column, sorted.

    Raises:
        DataError: the count is not ``expected_count``, or a file is cut off or of another format.
        TranscriptError: an id occurs twice.
    """
    ids = sorted(str(row["id"]) for row in _rows(files, columns=("id",)))
    if twice := sorted({first for first, second in pairwise(ids) if first == second}):
        raise TranscriptError(
            f"{files.name}: {len(twice)} ids occur twice: {', '.join(twice[:10])}; fetch it again"
        )
    if expected_count is not None and len(ids) != expected_count:
        raise DataError(
            f"{files.name}: {len(ids)} utterances where {expected_count} belong; "
            "the copy is incomplete or another set: delete it from the hub cache and fetch it again"
        )
    return tuple(ids)


def read_recordings(files: HubFiles, *, ids: Collection[str]) -> Iterator[Recording]:
    """Yield the recordings of ``ids`` in the order of the files, one row group in memory.

    Raises:
        DataError: a file is cut off or of another format, or a row has no audio; names its id.
        TranscriptError: a reference is empty; names its id.
    """
    wanted = frozenset(ids)
    for row in _rows(files, columns=("id", "text", "audio")):
        if str(row["id"]) in wanted:
            yield _recording(files, row)


def _corpus(name: str) -> HubCorpus:
    if name not in CORPORA:
        raise unknown_name("hub dataset", name, CORPORA)
    return CORPORA[name]


def _snapshot(
    name: str, *, revision: str | None, cache_dir: Path | None, local_only: bool
) -> HubFiles:
    if find_spec("datasets") is None:
        raise NotCachedError(
            f"dataset {name} needs the package datasets: pip install 'w2v-core[hub]'; {WITHOUT_HUB}"
        )
    from huggingface_hub import HfApi, snapshot_download

    corpus = CORPORA[name]
    try:
        folder = Path(
            snapshot_download(
                corpus.repository,
                repo_type="dataset",
                revision=revision,
                cache_dir=cache_dir,
                allow_patterns=corpus.pattern,
                local_files_only=local_only,
            )
        )
        files = (p for p in folder.rglob("*.parquet") if _belongs(p.relative_to(folder), corpus))
        paths = sorted(files)
        if not paths and not local_only:  # old clients take an empty copy, whatever the hub said
            HfApi().dataset_info(corpus.repository, revision=revision)
    except Exception as error:  # offline, refused, dropped, a full disk: no one class has them all
        fault = explain(error, repository=corpus.repository, revision=revision)
        raise _not_cached(
            name,
            revision=revision,
            reason=fault.reason,
            can_fetch=fault.can_fetch,
        ) from error
    if not paths:
        reason = f"snapshot {folder.name} holds no {corpus.pattern}"
        raise _not_cached(name, revision=revision, reason=reason)
    return HubFiles(name=name, paths=tuple(paths), revision=folder.name)


def _belongs(path: Path, corpus: HubCorpus) -> bool:
    return fnmatch.fnmatchcase(path.as_posix(), corpus.pattern)


def download_command(name: str, revision: str | None = None) -> str:
    """Write the command that fetches a set into the hub's cache."""
    corpus = CORPORA[name]
    at = f" --revision {revision}" if revision else ""
    return f"hf download {corpus.repository} --repo-type dataset{at} --include '{corpus.pattern}'"


def _not_cached(
    name: str, *, revision: str | None, reason: str, can_fetch: bool = True
) -> NotCachedError:
    corpus = CORPORA[name]
    remedy = f"it is fetched by `{download_command(name, revision)}`; " if can_fetch else ""
    return NotCachedError(
        f"dataset {name} ({corpus.repository}) is not in the hub cache, or not whole, and cannot "
        f"be fetched: {reason}; {remedy}{WITHOUT_HUB}"
    )


def _footers(files: HubFiles) -> list[tuple[int, frozenset[str]]]:
    """Read each file's row count and column names."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    footers = []
    for path in files.paths:
        try:
            metadata = pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{files.name}: {path} {_damage(path, error)}") from error
        footers.append((metadata.num_rows, frozenset(metadata.schema.to_arrow_schema().names)))
    return footers


def _damage(path: Path, error: Exception) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if is_lfs_pointer(file.read(LFS_POINTER_BYTES)):
            return LFS_REMEDY
    return f"is no whole parquet file ({error}); delete it and fetch it again"


def _rows(files: HubFiles, *, columns: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    import datasets

    for path, (_, names) in zip(files.paths, _footers(files), strict=True):
        if missing := sorted(set(columns) - names):
            raise DataError(
                f"{files.name}: {path} lacks the columns {', '.join(missing)}; "
                "it is not in LibriSpeech's format"
            )
    rows = datasets.load_dataset(
        "parquet",
        data_files=[str(path) for path in files.paths],
        split="train",  # what datasets calls files that are passed without a split
        streaming=True,
        columns=list(columns),
    )
    if "audio" in columns:
        rows = rows.cast_column("audio", datasets.Audio(decode=False))
    yield from rows


def _recording(files: HubFiles, row: Mapping[str, Any]) -> Recording:
    name = str(row["id"])
    audio, text = row["audio"] or {}, str(row["text"] or "").strip()
    data: bytes | None = audio.get("bytes")
    path: str | None = audio.get("path")
    if data is None and not path:
        raise DataError(f"{files.name}: {name} has no audio; fetch the dataset again")
    if not text:
        raise TranscriptError(f"{files.name}: {name}: the reference is empty; fetch it again")
    return Recording(
        utterance_id=name,
        audio=data if data is not None else Path(path or ""),
        name=f"{files.name}: {name}",
        reference=text,
        speaker=name.split("-", maxsplit=1)[0],
    )
