"""Why a measured cell is not sound: what was lost, and what its rounds did that is not steady."""

from __future__ import annotations

from w2v_core.bench.cell_record import Measurement
from w2v_core.data.catalog import Corpus
from w2v_core.types import Transcription


def accounting_reasons(corpus: Corpus, scored: Transcription) -> list[str]:
    """Check expected = scored + failed + excluded, by id, exactly once."""
    reasons = []
    if scored.failures:
        first = scored.failures[0]
        reasons.append(
            f"{len(scored.failures)} utterances failed; first {first.utterance_id}: {first.error}"
        )
    accounted = [
        *(h.utterance_id for h in scored.hypotheses),
        *(f.utterance_id for f in scored.failures),
        *(e.utterance_id for e in corpus.exclusions),
    ]
    lost = sorted(set(corpus.expected) - set(accounted))
    extra = sorted(set(accounted) - set(corpus.expected))
    if lost or extra or len(accounted) != len(corpus.expected):
        reasons.append(
            f"utterances not accounted for exactly once: lost {lost[:5]}, unexpected {extra[:5]}, "
            f"{len(accounted)} accounted of {len(corpus.expected)} expected"
        )
    return reasons


def round_reasons(measured: Measurement) -> list[str]:
    """Check that every round returned the scored transcripts and did steady work only."""
    reasons = [] if measured.rounds else ["no timed round"]
    scored = measured.scored.texts
    for index, timed in enumerate(measured.passes):
        texts = timed.texts
        if differing := sorted(
            i for i in scored.keys() | texts.keys() if scored.get(i) != texts.get(i)
        ):
            reasons.append(
                f"round {index} returned other transcripts than the scored pass for "
                f"{len(differing)} utterances; first {differing[0]}"
            )
    steady = {
        "graph captures": measured.captures_timed,
        "compilations": measured.counters_timed.compilations,
        "cpu fallbacks": measured.counters_timed.cpu_fallbacks,
    }
    reasons += [f"{count} {what} in the timed region" for what, count in steady.items() if count]
    return reasons
