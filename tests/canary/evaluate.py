"""Transcribe a folder in LibriSpeech's layout with a canary: unpadded, fp32, batch 1, greedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import Wav2Vec2ForCTC

from tests.canary.architecture import decode, logits_of
from w2v_core.data.audio import decode as decode_audio
from w2v_core.data.audio import normalise
from w2v_core.data.librispeech import list_recordings
from w2v_core.scoring.wer import corpus_wer, score
from w2v_core.types import Utterance


def read_set(folder: Path) -> tuple[Utterance, ...]:
    """Decode every utterance under `folder`, ordered by id."""
    return tuple(
        Utterance(
            utterance_id=one.utterance_id,
            waveform=decode_audio(one.audio, name=one.name),
            reference=one.reference,
        )
        for one in list_recordings(folder).recordings
    )


def hypotheses(model: Wav2Vec2ForCTC, utterances: Sequence[Utterance]) -> dict[str, str]:
    """Transcribe each utterance alone."""
    return {
        one.utterance_id: decode(logits_of(model, normalise(one.waveform)).argmax(-1))
        for one in utterances
    }


def word_error_rate(utterances: Sequence[Utterance], said: dict[str, str]) -> float:
    """Return the corpus WER, a fraction."""
    references = {one.utterance_id: one.reference or "" for one in utterances}
    return corpus_wer(score(references, said)) or 0.0
