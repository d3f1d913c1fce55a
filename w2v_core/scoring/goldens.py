"""Stored reference outputs of a checkpoint, and what differs from them. No torch here.

Word error rate is a poor bug detector: several faults leave it equal or lower it. A golden keeps,
per utterance, the transcript, the arg-max id of every frame and a digest of the logits that can be
compared within a tolerance on any machine.

The digest projects the (T, V) logits ``x`` on K = 16 patterns of signs ``s``, each +1 or -1::

    digest[k] = sum_tv(s[k, t, v] * x[t, v]) / sqrt(T * V)

The signs are independent, so the products of different entries cancel on average: for a logit
difference ``d``, every ``(digest_a[k] - digest_b[k]) ** 2`` has the expectation
``sum_tv(d ** 2) / (T * V)``. Hence the root mean square of the digest difference over k estimates
the root mean square of the logit difference, with a relative error of about
``1 / sqrt(2 * K)`` = 18 %.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from w2v_core._moved import names_of
from w2v_core.errors import DataError
from w2v_core.jsonfile import convert, name_of, read_json
from w2v_core.printable import shown

NUM_PROJECTIONS = 16
LOW_MARGIN = 1e-3  # top-two logit margin; below it a legitimate fp32 difference may flip a frame
FP32_LOGIT_LIMIT = 3e-4  # of the digest distance; how it was chosen: the canary model cards
SCHEMA = 1
_DIGITS = 6  # of a stored digest; fp32 rounding of the logits is of that order


TokenId: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Frames: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=10**6)]
"""Of one run; five hours are 900,000 frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The reference output of one utterance."""

    hypothesis: str
    """Greedy transcript."""
    num_frames: int
    runs: tuple[tuple[TokenId, Frames], ...]
    """Arg-max ids, run-length coded: (id, frames)."""
    low_margin: tuple[int, ...]
    """Frames whose two largest logits are less than `LOW_MARGIN` apart."""
    digest: tuple[float, ...]

    @property
    def frame_ids(self) -> npt.NDArray[np.int64]:
        """The (T,) arg-max ids."""
        ids = [token for token, _ in self.runs]
        return np.repeat(np.array(ids, np.int64), [count for _, count in self.runs])


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """The goldens of one checkpoint and what they were made from."""

    goldens: dict[str, Golden]
    """By utterance id."""
    model_sha256: str
    """Of model.safetensors."""
    audio_sha256: str
    """Of the audio files, one after the other in the order of their ids."""
    made_with: dict[str, str]
    """Versions of the libraries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A golden set as its file holds it."""

    goldens: dict[str, Any]
    model_sha256: str
    audio_sha256: str
    made_with: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was computed for one utterance, to be compared with its golden."""

    hypothesis: str
    frame_ids: npt.NDArray[np.int64]
    """(T,) arg-max ids."""
    digest: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenDifference:
    """What differs from the goldens; utterance ids in the order of the goldens."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    duplicate: tuple[str, ...]
    changed: tuple[str, ...]
    """Transcript differs, and not only by frames of low margin."""
    changed_low_margin: tuple[str, ...]
    """Transcript differs, but every differing frame has a low margin: legitimate in fp32."""
    wrong_num_frames: tuple[str, ...]
    distances: dict[str, float]
    """Estimated RMS logit difference; infinite where the number of frames differs."""

    def beyond(self, limit: float) -> tuple[str, ...]:
        """List the utterances whose logits differ by more than `limit`."""
        return tuple(one for one, distance in self.distances.items() if distance > limit)


def digest(logits: npt.NDArray[np.float32]) -> list[float]:
    """Project (T, V) logits on the sign patterns; see the module's docstring."""
    num_frames, num_tokens = logits.shape
    frames = np.arange(num_frames, dtype=np.uint64)[:, None] << np.uint64(16)
    bits = _splitmix64(frames | np.arange(num_tokens, dtype=np.uint64)[None, :])
    values = logits.astype(np.float64)
    scale = float(np.sqrt(max(1, logits.size)))
    sums: list[float] = []
    for projection in range(NUM_PROJECTIONS):
        positive = (bits >> np.uint64(63 - projection)) & np.uint64(1)
        sums.append(float(np.where(positive == 1, values, -values).sum()) / scale)
    return sums


