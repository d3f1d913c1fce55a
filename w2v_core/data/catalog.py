"""Dataset names -> utterances. No torch here.

``canary-speech`` is bundled, ``librispeech:PATH`` is any folder in LibriSpeech's layout,
``manifest:PATH`` audio with a table of it; ``test-clean`` and ``dev-clean-dummy`` come from the
hub, with an optional ``@REVISION``. Every expected id ends up as an utterance or as an exclusion
with its reason, or loading raises.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

from w2v_core.config import Share, parse_count, parse_path
from w2v_core.data import hub
from w2v_core.data.decoding import Recording, decode_all
from w2v_core.data.librispeech import list_recordings, note_foreign_characters
from w2v_core.data.listing import MAX_LISTED, first_ten
from w2v_core.data.manifests import list_manifest
from w2v_core.data.plausibility import summarise
from w2v_core.errors import AudioError, ConfigError, DataError, unknown_name
from w2v_core.progress import Progress, silent
from w2v_core.types import Exclusion, Utterance

Source = Literal["bundled", "folder", "manifest", "hub"]

CANARY_SPEECH = "canary-speech"
PREFIXES: dict[str, Source] = {"librispeech:": "folder", "manifest:": "manifest"}
MAX_AUDIO_S = 60.0  # LibriSpeech's longest utterance has 35 s


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """A set of utterances by name; nothing is read until it is loaded."""

    name: str
    """As the user writes it: ``test-clean``."""
    text: str
    """As a cell id holds it, without hyphens: ``test_clean``, ``librispeech_<folder>``, with a
    revision ``test_clean_at_<revision>``."""
    source: Source
    expected_count: int | None = None
    """Utterances in the whole set; None where the folder decides."""
    path: Path | None = None
    """The folder of a ``librispeech:PATH``, the folder or file of a ``manifest:PATH``."""
    revision: str | None = None
    """Branch, tag or commit of a hub dataset."""

    @property
    def needs_hub(self) -> bool:
        """Whether the set comes from the hub or its cache."""
        return self.source == "hub"

    def is_available(self) -> bool:
        """Whether the set is on this machine; reads the disk, never the network."""
        if self.needs_hub:
            return hub.is_cached(self.name, revision=self.revision)
        return self.path is None or self.path.exists()


DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(name=CANARY_SPEECH, text="canary_speech", source="bundled", expected_count=73),
    *(
        DatasetSpec(
            name=name,
            text=name.replace("-", "_"),
            source="hub",
            expected_count=corpus.expected_count,
        )
        for name, corpus in hub.CORPORA.items()
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A loaded set: every id of ``expected`` is in ``utterances`` or in ``exclusions``, once."""

    spec: DatasetSpec
    utterances: tuple[Utterance, ...] = field(repr=False)
    """Ordered by id, decoded, not normalised."""
    exclusions: tuple[Exclusion, ...] = ()
    expected: tuple[str, ...] = field(default=(), repr=False)
    """The ids that the caller asked for, sorted."""
    notes: tuple[str, ...] = ()
    """What a reader of the WER should know of the references and the audio; in the record."""
    revision: str | None = None
    """The resolved commit of a hub dataset."""
    share: Share | None = None
    """Which shard of the set this is (data/sharding.py); None where it is the whole set."""
    whole: tuple[str, ...] = field(default=(), repr=False)
    """The ``expected`` of the whole set, where this is a shard of it."""

    @property
    def audio_s(self) -> float:
        """Seconds of audio over the utterances, exclusions not counted."""
        return sum(utterance.audio_s for utterance in self.utterances)

    @property
    def references(self) -> dict[str, str]:
        """The references by id, of the utterances that have one."""
        return {u.utterance_id: u.reference for u in self.utterances if u.reference is not None}


class _Plan(NamedTuple):
    """What to decode: the recordings come lazily, so a hub corpus is never whole in memory."""

    recordings: Iterable[Recording]
    exclusions: tuple[Exclusion, ...]
    expected: tuple[str, ...]
    revision: str | None = None
    notes: tuple[str, ...] = ()


def parse_dataset(text: str) -> DatasetSpec:
    """Turn ``canary-speech | test-clean[@REVISION] | librispeech:PATH ...`` into a spec.

    Hyphens and underscores are the same, except in PATH and REVISION. The disk is not looked at.

    Raises:
        ConfigError: a prefix without its path, ``@`` without its revision, ``~`` without a home.
        UnknownNameError: any other text; names the nearest.
    """
    for prefix in PREFIXES:
        if text.startswith(prefix):
            return _parse_folder(text, prefix=prefix)
    name, at, revision = text.partition("@")
    for spec in DATASETS:
        if name.replace("_", "-") == spec.name:
            return _pinned(spec, revision=revision) if at else spec
    raise unknown_name(
        "dataset", text, [*(s.name for s in DATASETS), *(f"{p}PATH" for p in PREFIXES)]
    )


def _parse_folder(text: str, *, prefix: str) -> DatasetSpec:
    path = text.removeprefix(prefix)
    if not path.strip():
        raise ConfigError(f"dataset {prefix!r} lacks its path; write {prefix}PATH")
    folder = Path(os.path.abspath(parse_path(path)))  # noqa: PTH100 (resolve reads links)
    stem = re.sub(r"\W+", "_", folder.name).strip("_") or "root"
    kind = f"{prefix[:-1]}_{stem}"
    return DatasetSpec(name=text, text=kind, source=PREFIXES[prefix], path=folder)


