"""What the front door adds to the rooms behind it: loading by name, and the WER of two mappings."""

from __future__ import annotations

from collections.abc import Mapping

from w2v_core.data import catalog
from w2v_core.data.catalog import Corpus
from w2v_core.model import checkpoint
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import Checkpoint
from w2v_core.scoring import wer


def load_checkpoint(model: str) -> Checkpoint:
    """Load a checkpoint to host memory; blocks on disk, and on the network where it is not cached.

    Args:
        model: ``canary-base``, ``canary-large``, ``base``, ``large``, a directory or a hub id.

    Raises:
        UnknownNameError: none of these.
        NotCachedError: it is neither on disk nor reachable.
        CheckpointError: it cannot be read, or is of another family.
    """
    return checkpoint.load_checkpoint(parse_model(model))


def load_corpus(dataset: str, *, limit: int | None = None) -> Corpus:
    """Decode a corpus to host memory, 230 MB for an hour of audio; blocks like ``load_checkpoint``.

    Args:
        dataset: ``canary-speech``, ``test-clean``, ``librispeech:PATH`` ...
        limit: The first so many utterances in id order; all where None.

    Raises:
        ConfigError: an unknown name, or a limit beyond the set.
        NotCachedError: it is neither on disk nor reachable.
        DataError: audio or transcripts that cannot be used.
    """
    return catalog.load(catalog.parse_dataset(dataset), limit=limit)


def corpus_wer(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> float | None:
    """Return the WER of hypotheses by utterance id, a fraction; None without a reference word.

    Edits and words are summed over the corpus before dividing. An utterance without a hypothesis is
    all deletions.

    Raises:
        TranscriptError: a hypothesis has no reference.
    """
    return wer.corpus_wer(wer.score(references, hypotheses))
