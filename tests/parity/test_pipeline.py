"""The whole path, file to transcript, against Hugging Face's own classes one utterance at a time.

``W2V_LIBRISPEECH`` names a folder of real speech, ``W2V_CHECKPOINT`` one more checkpoint to run on
it; both are optional.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile
import torch
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.engine.devices import open_backend
from w2v_core.engine.engine import Engine
from w2v_core.model.catalog import MODELS, parse_model
from w2v_core.model.checkpoint import load_checkpoint

CANARIES = ("canary-base", "canary-large")
LIMIT = 12  # of canary-speech


def plain_transcripts(directory, paths):
    """Transcribe files with transformers alone: batch 1, unpadded, float32."""
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(directory)
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(directory)
    module = Wav2Vec2ForCTC.from_pretrained(directory).float().eval()
    texts = {}
    for path in paths:
        waveform, rate_hz = soundfile.read(path, dtype="float32")
        features = extractor(waveform, sampling_rate=rate_hz, return_tensors="pt")
        with torch.inference_mode():
            ids = module(features.input_values).logits.argmax(-1)
        texts[path.stem] = tokenizer.batch_decode(ids)[0]
    return texts


def engine_transcripts(model, dataset, *, limit, plan):
    corpus = load(parse_dataset(dataset), limit=limit)
    utterances = corpus.utterances
    engine = Engine(
        load_checkpoint(parse_model(model)), open_backend("cpu"), EngineConfig(plan=plan)
    )
    engine.warm_up([u.num_samples for u in utterances])
    return engine.transcribe(utterances).texts


def audio_files(root, limit=None):
    files = [p for p in Path(root).rglob("*") if p.suffix in (".flac", ".wav", ".mp3")]
    return sorted(files, key=lambda path: path.stem)[:limit]


@pytest.mark.parametrize("model", CANARIES)
@pytest.mark.parametrize("kind", ["quantile", "sorted", "packed"])
def test_canary_speech_is_transcribed_as_hugging_face_does(model, kind):
    plan = BatchPlan(kind=kind, num_buckets=3, batch_size=4)
    audio = Path(MODELS[model].location).parents[1].parent / "data" / "canary_speech" / "audio"

    ours = engine_transcripts(model, "canary-speech", limit=LIMIT, plan=plan)

    assert ours == plain_transcripts(MODELS[model].location, audio_files(audio, LIMIT))


@pytest.mark.parametrize("kind", ["optimal", "packed"])
@pytest.mark.parametrize("model", [*CANARIES, "W2V_CHECKPOINT"])
def test_real_speech_is_transcribed_as_hugging_face_does(model, kind):
    root = os.environ.get("W2V_LIBRISPEECH")
    location = os.environ.get(model) if model == "W2V_CHECKPOINT" else MODELS[model].location
    if not root or not location:
        pytest.skip("W2V_LIBRISPEECH (and W2V_CHECKPOINT) name no folder of real speech")
    plan = BatchPlan(kind=kind, num_buckets=8, batch_size=8)

    ours = engine_transcripts(location, f"librispeech:{root}", limit=None, plan=plan)

    assert ours == plain_transcripts(location, audio_files(root))
