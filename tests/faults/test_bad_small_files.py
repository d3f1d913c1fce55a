"""Whatever JSON lies in a checkpoint's small files, it loads or is refused in one line."""

import json

import numpy as np
import pytest

from tests.helpers.checkpoints import write_checkpoint
from w2v_core.errors import CheckpointError
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "tiny")


def load(directory):
    return load_checkpoint(parse_model(str(directory)))


SMALL = ("config.json", "vocab.json", "preprocessor_config.json", "tokenizer_config.json")
VALUES = (
    *("null", "true", "-1", "0", "0.5", "1e999", "NaN", "1" + "0" * 400, "9" * 5_000),
    *('""', '"x"', '"\\ud800"', '"\\u202e"'),
    *("[]", "{}", "[1, 2]", '{"a": {"b": [1]}}', "[" * 3_000 + "]" * 3_000),
)


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
    originals = {name: (directory / name).read_bytes() for name in SMALL}
    refusals = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        mutate(rng, directory / SMALL[seed % len(SMALL)])
        try:
            load(directory)
        except CheckpointError as error:
            refusals.append(str(error))
        for name, data in originals.items():
            (directory / name).write_bytes(data)
    assert not [text for text in refusals if len(text) > 1_500 or not text.isprintable()]
    return len(refusals)


def test_any_json_in_the_small_files_loads_or_is_refused_in_one_line(checkpoint):
    assert survive(checkpoint, range(60)) > 20


@pytest.mark.slow  # 2 minutes
def test_any_json_is_survived_over_many_mutations(checkpoint):
    assert survive(checkpoint, range(1_000, 5_000)) > 1_000
