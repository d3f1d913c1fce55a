"""The bundled checkpoints on speech: trained weights, trained margins."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import Wav2Vec2ForCTC

import w2v_core.data.canary_speech
import w2v_core.model.canary
from tests.parity.reference import (
    CPU,
    Comparison,
    Waveforms,
    compare,
    reference_logits,
    references_of,
    stack,
)
from w2v_core.data.audio import AUDIO_SUFFIXES, decode, normalise
from w2v_core.model.forward import build_forward

CANARIES = Path(w2v_core.model.canary.__path__[0])
CANARY_SPEECH = Path(w2v_core.data.canary_speech.__path__[0]) / "audio"
LIBRISPEECH_VARIABLE = "W2V_LIBRISPEECH"
EVERY = 6  # of the utterances; lengths and voices are spread evenly over the ids
BFLOAT16_CHANGED = 0.001  # of frames


@functools.cache
def canary(name: str) -> Wav2Vec2ForCTC:
    module = Wav2Vec2ForCTC.from_pretrained(str(CANARIES / name), attn_implementation="eager")
    return module.float().eval()


@functools.cache
def speech(root: Path, every: int) -> Waveforms:
    files = sorted(path for path in root.rglob("*") if path.suffix in AUDIO_SUFFIXES)[::every]
    assert files, f"no audio under {root}"
    return tuple(normalise(decode(path, name=path.name)) for path in files)


@functools.cache
def references(name: str, root: Path, every: int) -> Sequence[torch.Tensor]:
    return references_of(canary(name), speech(root, every))


def compare_in_batches(
    forward: torch.nn.Module, name: str, root: Path, every: int, *, seed: int = 0
) -> Comparison:
    """Compare all utterances, put into batches of random sizes in random order."""
    shuffle = random.Random(seed)
    waveforms = speech(root, every)
    order = list(range(len(waveforms)))
    shuffle.shuffle(order)
    expected, found = [], []
    while order:
        rows = [order.pop() for _ in range(min(len(order), shuffle.choice([1, 2, 3, 5, 8])))]
        padded, lengths = stack([waveforms[row] for row in rows], extra_frames=shuffle.randrange(9))
        with torch.inference_mode():
            logits = forward(padded, lengths)
        for row, utterance in enumerate(rows):
            expected.append(references(name, root, every)[utterance])
            found.append(logits[row, : len(expected[-1])])
    joined = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)
    return compare(expected, joined)


def assert_parity(found: Comparison) -> None:
    assert found.changed == 0
    assert found.low_margin <= 0.002 * found.num_frames  # else there is nothing left to judge
    assert found.max_difference <= found.tolerance


@pytest.mark.parametrize(
    ("name", "float64_statistics"),
    [
        pytest.param("base", False, id="base-float32"),
        pytest.param("base", True, id="base-float64"),
        pytest.param("large", False, id="large"),
    ],
)
def test_canary_equals_the_reference_in_any_batch(name, float64_statistics):
    forward = build_forward(
        canary(name),
        name="exact",
        dtype="float32",
        device=CPU,
        float64_statistics=float64_statistics,
    )

    assert_parity(compare_in_batches(forward, name, CANARY_SPEECH, EVERY))


@pytest.mark.parametrize("name", ["base", "large"])
def test_packed_canary_equals_the_reference(name):
    forward = build_forward(canary(name), name="exact", dtype="float32", device=CPU, packed=True)

    assert_parity(compare_in_batches(forward, name, CANARY_SPEECH, EVERY))


@pytest.mark.parametrize("name", ["base", "large"])
def test_canary_in_bfloat16_changes_few_frames(name):
    forward = build_forward(canary(name), name="exact", dtype="bfloat16", device=CPU)

    found = compare_in_batches(forward, name, CANARY_SPEECH, 1)

    assert found.changed <= BFLOAT16_CHANGED * found.num_frames


def test_a_padded_canary_shows_what_stock_costs():
    """The check above is blind unless plain padding changes many frames."""
    forward = build_forward(canary("base"), name="stock", dtype="float32", device=CPU)

    found = compare_in_batches(forward, "base", CANARY_SPEECH, EVERY)

    assert found.changed > 0.01 * found.num_frames


@pytest.mark.parametrize("name", ["base", "large"])
def test_canary_equals_the_reference_on_real_speech(name):
    root = os.environ.get(LIBRISPEECH_VARIABLE)
    if not root:
        pytest.skip(f"{LIBRISPEECH_VARIABLE} does not name a LibriSpeech folder")
    forward = build_forward(canary(name), name="exact", dtype="float32", device=CPU)

    assert_parity(compare_in_batches(forward, name, Path(root), 1))


def test_the_reference_does_not_depend_on_the_attention_implementation():
    """The tolerance is honest: two forwards of Hugging Face's own are about as far apart."""
    module = Wav2Vec2ForCTC.from_pretrained(str(CANARIES / "base"), attn_implementation="sdpa")
    waveforms = speech(CANARY_SPEECH, EVERY)[:4]
    other = [reference_logits(module.float().eval(), waveform) for waveform in waveforms]
    joined = torch.nn.utils.rnn.pad_sequence(other, batch_first=True)

    found = compare(references("base", CANARY_SPEECH, EVERY)[:4], joined)

    assert found.changed == 0
    assert found.max_difference <= found.tolerance
