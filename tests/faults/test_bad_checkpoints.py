"""A checkpoint that cannot be used is refused with the file, the value and the remedy."""

import json

import pytest

from tests.helpers.checkpoints import write_checkpoint
from w2v_core.errors import CheckpointError, NotCachedError, UnknownNameError
from w2v_core.model.catalog import ModelSpec, parse_model
from w2v_core.model.checkpoint import load_checkpoint
from w2v_core.model.checkpoint_hub import why_not_loadable


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "tiny")


def load(directory):
    return load_checkpoint(parse_model(str(directory)))


def edit(path, **changes):
    values = json.loads(path.read_text())
    values.update(changes)
    path.write_text(json.dumps(values))


def test_a_whole_checkpoint_loads(checkpoint):
    loaded = load(checkpoint)

    assert loaded.name == "tiny"
    assert loaded.vocabulary.tokens[loaded.vocabulary.blank_id] == "<pad>"


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "vocab.json", "preprocessor_config.json"]
)
def test_a_missing_file_is_named(checkpoint, name):
    (checkpoint / name).unlink()

    with pytest.raises(CheckpointError, match=name):
        load(checkpoint)


def test_cut_off_weights_are_refused(checkpoint):
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(CheckpointError, match="cannot be read"):
        load(checkpoint)


def test_weights_that_would_be_filled_at_random_are_refused(checkpoint):
    from safetensors.torch import load_file, save_file

    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    del weights["lm_head.bias"]
    save_file(weights, path, metadata={"format": "pt"})

    with pytest.raises(CheckpointError, match=r"lm_head\.bias"):
        load(checkpoint)


def test_nan_weights_are_refused(checkpoint):
    from safetensors.torch import load_file, save_file

    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.bias"][0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})

    with pytest.raises(CheckpointError, match="NaN"):
        load(checkpoint)


def test_a_config_that_is_not_json_is_refused(checkpoint):
    (checkpoint / "config.json").write_text("{")

    with pytest.raises(CheckpointError, match="cannot be read"):
        load(checkpoint)


def test_a_vocabulary_of_another_size_is_refused(checkpoint):
    vocab = json.loads((checkpoint / "vocab.json").read_text())
    vocab["!"] = len(vocab)
    (checkpoint / "vocab.json").write_text(json.dumps(vocab))

    with pytest.raises(CheckpointError, match="33 tokens, the model's CTC head has 32"):
        load(checkpoint)


def test_a_vocabulary_without_the_blank_is_refused(checkpoint):
    edit(checkpoint / "tokenizer_config.json", pad_token="[PAD]")

    with pytest.raises(CheckpointError, match=r"\[PAD\]"):
        load(checkpoint)


def test_another_sampling_rate_is_refused(checkpoint):
    edit(checkpoint / "preprocessor_config.json", sampling_rate=8_000)

    with pytest.raises(CheckpointError, match="8000 Hz"):
        load(checkpoint)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'canary-base'"):
        parse_model("canary-bas")


def test_an_uncached_checkpoint_says_how_to_fetch_it_and_what_works_without(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    spec = ModelSpec(name="base", source="hub", location="facebook/wav2vec2-base-960h")

    assert why_not_loadable(spec) == "not cached"
    with pytest.raises(NotCachedError, match="hf download facebook/wav2vec2-base-960h") as raised:
        load_checkpoint(spec)
    assert "canary-base" in str(raised.value)


def test_a_cached_hub_checkpoint_loads_offline_with_its_commit(monkeypatch, tmp_path):
    commit = "c" * 40
    repository = tmp_path / "models--owner--tiny"
    write_checkpoint(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    assert load_checkpoint(parse_model("owner/tiny")).revision == commit
