"""The frame ids of every utterance of a cell, and where cards do not agree on them."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from w2v_core.errors import RecordError
from w2v_core.records.store import write_file_bytes
from w2v_core.types import Transcription

Frames = Mapping[str, npt.NDArray[np.int32]]
"""(frames,) arg-max ids by utterance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """An utterance that one card transcribed otherwise than most of its peers."""

    card: str
    utterance_id: str
    frame: int
    """The first that differs."""
    own: int | None
    """The card's token id there; None where it has no such frame."""
    others: int | None
    """The majority's."""
    num_frames: int
    """How many differ."""

    def __str__(self) -> str:
        """Tell it in words."""
        return (
            f"{self.utterance_id} frame {self.frame}: id {self.own}, the others' {self.others} "
            f"({self.num_frames} frames differ)"
        )


def write_frames(path: Path, scored: Transcription) -> None:
    """Write the frame ids of a pass, whole or not at all; raises ReportError."""
    kept = [h for h in scored.hypotheses if h.frame_ids is not None]
    frames = [np.asarray(h.frame_ids, dtype=np.int32) for h in kept]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        ids=np.array([h.utterance_id for h in kept], dtype=np.str_),
        num_frames=np.array([len(f) for f in frames], dtype=np.int64),
        frames=np.concatenate(frames) if frames else np.zeros(0, np.int32),
    )
    write_file_bytes(path, file.getvalue())


def read_frames(path: Path) -> Frames:
    """Read back what ``write_frames`` wrote; raises RecordError."""
    try:
        with np.load(path, allow_pickle=False) as data:
            ends = np.cumsum(data["num_frames"])[:-1]
            parts = np.split(data["frames"], ends) if len(data["ids"]) else []
            return {str(i): part for i, part in zip(data["ids"], parts, strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(f"{path}: no frame ids can be read: {error}") from error


def digest(ids: npt.NDArray[np.int32]) -> str:
    """Return the SHA-256 of an utterance's frame ids."""
    return hashlib.sha256(ids.astype("<i4").tobytes()).hexdigest()


def disagreements(cards: Mapping[str, Frames]) -> tuple[list[Disagreement], list[str]]:
    """Compare the frame ids of cards that computed the same batches, bit by bit.

    Returns:
        Who differs from more than half of those that have the utterance, and the utterances on
        which no ids have such a majority.
    """
    found, open_ids = [], []
    for utterance_id in sorted({i for frames in cards.values() for i in frames}):
        ids = {name: f[utterance_id] for name, f in cards.items() if utterance_id in f}
        digests = {name: digest(f) for name, f in ids.items()}
        most, wrong = outvoted(digests)
        if most is None:
            open_ids.append(utterance_id)
            continue
        norm = next(ids[name] for name, d in digests.items() if d == most)
        found += [first_difference(name, utterance_id, ids[name], norm) for name in wrong]
    return found, open_ids


def outvoted(digests: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """Return the digest of more than half of the cards, and who has another one.

    None where no digest has such a majority: nobody is wrong then.
    """
    ((most, count),) = Counter(digests.values()).most_common(1)
    if 2 * count <= len(digests):
        return None, []
    return most, [name for name, own in digests.items() if own != most]


def first_difference(
    card: str, utterance_id: str, own: npt.NDArray[np.int32], norm: npt.NDArray[np.int32]
) -> Disagreement:
    """Name the first frame in which two rows of ids differ, and count them."""
    shared = min(len(own), len(norm))
    differs = np.flatnonzero(own[:shared] != norm[:shared])
    frame = int(differs[0]) if len(differs) else shared
    return Disagreement(
        card=card,
        utterance_id=utterance_id,
        frame=frame,
        own=int(own[frame]) if frame < len(own) else None,
        others=int(norm[frame]) if frame < len(norm) else None,
        num_frames=len(differs) + abs(len(own) - len(norm)),
    )
