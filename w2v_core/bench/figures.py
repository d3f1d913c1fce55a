"""What a record says of single utterances, and of the passes together: scores, latency, stages."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from w2v_core.data.catalog import Corpus
from w2v_core.records.record import UtteranceScore
from w2v_core.scoring.wer import WordEdits
from w2v_core.types import Transcription


def utterance_scores(
    corpus: Corpus,
    edits: Sequence[WordEdits],
    texts: Mapping[str, str],
    passes: Sequence[Transcription],
) -> tuple[UtteranceScore, ...]:
    """Put edits, transcript and median latency over the passes beside each utterance."""
    by_id = {u.utterance_id: u for u in corpus.utterances}
    latencies: dict[str, list[float]] = {}
    for one in passes:
        for hypothesis in one.hypotheses:
            latencies.setdefault(hypothesis.utterance_id, []).append(hypothesis.latency_s)
    return tuple(
        UtteranceScore(
            utterance_id=e.utterance_id,
            speaker=by_id[e.utterance_id].speaker,
            reference=by_id[e.utterance_id].reference or "",
            hypothesis=texts.get(e.utterance_id, ""),
            substitutions=e.substitutions,
            deletions=e.deletions,
            insertions=e.insertions,
            reference_words=e.reference_words,
            audio_s=by_id[e.utterance_id].audio_s,
            latency_s=(
                statistics.median(latencies[e.utterance_id])
                if e.utterance_id in latencies
                else None
            ),
        )
        for e in edits
    )


def latency_s(passes: Sequence[Transcription]) -> dict[str, float]:
    """Return p50, p90 and p99 over all utterances of all passes, those below a frame left out."""
    return percentiles([h.latency_s for one in passes for h in one.hypotheses if h.num_frames])


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p90 and p99 as a record has them; 0 where there is nothing."""
    if not seconds:
        return {"p50": 0.0, "p90": 0.0, "p99": 0.0}
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99)}


def stage_s(passes: Sequence[Transcription]) -> dict[str, float]:
    """Return the mean host seconds of a pass by what they went into; the keys are the record's."""
    times = [one.host_times for one in passes]
    names = {
        "stage": "h2d_s",
        "forward": "compute_s",
        "d2h": "d2h_s",
        "wait": "wait_s",
        "decode": "decode_s",
    }
    return {
        name: statistics.fmean(getattr(t, attribute) for t in times) if times else 0.0
        for name, attribute in names.items()
    }
