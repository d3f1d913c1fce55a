"""A cell's first check: its outputs against the goldens of the plain Hugging Face forward."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from w2v_core.data.catalog import Corpus
from w2v_core.engine.engine import Engine
from w2v_core.scoring.goldens import (
    FP32_LOGIT_LIMIT,
    Comparison,
    Observation,
    compare,
    digest,
    load_golden_set,
)
from w2v_core.scoring.wer import corpus_wer, score
from w2v_core.types import Dtype, Transcription

__all__ = ["LIMITS", "GoldenFinding", "ParityLimit", "check_goldens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityLimit:
    """How far a dtype may be from float32 goldens."""

    changed_fraction: float
    """Utterances whose transcript may differ, a fraction of the set, rounded up."""
    logit_distance: float
    """Largest estimated RMS logit difference of an utterance."""


# float32: one changed transcript is a fault, and the limit separates rounding (5e-6) from the
# mildest planted fault (2e-3), see the canaries' model cards. bfloat16 keeps 8 bits of mantissa:
# the canaries change at most 1 of 73 transcripts and 0.03 RMS; the bounds are 3 of 73 and 0.1.
LIMITS: Mapping[Dtype, ParityLimit] = {
    "float32": ParityLimit(changed_fraction=0.0, logit_distance=FP32_LOGIT_LIMIT),
    "bfloat16": ParityLimit(changed_fraction=0.041, logit_distance=0.1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFinding:
    """What the parity check found."""

    changed: tuple[str, ...] | None = None
    """Ids whose transcript differs; None where there are no goldens."""
    golden_wer: float | None = None
    logit_distance: float | None = None
    reasons: tuple[str, ...] = ()
    """Why the cell is invalid; empty where parity holds or has nothing to hold against."""


def check_goldens(engine: Engine, corpus: Corpus, scored: Transcription) -> GoldenFinding:
    """Compare transcripts and logits with the checkpoint's goldens, where it has some; blocks.

    The stock forward pads as is, so its changes are listed and not held against it.
    """
    path = Path(engine.checkpoint.location) / "goldens.json"
    if corpus.spec.name != "canary-speech" or not path.is_file():
        return GoldenFinding()
    golden_set = load_golden_set(path)
    if golden_set.model_sha256 != engine.checkpoint.sha256:
        return GoldenFinding(reasons=(f"{path.name} belongs to other weights than these",))
    ids = {u.utterance_id for u in corpus.utterances}
    goldens = {i: golden for i, golden in golden_set.goldens.items() if i in ids}
    logits = engine.logits(corpus.utterances)
    observations = [
        (
            h.utterance_id,
            Observation(
                hypothesis=h.text,
                frame_ids=np.asarray([] if h.frame_ids is None else h.frame_ids, dtype=np.int64),
                digest=tuple(digest(logits[h.utterance_id])),
            ),
        )
        for h in scored.hypotheses
        if h.utterance_id in logits
    ]
    comparison = compare(goldens, observations)
    distance = max(comparison.distances.values(), default=0.0)
    references = {u.utterance_id: u.reference for u in corpus.utterances if u.reference is not None}
    texts = {i: g.hypothesis for i, g in goldens.items() if i in references}
    reasons = _reasons(comparison, engine.config.dtype, total=len(goldens))
    return GoldenFinding(
        changed=(*comparison.changed, *comparison.changed_low_margin),
        golden_wer=corpus_wer(score(references, texts)),
        logit_distance=distance,
        reasons=reasons if engine.config.forward == "exact" else (),
    )


def _reasons(comparison: Comparison, dtype: Dtype, *, total: int) -> tuple[str, ...]:
    limit = LIMITS[dtype]
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
        reasons.append(
            f"logits of {len(far)} utterances are off by more than {limit.logit_distance} RMS "
            f"({dtype}); worst {worst} by {comparison.distances[worst]:.3g}"
        )
    return tuple(reasons)