def _pinned(spec: DatasetSpec, *, revision: str) -> DatasetSpec:
    if spec.source != "hub":
        raise ConfigError(f"dataset {spec.name} is bundled and has no revision {revision!r}")
    if not revision.strip():
        raise ConfigError(f"dataset {spec.name}@ lacks its revision; write {spec.name}@REVISION")
    suffix = re.sub(r"\W+", "_", revision)
    return replace(spec, revision=revision, text=f"{spec.text}_at_{suffix}")


def load(
    spec: DatasetSpec,
    *,
    limit: int | None = None,
    allow_partial: bool = False,
    max_audio_s: float = MAX_AUDIO_S,
    progress: Progress = silent,
) -> Corpus:
    """Read a whole set into memory: 230 MB for an hour of audio. Blocks on disk (and network).

    Args:
        spec: What to read.
        limit: The first so many utterances in id order; all where None.
        allow_partial: Exclude transcript lines that have no audio instead of raising.
        max_audio_s: Longer utterances are excluded, with their length as the reason.
        progress: Told of each utterance that is decoded.

    Raises:
        ConfigError: ``limit`` is below 1 or beyond the set.
        DataError: audio or transcripts cannot be used: every file that fails to decode is named
            (the first ten, and their count).
        NotCachedError: a hub dataset that is neither cached nor reachable.
    """
    plan = _plan(spec, limit=limit, allow_partial=allow_partial)
    utterances, exclusions = list[Utterance](), list(plan.exclusions)
    failures = list[AudioError]()
    with progress("decoding", total=len(plan.expected), unit="utterances") as advance:
        for outcome in decode_all(plan.recordings, max_audio_s=max_audio_s):
            advance(1)
            if isinstance(outcome, Utterance):
                utterances.append(outcome)
            elif isinstance(outcome, Exclusion):
                exclusions.append(outcome)
            else:
                failures.append(outcome)
    if failures:
        raise _joined(spec, failures)
    utterances.sort(key=lambda u: u.utterance_id)
    _refuse_lost(spec, plan.expected, _ids(utterances, exclusions))
    if not utterances:
        raise _nothing_left(spec, exclusions)
    return Corpus(
        spec=spec,
        utterances=tuple(utterances),
        exclusions=tuple(sorted(exclusions, key=lambda e: e.utterance_id)),
        expected=plan.expected,
        notes=(*plan.notes, *_notes(utterances)),
        revision=plan.revision,
    )


def _notes(utterances: Sequence[Utterance]) -> Iterator[str]:
    yield from note_foreign_characters(u.reference for u in utterances)
    yield from summarise(utterances)


def _plan(spec: DatasetSpec, *, limit: int | None, allow_partial: bool) -> _Plan:
    if limit is not None:
        parse_count("limit", limit)
    if spec.source == "hub":
        files = hub.locate(spec.name, revision=spec.revision)
        ids = hub.read_ids(files, expected_count=None if limit else spec.expected_count)
        chosen = _first(ids, limit, name=spec.name)
        recordings = hub.read_recordings(files, ids=chosen)
        return _Plan(recordings=recordings, exclusions=(), expected=chosen, revision=files.revision)
    list_all = list_manifest if spec.source == "manifest" else list_recordings
    listing = list_all(spec.path or _bundled(), allow_partial=allow_partial)
    ids = _ids(listing.recordings, listing.exclusions)
    if spec.expected_count not in (None, len(ids)):
        raise DataError(
            f"{spec.name}: {len(ids)} utterances where {spec.expected_count} belong; "
            "the installed package is damaged, install it again"
        )
    chosen = _first(ids, limit, name=spec.name)
    wanted = frozenset(chosen)
    return _Plan(
        recordings=[r for r in listing.recordings if r.utterance_id in wanted],
        exclusions=tuple(e for e in listing.exclusions if e.utterance_id in wanted),
        expected=chosen,
        notes=listing.notes,
    )


def _first(ids: tuple[str, ...], limit: int | None, *, name: str) -> tuple[str, ...]:
    if limit is not None and limit > len(ids):
        held = f"{name}, which holds {len(ids)} utterances; use at most {len(ids)}"
        raise ConfigError(f"{{flag:limit}} {limit} is beyond {held}", field="limit", value=limit)
    return ids[:limit]


def _bundled() -> Path:
    return Path(str(resources.files("w2v_core.data") / "canary_speech" / "audio"))


def _joined(spec: DatasetSpec, failures: list[AudioError]) -> AudioError:
    if len(failures) == 1:
        return failures[0]
    head = f"{spec.name}: {len(failures)} files cannot be used"
    return AudioError(first_ten(head, [*map(str, failures)]))


def _nothing_left(spec: DatasetSpec, exclusions: list[Exclusion]) -> DataError:
    first = min(exclusions, key=lambda e: e.utterance_id)
    return DataError(
        f"{spec.name}: all {len(exclusions)} utterances are excluded, nothing is left to measure; "
        f"mend them. The first is {first.utterance_id}: {first.reason}"
    )


def _refuse_lost(spec: DatasetSpec, expected: tuple[str, ...], found: tuple[str, ...]) -> None:
    if found != expected:
        lost = sorted(set(expected) ^ set(found))
        raise DataError(
            f"{spec.name}: {len(expected)} utterances expected, {len(found)} found "
            f"({', '.join(lost[:MAX_LISTED]) or 'duplicates'}); the source changed while loading"
        )


def _ids(found: Iterable[Recording | Utterance], excluded: Iterable[Exclusion]) -> tuple[str, ...]:
    return tuple(sorted([f.utterance_id for f in found] + [e.utterance_id for e in excluded]))
