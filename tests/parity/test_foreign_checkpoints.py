"""Checkpoints in others' layouts load, and say what Hugging Face's processor and model say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.helpers.foreign import CHOICES, draw, write_hub_layout, write_variant
from w2v_core.engine.ctc import decode_batch
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint
from w2v_core.model.quiet import quiet

NEWEST_LAYOUT = int(transformers.__version__.partition(".")[0]) >= 5
EXTRACTORS = CHOICES["extractor"] if NEWEST_LAYOUT else ("preprocessor", "bare")
ROOT = Path(__file__).parents[2]


def waveform():
    return (np.random.default_rng(0).standard_normal(24_000) * 0.3 + 0.1).astype(np.float32)


def of_hugging_face(directory):
    """The transcript of transformers' own processor and model, and the ids it was read from."""
    with quiet():
        processor = transformers.Wav2Vec2Processor.from_pretrained(directory)
        settings = json.loads((directory / "tokenizer_config.json").read_text())
        # transformers 5 drops this one field (5.20: it ends in _token); 4 obeys it, and so do we.
        processor.tokenizer.word_delimiter_token = settings["word_delimiter_token"]
        module = transformers.Wav2Vec2ForCTC.from_pretrained(directory).eval()
        inputs = processor(waveform(), sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            ids = module.float()(inputs.input_values).logits.argmax(dim=-1)
        return processor.batch_decode(ids)[0], ids


def of_ours(directory):
    checkpoint = load_checkpoint(parse_model(str(directory)))
    samples = waveform()
    if checkpoint.do_normalize:
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.no_grad():
        ids = checkpoint.module(torch.from_numpy(samples)[None]).logits.argmax(dim=-1)
    text = decode_batch(ids.numpy().astype(np.int32), [ids.shape[1]], checkpoint.vocabulary)[0]
    return text, checkpoint


def check(directory, variant):
    expected, ids = of_hugging_face(directory)
    found, checkpoint = of_ours(directory)

    assert len(set(ids[0].tolist())) > 3, "the oracle says too little to tell"
    assert found == expected
    assert any("not used" in note for note in checkpoint.notes) == variant.unused


@pytest.mark.parametrize("seed", range(6))
def test_transcripts_are_hugging_faces_own(tmp_path, seed):
    """A drawn layout gives the transcript of transformers' processor and model."""
    variant = draw(seed, extractor=EXTRACTORS[seed % len(EXTRACTORS)])
    check(write_variant(tmp_path / "variant", variant), variant)


@pytest.mark.slow  # 2 minutes
@pytest.mark.parametrize("block", range(10))
def test_transcripts_are_hugging_faces_own_over_many_layouts(tmp_path, block):
    """The same over 400 drawn layouts."""
    for seed in range(1_000 + 40 * block, 1_040 + 40 * block):
        variant = draw(seed, extractor=EXTRACTORS[seed % len(EXTRACTORS)])
        check(write_variant(tmp_path / str(seed), variant), variant)


LOAD = """
import sys, warnings
warnings.simplefilter("error")
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint
for directory in sys.argv[1:]:
    loaded = load_checkpoint(parse_model(directory))
    total = sum(p.double().sum().item() for p in loaded.module.parameters())
    print(sorted(loaded.files), loaded.notes, total)
"""


def load_in_fresh_processes(directories, *, count):
    """Load in processes whose memory holds other garbage each time; return what each said."""
    said = []
    for number in range(count):
        done = subprocess.run(
            [sys.executable, "-c", LOAD, *map(str, directories)],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "MALLOC_PERTURB_": str(37 * number + 1), "HOME": "/tmp"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        said.append(done.stdout)
    return said


def hub_layouts(directory, **sizes):
    base = write_hub_layout(directory / "base", size=sizes["base"])
    large = write_hub_layout(directory / "large", size=sizes["large"], family="layer", pickled=True)
    return base, large


def test_the_hubs_layouts_have_its_sizes_and_load_in_every_fresh_process(tmp_path):
    """Base without its training-only tensor, large as a pickle: the same weights each time."""
    base, large = hub_layouts(tmp_path, base="small", large="small")
    sizes = {p.name: p.stat().st_size for p in base.iterdir()}
    assert sizes["tokenizer_config.json"] == 163
    assert sizes["special_tokens_map.json"] == 85
    assert sizes["preprocessor_config.json"] == 159
    assert sizes["vocab.json"] == 291
    assert (large / "preprocessor_config.json").stat().st_size == 158
    assert json.loads((base / "config.json").read_text())["apply_spec_augment"]

    said = load_in_fresh_processes([base, large], count=2)

    assert len(set(said)) == 1
    assert "['model.safetensors'] ()" in said[0]
    assert "['pytorch_model.bin'] ()" in said[0]


@pytest.mark.slow  # a minute, and 2 GB on the disk
def test_the_hubs_layouts_load_in_full_size_in_eight_fresh_processes(tmp_path):
    """As above with the 94 and 315 million parameters of the real ones."""
    said = load_in_fresh_processes(hub_layouts(tmp_path, base="base", large="large"), count=8)

    assert len(set(said)) == 1
