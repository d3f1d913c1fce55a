"""Transcripts -> word edits -> corpus WER, through jiwer. No torch here.

WER = (S + D + I) / N over the corpus: edits and reference words are summed over all utterances
before dividing. A mean of per-utterance WERs is another number and is not offered. It is a
fraction, and can exceed 1.

The number of edits of an utterance is unique; how it splits into S, D and I is not where several
alignments are optimal. The split is the one of rapidfuzz's alignment, through jiwer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import jiwer

from w2v_core.errors import TranscriptError
from w2v_core.scoring.text import DEFAULT_RECIPE, Recipe

Transcripts = Mapping[str, str] | Iterable[tuple[str, str]]
Operation = Literal["equal", "substitute", "delete", "insert"]
MAX_LISTED = 10


class Piece(NamedTuple):
    """A run of words that an alignment treats alike."""

    operation: Operation
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordEdits:
    """The word edits that turn one utterance's reference into its hypothesis."""

    utterance_id: str
    substitutions: int
    deletions: int
    insertions: int
    reference_words: int
    """0 for an empty reference: every hypothesis word is then an insertion."""
    is_missing: bool = False
    """Whether there was no hypothesis at all, scored as if it were empty: all deletions."""

    @property
    def edits(self) -> int:
        """S + D + I, the Levenshtein distance in words."""
        return self.substitutions + self.deletions + self.insertions


def score(
    references: Transcripts, hypotheses: Transcripts, *, recipe: Recipe = DEFAULT_RECIPE
) -> tuple[WordEdits, ...]:
    """Count the word edits of every reference, in the order of the references.

    Args:
        references: Text by utterance id: a mapping, or pairs.
        hypotheses: Text by utterance id. A reference without one is scored as all deletions and
            marked ``is_missing``; nothing leaves the denominator.
        recipe: Applied to both sides first.

    Raises:
        TranscriptError: an id occurs twice, or a hypothesis has no reference; names the ids.
    """
    expected = _by_id(references, kind="reference")
    got = _by_id(hypotheses, kind="hypothesis")
    if extra := [name for name in got if name not in expected]:
        raise TranscriptError(
            f"{len(extra)} hypotheses have no reference: {_some(extra)}; "
            "score them against the set they were made from"
        )
    if not expected:
        return ()
    output = jiwer.process_words(
        [recipe(text) for text in expected.values()],
        [recipe(got.get(name, "")) for name in expected],
    )
    return tuple(
        _count(name, chunks, reference_words=len(words), is_missing=name not in got)
        for name, chunks, words in zip(expected, output.alignments, output.references, strict=True)
    )


def corpus_wer(edits: Iterable[WordEdits]) -> float | None:
    """Return the sum of S + D + I over the sum of reference words: a fraction.

    None where no utterance has a reference word: nothing was measured, which is not 0.
    """
    num_edits = num_words = 0
    for utterance in edits:
        num_edits += utterance.edits
        num_words += utterance.reference_words
    return num_edits / num_words if num_words else None


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[Piece, ...]:
    """Align two lists of words, as ``score`` counts their edits."""
    output = jiwer.process_words([" ".join(reference)], [" ".join(hypothesis)])
    return tuple(
        Piece(
            cast("Operation", chunk.type),
            tuple(reference[chunk.ref_start_idx : chunk.ref_end_idx]),
            tuple(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in output.alignments[0]
    )


def _count(
    name: str, chunks: Iterable[jiwer.AlignmentChunk], *, reference_words: int, is_missing: bool
) -> WordEdits:
    counts = {"substitute": 0, "delete": 0, "insert": 0, "equal": 0}
    for chunk in chunks:
        of_reference = chunk.ref_end_idx - chunk.ref_start_idx
        of_hypothesis = chunk.hyp_end_idx - chunk.hyp_start_idx
        counts[chunk.type] += max(of_reference, of_hypothesis)  # one is 0, or they are equal
    return WordEdits(
        utterance_id=name,
        substitutions=counts["substitute"],
        deletions=counts["delete"],
        insertions=counts["insert"],
        reference_words=reference_words,
        is_missing=is_missing,
    )


def _by_id(transcripts: Transcripts, *, kind: str) -> dict[str, str]:
    pairs = transcripts.items() if isinstance(transcripts, Mapping) else transcripts
    texts: dict[str, str] = {}
    duplicates: list[str] = []
    for name, text in pairs:
        if name in texts:
            duplicates.append(name)
        texts[name] = text
    if duplicates:
        raise TranscriptError(
            f"{len(duplicates)} {kind} ids occur twice: {_some(duplicates)}; keep one of each"
        )
    return texts


def _some(names: list[str]) -> str:
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