def _splitmix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash each value (Steele, Lea and Flood, 2014); bit 63 - k is the sign of pattern k."""
    # Array arithmetic in uint64 wraps around silently, as the hash wants it.
    mixed = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def digest_distance(left: Sequence[float], right: Sequence[float]) -> float:
    """Estimate the RMS logit difference; infinite if a digest is not finite."""
    difference = np.asarray(left, np.float64) - np.asarray(right, np.float64)
    distance = float(np.sqrt(np.mean(difference**2)))
    return distance if np.isfinite(distance) else float("inf")


def low_margin_frames(logits: npt.NDArray[np.float32], *, margin: float = LOW_MARGIN) -> list[int]:
    """List the frames of (T, V) logits whose two largest entries are less than `margin` apart."""
    top = np.partition(logits, -2, axis=-1)[:, -2:]
    found: list[int] = np.flatnonzero(top[:, 1] - top[:, 0] < margin).tolist()
    return found


def make_golden(logits: npt.NDArray[np.float32], *, hypothesis: str) -> Golden:
    """Build the golden of one utterance from its (T, V) logits and transcript."""
    ids: list[int] = logits.argmax(-1).tolist()
    return Golden(
        hypothesis=hypothesis,
        num_frames=len(ids),
        runs=tuple((token, len(list(run))) for token, run in groupby(ids)),
        low_margin=tuple(low_margin_frames(logits)),
        digest=tuple(round(value, _DIGITS) for value in digest(logits)),
    )


def observe(logits: npt.NDArray[np.float32], *, hypothesis: str) -> Observation:
    """Build the observation of one utterance from its valid (T, V) logits and transcript."""
    ids = logits.argmax(-1).astype(np.int64)
    return Observation(hypothesis=hypothesis, frame_ids=ids, digest=tuple(digest(logits)))


def compare(
    goldens: Mapping[str, Golden], observations: Iterable[tuple[str, Observation]]
) -> GoldenDifference:
    """Compare (utterance id, observation) pairs with the goldens."""
    pairs = list(observations)
    counts = Counter(one for one, _ in pairs)
    by_id = dict(pairs)
    common = {one: (golden, by_id[one]) for one, golden in goldens.items() if one in by_id}
    differing = [one for one, (gold, seen) in common.items() if gold.hypothesis != seen.hypothesis]
    excused = {one for one in differing if _only_low_margin(*common[one])}
    return GoldenDifference(
        missing=tuple(one for one in goldens if one not in by_id),
        extra=tuple(one for one in by_id if one not in goldens),
        duplicate=tuple(one for one, count in counts.items() if count > 1),
        changed=tuple(one for one in differing if one not in excused),
        changed_low_margin=tuple(one for one in differing if one in excused),
        wrong_num_frames=tuple(
            one for one, (gold, seen) in common.items() if gold.num_frames != len(seen.frame_ids)
        ),
        distances={one: _distance(gold, seen) for one, (gold, seen) in common.items()},
    )


def _only_low_margin(golden: Golden, seen: Observation) -> bool:
    if golden.num_frames != len(seen.frame_ids):
        return False
    frames = np.flatnonzero(golden.frame_ids != seen.frame_ids).tolist()
    # No differing frame means that the decoder differs, not the logits.
    return bool(frames) and set(frames) <= set(golden.low_margin)


def _distance(golden: Golden, seen: Observation) -> float:
    if golden.num_frames != len(seen.frame_ids):
        return float("inf")
    return digest_distance(golden.digest, seen.digest)


def sha256_of(paths: Iterable[Path]) -> str:
    """Hash the bytes of files, one after the other."""
    state = hashlib.sha256()
    for path in paths:
        state.update(path.read_bytes())
    return state.hexdigest()


def save_golden_set(path: Path, golden_set: GoldenSet) -> None:
    """Write JSON, one utterance a line, so that a diff shows which ones changed."""
    head = {
        "schema": SCHEMA,
        "model_sha256": golden_set.model_sha256,
        "audio_sha256": golden_set.audio_sha256,
        "made_with": golden_set.made_with,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    rows = [f"{json.dumps(k)}: {json.dumps(asdict(g))}" for k, g in golden_set.goldens.items()]
    text = "\n".join(["{", *lines, '"goldens": {', ",\n".join(rows), "}", "}", ""])
    path.write_text(text, encoding="utf-8")


def load_golden_set(path: Path) -> GoldenSet:
    """Read goldens and what they were made from.

    Raises:
        DataError: If the file is missing, malformed or of another schema.
    """
    content = read_json(path, error=DataError)
    name = name_of(path)
    if content.get("schema") != SCHEMA:
        raise DataError(
            f"{name}: golden schema is {shown(content.get('schema'))}; known is {SCHEMA}"
        )
    held = convert(content, _Held, source=name, error=DataError)
    goldens = {}
    for utterance_id, row in held.goldens.items():
        where = f"{name} golden {shown(utterance_id)}"
        golden = goldens[utterance_id] = convert(row, Golden, source=where, error=DataError)
        frames = sum(count for _, count in golden.runs)
        if golden.num_frames != frames or len(golden.digest) != NUM_PROJECTIONS:
            raise DataError(
                f"{where} has {golden.num_frames} frames, its runs {frames}; "
                f"{len(golden.digest)} projections, expected {NUM_PROJECTIONS}; make the goldens "
                "anew"
            )
    return GoldenSet(
        goldens=goldens,
        model_sha256=held.model_sha256,
        audio_sha256=held.audio_sha256,
        made_with=held.made_with,
    )


if not TYPE_CHECKING:
    __getattr__ = names_of("scoring.goldens", ["scoring.goldens"])
