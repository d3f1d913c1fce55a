"""A cell's first check: its outputs against the goldens of the plain Hugging Face forward."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from w2v_core.data.catalog import Corpus
from w2v_core.engine.engine import Engine
from w2v_core.engine.pipeline import OnLogits
from w2v_core.scoring.goldens import (
    GoldenDifference,
    Observation,
    compare,
    digest,
    load_golden_set,
)
from w2v_core.scoring.wer import corpus_wer, score
from w2v_core.types import Dtype, Transcription

LIMITS_FILE = Path(__file__).with_name("parity_limits.json")
"""Limits by device and dtype, each with its reason. Accepting another one is a change of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityLimit:
    """How far a dtype may be from float32 goldens on a device."""

    device: str
    """Which row it is of: a card's name, a kind of device, or ``any``."""
    changed_fraction: float
    """Utterances whose transcript may differ, a fraction of the set, rounded up."""
    logit_distance: float
    """Largest estimated RMS logit difference of an utterance."""
    reason: str


def limit_of(dtype: Dtype, *, device: str, device_name: str) -> ParityLimit:
    """Return the limit of a card where it has one of its own, else of its kind, else of any."""
    rows = json.loads(LIMITS_FILE.read_text())
    for name in (device_name, device, "any"):
        if dtype in rows.get(name, {}):
            return ParityLimit(device=name, **rows[name][dtype])
    raise LookupError(f"{LIMITS_FILE.name} has no limit of {dtype} for any device")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFinding:
    """What the parity check found."""

    changed: tuple[str, ...] | None = None
    """Ids whose transcript differs; None where there are no goldens."""
    golden_wer: float | None = None
    logit_distance: float | None = None
    reasons: tuple[str, ...] = ()
    """Why the cell is invalid; empty where parity holds or has nothing to hold against."""


class GoldenCheck:
    """Holds a pass against the checkpoint's goldens of the set, where it has some."""

    def __init__(self, engine: Engine, corpus: Corpus) -> None:
        """Compute nothing yet."""
        path = Path(engine.checkpoint.location) / "goldens.json"
        self._path = path if corpus.spec.name == "canary-speech" and path.is_file() else None
        self._engine, self._corpus = engine, corpus
        self._digests: dict[str, tuple[float, ...]] = {}

    @property
    def on_logits(self) -> OnLogits | None:
        """What the scored pass is to hand its logits to, which saves a pass over the set.

        On a host alone: there they come from the very step that is timed. On a device that step
        leaves only its ids, and the scored pass must be it.
        """
        return self._take if self._engine.backend.is_host and self._path is not None else None

    def _take(self, logits: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self._digests.update((i, tuple(digest(values))) for i, values in logits.items())

    def check(self, scored: Transcription) -> GoldenFinding:
        """Compare transcripts and logits; blocks for a pass where no logits were handed over.

        The stock forward pads as is, so its changes are listed and not held against it.
        """
        if self._path is None:
            return GoldenFinding()
        if not self._digests:
            self._take(self._engine.logits(self._corpus.utterances))
        return _check_goldens(self._engine, self._corpus, scored, self._path, self._digests)


def _check_goldens(
    engine: Engine,
    corpus: Corpus,
    scored: Transcription,
    path: Path,
    digests: Mapping[str, tuple[float, ...]],
) -> GoldenFinding:
    golden_set = load_golden_set(path)
    if golden_set.model_sha256 != engine.checkpoint.sha256:
        return GoldenFinding(reasons=(f"{path.name} belongs to other weights than these",))
    ids = {u.utterance_id for u in corpus.utterances}
    goldens = {i: golden for i, golden in golden_set.goldens.items() if i in ids}
    observations = [
        (
            h.utterance_id,
            Observation(
                hypothesis=h.text,
                frame_ids=np.asarray([] if h.frame_ids is None else h.frame_ids, dtype=np.int64),
                digest=digests[h.utterance_id],
            ),
        )
        for h in scored.hypotheses
        if h.utterance_id in digests
    ]
    comparison = compare(goldens, observations)
    distance = max(comparison.distances.values(), default=0.0)
    references = corpus.references
    texts = {i: g.hypothesis for i, g in goldens.items() if i in references}
    limit = limit_of(
        engine.config.dtype, device=engine.backend.name, device_name=engine.backend.device_name
    )
    reasons = _reasons(
        comparison,
        engine.config.dtype,
        limit=limit,
        device_name=engine.backend.device_name,
        total=len(goldens),
    )
    return GoldenFinding(
        changed=(*comparison.changed, *comparison.changed_low_margin),
        golden_wer=corpus_wer(score(references, texts)),
        logit_distance=distance,
        reasons=reasons if engine.config.forward == "exact" else (),
    )


def _reasons(
    comparison: GoldenDifference,
    dtype: Dtype,
    *,
    limit: ParityLimit,
    device_name: str,
    total: int,
) -> tuple[str, ...]:
    reasons = []
    if comparison.missing or comparison.extra or comparison.duplicate:
        reasons.append(
            f"utterances differ from the goldens': missing {comparison.missing[:3]}, "
            f"extra {comparison.extra[:3]}, duplicate {comparison.duplicate[:3]}"
        )
    if comparison.wrong_num_frames:
        reasons.append(f"frames were lost or added in {comparison.wrong_num_frames[:3]}")
    if len(comparison.changed) > math.ceil(limit.changed_fraction * total):
        reasons.append(
            f"{len(comparison.changed)} of {total} transcripts differ from the goldens "
            f"(limit {limit.changed_fraction:.1%} in {dtype}); first {comparison.changed[:3]}"
        )
    far = comparison.beyond(limit.logit_distance)
    if far:
        worst = max(far, key=lambda i: comparison.distances[i])
        distance = comparison.distances[worst]
        reasons.append(
            f"logits of {len(far)} utterances are off by more than {limit.logit_distance} RMS "
            f"({dtype}); worst {worst} by {distance:.3g}, {distance / limit.logit_distance:.3g} "
            f"times the limit of {limit.device} ({limit.reason}). Where that is this card's "
            f"rounding and the transcripts are right, accept it: a row {device_name!r} in "
            f"{LIMITS_FILE.parent.name}/{LIMITS_FILE.name}, with the reason"
        )
    return tuple(reasons)
