"""Greedy CTC decoding of a batch: merge repeats, then drop blanks, then spell.

The order matters: ``[a, blank, a]`` is a double letter, ``[a, a]`` is one letter (Graves et al.,
2006, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from w2v_core.types import Vocabulary

__all__ = ["NOT_FINITE", "decode_batch"]

NOT_FINITE = -1  # the id that the engine's step writes where logits are NaN or infinite


def decode_batch(
    ids: npt.NDArray[np.int32], num_frames: Sequence[int], vocabulary: Vocabulary
) -> list[str]:
    """Decode arg-max ids to transcripts, as the checkpoint's own tokenizer would.

    Args:
        ids: (B, T) arg-max token ids; only the first ``num_frames[row]`` of a row count.
        num_frames: (B,) valid frames by row.
        vocabulary: The checkpoint's token table.

    Returns:
        B transcripts. The word delimiter becomes a space; leading and trailing space is dropped;
        ``<s> </s> <unk>`` are spelled out, as the tokenizer does by default: a model that emits
        them has a fault that must be seen.
    """
    batch_size, max_frames = ids.shape
    valid = np.arange(max_frames)[None, :] < np.asarray(num_frames)[:, None]
    keep = valid & (ids != vocabulary.blank_id)
    keep[:, 1:] &= ids[:, 1:] != ids[:, :-1]
    tokens = list(vocabulary.tokens)
    tokens[vocabulary.delimiter_id] = " "
    ends = np.cumsum(keep.sum(axis=1))
    spelled = [tokens[i] for i in ids[keep].tolist()]
    starts = [0, *ends[:-1].tolist()] if batch_size else []
    return [
        "".join(spelled[start:end]).strip()
        for start, end in zip(starts, ends.tolist(), strict=True)
    ]
