"""Whatever JSON lies in a checkpoint's small files, it loads or is refused in one line."""

import json
import re

import numpy as np
import pytest

from tests.helpers.checkpoints import write_checkpoint
from w2v_core.errors import CheckpointError
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint

EXTRACTOR = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000}
TOKEN = {"content": "<s>", "lstrip": False, "normalized": False, "rstrip": False, "special": True}
NAMES = {"pad_token": "<pad>", "word_delimiter_token": "|", "unk_token": "<unk>"}
LAYOUTS = {  # of transformers 4 and 5, beside config.json and vocab.json
    "four": {
        "preprocessor_config.json": {**EXTRACTOR, "do_normalize": True, "feature_size": 1},
        "processor_config.json": {"processor_class": "Wav2Vec2Processor"},
        "tokenizer_config.json": NAMES,
        "special_tokens_map.json": {"bos_token": TOKEN, "pad_token": "<pad>"},
        "added_tokens.json": {"<extra>": 32},
    },
    "five": {
        "processor_config.json": {"feature_extractor": EXTRACTOR, "processor_class": "x"},
        "tokenizer_config.json": {**NAMES, "added_tokens_decoder": {"32": {**TOKEN}}},
    },
}


@pytest.fixture(params=LAYOUTS)
def checkpoint(request, tmp_path):
    directory = write_checkpoint(tmp_path / "tiny")
    (directory / "preprocessor_config.json").unlink()
    for name, values in LAYOUTS[request.param].items():
        (directory / name).write_text(json.dumps(values))
    return directory


def load(directory):
    return load_checkpoint(parse_model(str(directory)))


VALUES = (
    *("null", "true", "-1", "0", "0.5", "1e999", "NaN", "1" + "0" * 400, "9" * 5_000),
    *('""', '"x"', '"\\ud800"', '"\\u202e"', '"' + "x" * 3_000 + '"', '"\\u001b[2J"'),
    *("[]", "{}", "[1, 2]", '{"a": {"b": [1]}}', "[" * 3_000 + "]" * 3_000),
)


BARE = re.compile("(Key|Attribute|Type|Index|Lookup|Runtime|Recursion|Assertion|Overflow)Error")
"""What names neither the field nor its value."""


def mutate(rng, path):
    """Put a value that does not belong there for one key, or damage a byte."""
    data = path.read_bytes()
    if rng.random() < 0.2:
        at = int(rng.integers(len(data)))
        path.write_bytes(data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :])
        return
    fields = {key: json.dumps(value) for key, value in json.loads(data).items()}
    key = list(fields)[int(rng.integers(len(fields)))]
    fields[key] = VALUES[int(rng.integers(len(VALUES)))]
    path.write_text("{" + ", ".join(f"{json.dumps(k)}: {v}" for k, v in fields.items()) + "}")


def survive(directory, seeds):
    """Load mutated copies: each loads, or is refused in one line without a traceback."""
    originals = {path.name: path.read_bytes() for path in sorted(directory.glob("*.json"))}
    names = [*originals]
    load(directory)
    refusals = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        mutate(rng, directory / names[seed % len(names)])
        try:
            load(directory)
        except CheckpointError as error:
            refusals.append(str(error))
        for name, data in originals.items():
            (directory / name).write_bytes(data)
    assert not [text for text in refusals if len(text) > 1_500 or not text.isprintable()]
    assert not [text for text in refusals if BARE.search(text)]
    return len(refusals)


def test_any_json_in_the_small_files_loads_or_is_refused_in_one_line(checkpoint):
    assert survive(checkpoint, range(60)) > 20


@pytest.mark.slow  # 2 minutes
def test_any_json_is_survived_over_many_mutations(checkpoint):
    assert survive(checkpoint, range(1_000, 5_000)) > 1_000
