"""Checkpoints in others' layouts load, and say what Hugging Face's processor and model say."""

import json
import re
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
from w2v_core.model.checkpoint_files import quiet

NEWEST_LAYOUT = int(transformers.__version__.partition(".")[0]) >= 5
EXTRACTORS = CHOICES["extractor"] if NEWEST_LAYOUT else ("preprocessor", "bare")
ROOT = Path(__file__).parents[2]


def waveform():
    return (np.random.default_rng(0).standard_normal(24_000) * 0.3 + 0.1).astype(np.float32)


def drawn_ids(num_rows):
    """Ids of any row, blanks, delimiters and repeats, as no model of random weights gives them."""
    rng = np.random.default_rng(num_rows)
    return rng.integers(num_rows, size=(20, 40)).repeat(rng.integers(1, 3, size=40), axis=1)


def of_hugging_face(directory):
    """The transcripts of transformers' own processor: of its own model's ids, and of drawn ids."""
    with quiet():
        processor = transformers.Wav2Vec2Processor.from_pretrained(directory)
        module = transformers.Wav2Vec2ForCTC.from_pretrained(directory).eval()
        inputs = processor(waveform(), sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            logits = module.float()(inputs.input_values).logits
        drawn = processor.batch_decode(drawn_ids(logits.shape[-1]))
        return processor.batch_decode(logits.argmax(dim=-1)) + drawn


def of_ours(directory):
    checkpoint = load_checkpoint(parse_model(str(directory)))
    samples = waveform()
    if checkpoint.do_normalize:
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.no_grad():
        logits = checkpoint.module(torch.from_numpy(samples)[None]).logits
    texts = [
        text
        for ids in (logits.argmax(dim=-1).numpy(), drawn_ids(logits.shape[-1]))
        for text in decode_batch(
            ids.astype(np.int32), [ids.shape[1]] * len(ids), checkpoint.vocabulary
        )
    ]
    return texts, checkpoint


def check(directory, variant):
    expected = of_hugging_face(directory)
    found, checkpoint = of_ours(directory)

    assert found == expected
    assert any("not used" in note for note in checkpoint.notes) == variant.unused
    assert any("never written" in note for note in checkpoint.notes) == variant.lost


@pytest.mark.parametrize("seed", range(5))
def test_transcripts_are_hugging_faces_own(tmp_path, seed):
    """A drawn layout gives the transcript of transformers' processor and model."""
    variant = draw(seed, extractor=EXTRACTORS[seed % len(EXTRACTORS)])
    check(write_variant(tmp_path / "variant", variant), variant)


@pytest.mark.parametrize(
    ("fixed", "notes"),
    [
        ({"delimiter": ""}, "no row is for the word delimiter '|': words are"),
        ({"delimiter": " ", "replace_word_delimiter_char": None}, None),
        ({"delimiter": "*"}, "names the word delimiter '*', transformers .* takes '|'"),
        ({"head": "short", "specials": "none"}, "none for .*'.', which is never written"),
    ],
    ids=["none", "space", "other", "short"],
)
def test_odd_delimiters_and_letters_without_a_row_load_with_a_note(tmp_path, fixed, notes):
    """transformers 5.20 takes ``|`` whatever tokenizer_config.json says; 4.45 obeys the file."""
    fixed = {"unexpected": False, "letters": "upper", "head": "exact", **fixed}
    variant = draw(7, extractor="preprocessor", **fixed)
    directory = write_variant(tmp_path / "variant", variant)
    expected = of_hugging_face(directory)

    found, checkpoint = of_ours(directory)

    assert found == expected
    if variant.options["delimiter"] == "*" and not NEWEST_LAYOUT:
        notes = None
    text = "; ".join(checkpoint.notes)
    assert re.search(notes, text) if notes else not text


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
