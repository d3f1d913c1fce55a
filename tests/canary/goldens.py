"""Make the goldens of a canary: `python -m tests.canary.goldens [--family base]`.

The reference is the plain Hugging Face forward on the CPU: the exported fp16 weights in fp32,
one unpadded utterance at a time, greedy decoding.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import Wav2Vec2ForCTC

import w2v_core.model.canary
from tests.canary.architecture import FAMILIES, Family, decode, logits_of
from tests.canary.evaluate import read_set
from w2v_core.data.audio import normalise
from w2v_core.scoring.goldens import GoldenSet, make_golden, save_golden_set, sha256_of
from w2v_core.types import Utterance

LOG = logging.getLogger(__name__)
CHECKPOINTS = Path(w2v_core.model.canary.__path__[0])
SPEECH = CHECKPOINTS.parents[1] / "data" / "canary_speech" / "audio"
_LIBRARIES = ("numpy", "torch", "transformers")


def load(family: Family) -> Wav2Vec2ForCTC:
    """Load a bundled canary for inference in fp32."""
    return Wav2Vec2ForCTC.from_pretrained(CHECKPOINTS / family).float().eval()


def correct_logits(model: Wav2Vec2ForCTC, one: Utterance) -> npt.NDArray[np.float32]:
    """Return the reference logits (T, V) of an utterance."""
    return logits_of(model, normalise(one.waveform))


def golden_set(family: Family) -> GoldenSet:
    """Compute the goldens of a bundled canary."""
    model, goldens = load(family), {}
    for one in read_set(SPEECH):
        logits = correct_logits(model, one)
        goldens[one.utterance_id] = make_golden(logits, hypothesis=decode(logits.argmax(-1)))
    audio = {path.stem: path for path in SPEECH.rglob("*.flac")}
    return GoldenSet(
        goldens=goldens,
        model_sha256=sha256_of([CHECKPOINTS / family / "model.safetensors"]),
        audio_sha256=sha256_of(audio[name] for name in goldens),
        made_with={name: version(name) for name in _LIBRARIES},
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    for family in parser.parse_args(argv).family or FAMILIES:
        made = golden_set(family)
        save_golden_set(CHECKPOINTS / family / "goldens.json", made)
        LOG.info("%s: %d goldens", family, len(made.goldens))


if __name__ == "__main__":
    main()
