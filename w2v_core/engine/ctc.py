"""Greedy CTC decoding of a batch: merge repeats, then drop blanks, then spell.

The order matters: ``[a, blank, a]`` is a double letter, ``[a, a]`` is one letter (Graves et al.,
2006, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from w2v_core.types import Batch, Vocabulary, num_frames

# In the order of transformers' clean_up_tokenization.
CLEAN_UP = (
    *((f" {mark}", mark) for mark in (".", "?", "!", ",")),
    (" ' ", "'"),
    *((f" {clitic}", clitic) for clitic in ("n't", "'m", "'s", "'ve", "'re")),
)
NOT_FINITE = -1  # the id that the engine's step writes where logits are NaN or infinite

Ids = npt.NDArray[np.int32]


def decode_batch(ids: Ids, num_frames: Sequence[int], vocabulary: Vocabulary) -> list[str]:
    """Decode arg-max ids to transcripts, as the checkpoint's own tokenizer would.

    Args:
        ids: (B, T) arg-max token ids; only the first ``num_frames[row]`` of a row count.
        num_frames: (B,) valid frames by row.
        vocabulary: The checkpoint's token table.

    Returns:
        B transcripts. The word delimiter becomes a space, or what the tokenizer has in its place;
        leading and trailing space is dropped; then the tokenizer's lower-casing and clean-up;
        ``<s> </s> <unk>`` are spelled out, as the tokenizer does by default: a model that emits
        them has a fault that must be seen.
    """
    batch_size, max_frames = ids.shape
    valid = np.arange(max_frames)[None, :] < np.asarray(num_frames)[:, None]
    if vocabulary.same_as:  # the tokenizer merges by text; what lies behind a row is no id
        ids = np.asarray(vocabulary.same_as, dtype=np.int32)[np.where(valid, ids, 0)]
    keep = valid & (ids != vocabulary.blank_id)
    keep[:, 1:] &= ids[:, 1:] != ids[:, :-1]
    tokens = list(vocabulary.tokens)
    if vocabulary.delimiter_id is not None:
        tokens[vocabulary.delimiter_id] = vocabulary.delimiter_text
    ends = np.cumsum(keep.sum(axis=1))
    spelled = [tokens[i] for i in ids[keep].tolist()]
    starts = [0, *ends[:-1].tolist()] if batch_size else []
    return [
        _finished("".join(spelled[start:end]).strip(), vocabulary)
        for start, end in zip(starts, ends.tolist(), strict=True)
    ]


def _finished(text: str, vocabulary: Vocabulary) -> str:
    """Lower and clean up as the tokenizer is told to."""
    if vocabulary.lower_case:
        text = text.lower()
    if vocabulary.clean_up:
        for spaced, joined in CLEAN_UP:
            text = text.replace(spaced, joined)
    return text


def transcripts(
    batch: Batch, ids: Ids, vocabulary: Vocabulary
) -> tuple[dict[int, str], dict[int, str]]:
    """Decode the ids (B, T) of a batch.

    Returns:
        Transcripts by row, and by row why its ids cannot be a transcript: not finite, or outside
        the vocabulary. Each utterance's row is in one of the two.
    """
    frames = [num_frames(utterance.num_samples) for utterance in batch.utterances]
    ids = ids[: len(frames)]
    reasons = [_why_broken(row, n, vocabulary) for row, n in zip(ids, frames, strict=True)]
    broken = {row: reason for row, reason in enumerate(reasons) if reason}
    texts = decode_batch(ids, [0 if r in broken else n for r, n in enumerate(frames)], vocabulary)
    return {row: text for row, text in enumerate(texts) if row not in broken}, broken


def _why_broken(ids: Ids, frames: int, vocabulary: Vocabulary) -> str:
    bad = np.flatnonzero((ids[:frames] < 0) | (ids[:frames] >= len(vocabulary.tokens)))
    if not bad.size:
        return ""
    frame = int(bad[0])
    if ids[frame] == NOT_FINITE:
        return f"logits are NaN or infinite at frame {frame} of {frames}"
    return f"id {ids[frame]} at frame {frame} is outside the vocabulary: an unfinished copy"
