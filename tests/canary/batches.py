"""Training batches of a few fixed shapes, from corpora that `canary_speech.synthesise` writes."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.canary.architecture import encode
from w2v_core.data.audio import normalise
from w2v_core.types import FRAME_STRIDE, RECEPTIVE_FIELD, SAMPLE_RATE_HZ, num_frames

# Padded lengths in seconds. Few shapes: oneDNN plans every new shape once.
LENGTHS_S = (*np.arange(1.0, 8.0, 0.5), *np.arange(8.0, 16.0, 1.0), *np.arange(16.0, 31.0, 2.0))
GAP_S = (0.05, 0.30)  # between joined sentences, as in the bundled set
TARGETS_S = ((0.35, 0.0, 0.0), (0.45, 4.0, 12.0), (0.20, 12.0, 29.5))  # share, from, to
MIN_PHONE_COUNT = 20
IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A corpus sentence; arrays view the corpus."""

    text: str
    samples: npt.NDArray[np.int16]
    starts: npt.NDArray[np.int64]
    """First sample of each phoneme."""
    phones: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One training batch, zero-padded to a length of the grid."""

    waves: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int64]
    """(B, N), 1 where there is audio."""
    phones: npt.NDArray[np.int64]
    """(B, T), `IGNORED` in the padding."""
    targets: list[list[int]]
    frames: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Sentences by speaker; phoneme 0 is a pause."""

    speakers: dict[int, list[Sentence]]
    num_phones: int


def load_corpus(paths: Sequence[Path]) -> Corpus:
    """Read every `<path>.jsonl` and map `<path>.i16`."""
    rows = [row for path in paths for row in _rows(path)]
    counts = Counter(phone for row in rows for phone, _ in row["phones"])
    common = sorted(phone for phone, count in counts.items() if count >= MIN_PHONE_COUNT)
    index = {phone: number for number, phone in enumerate(common, start=1)}
    speakers: dict[int, list[Sentence]] = {}
    for row in rows:
        one = Sentence(
            text=row["text"],
            samples=row["samples"],
            starts=np.array([0, *(start for _, start in row["phones"])], np.int64),
            phones=np.array([0, *(index.get(p, IGNORED) for p, _ in row["phones"])], np.int64),
        )
        speakers.setdefault(row["speaker"], []).append(one)
    return Corpus(speakers=speakers, num_phones=len(index) + 1)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    audio = np.memmap(path.with_suffix(".i16"), dtype=np.int16, mode="r")
    with path.with_suffix(".jsonl").open(encoding="utf-8") as index:
        for line in index:
            row = json.loads(line)
            yield row | {"samples": audio[row["offset"] :][: row["num_samples"]]}


def join(group: list[Sentence], *, rng: random.Random) -> Sentence:
    """Concatenate sentences of one speaker with random pauses."""
    samples: list[npt.NDArray[np.int16]] = []
    starts: list[npt.NDArray[np.int64]] = []
    offset = 0
    for one in group:
        starts.append(one.starts + offset)
        gap = np.zeros(int(rng.uniform(*GAP_S) * SAMPLE_RATE_HZ), np.int16)
        samples += [one.samples, gap]
        offset += len(one.samples) + len(gap)
    return Sentence(
        text=" ".join(one.text for one in group),
        samples=np.concatenate(samples[:-1]),
        starts=np.concatenate(starts),
        phones=np.concatenate([one.phones for one in group]),
    )


def _target(rng: random.Random) -> float:
    share = rng.random()
    for weight, low, high in TARGETS_S:
        if share < weight:
            return rng.uniform(low, high)
        share -= weight
    return 0.0


def utterances(corpus: Corpus, *, rng: random.Random) -> Iterator[Sentence]:
    """Yield every sentence of the corpus once, some of them joined up to 29.5 s."""
    stacks = [rng.sample(one, k=len(one)) for one in corpus.speakers.values()]
    while stacks:
        stack = rng.choice(stacks)
        target = _target(rng) * SAMPLE_RATE_HZ
        group = [stack.pop()]
        total = len(group[0].samples)
        while stack and total + len(stack[-1].samples) <= target:
            group.append(stack.pop())
            total += len(group[-1].samples) + int(GAP_S[1] * SAMPLE_RATE_HZ)
        yield join(group, rng=rng)
        stacks = [one for one in stacks if one]


def collate(group: list[Sentence], *, num_samples: int) -> Batch:
    """Normalise, pad and label the utterances of one batch."""
    total = num_frames(num_samples)
    waves = np.zeros((len(group), num_samples), np.float32)
    mask = np.zeros((len(group), num_samples), np.int64)
    phones = np.full((len(group), total), IGNORED, np.int64)
    frames = [num_frames(len(one.samples)) for one in group]
    for row, one in enumerate(group):
        waves[row, : len(one.samples)] = normalise(one.samples.astype(np.float32))
        mask[row, : len(one.samples)] = 1
        centres = np.arange(frames[row]) * FRAME_STRIDE + RECEPTIVE_FIELD // 2
        found = np.searchsorted(one.starts, centres, side="right") - 1
        phones[row, : frames[row]] = one.phones[found]
    targets = [encode(one.text) for one in group]
    return Batch(waves=waves, mask=mask, phones=phones, targets=targets, frames=frames)


def batches(corpus: Corpus, *, batch_s: float, max_s: float, rng: random.Random) -> Iterator[Batch]:
    """Yield one epoch of full batches of at most `batch_s` seconds (one row if longer).

    Utterances beyond `max_s` and incomplete batches are dropped: the next epoch joins anew.
    """
    grid = [int(length * SAMPLE_RATE_HZ) for length in LENGTHS_S]
    waiting: dict[int, list[Sentence]] = {}
    full: list[tuple[int, list[Sentence]]] = []
    for one in utterances(corpus, rng=rng):
        if len(one.samples) > max_s * SAMPLE_RATE_HZ:
            continue
        length = next(length for length in grid if length >= len(one.samples))
        group = waiting.setdefault(length, [])
        group.append(one)
        if len(group) >= max(1, int(batch_s * SAMPLE_RATE_HZ) // length):
            full.append((length, waiting.pop(length)))
    rng.shuffle(full)
    for length, group in full:
        yield collate(group, num_samples=length)
