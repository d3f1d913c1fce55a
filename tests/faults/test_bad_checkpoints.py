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


def test_a_letter_without_a_row_is_named(checkpoint):
    edit(checkpoint / "vocab.json", **{"!": 32})

    assert "33 tokens, the CTC head has 32 rows: none for '!'" in load(checkpoint).notes[0]


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


def refused(checkpoint, match):
    with pytest.raises(CheckpointError, match=match) as raised:
        load(checkpoint)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("file", "changes", "match"),
    [
        ("config.json", {"transformers_weights": "x.bin"}, "transformers_weights is 'x.bin'"),
        ("config.json", {"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ("config.json", {"num_hidden_layers": 1_000}, "1000 layers, the weights hold 1"),
        ("config.json", {"vocab_size": 10**9}, "vocab_size"),
        ("config.json", {"num_labels": 10**9}, "num_labels"),
        ("config.json", {"vocab_size": 10**6}, r"lm_head.*\[32.*\[1000000"),
        ("config.json", {"model_type": "hubert"}, "model_type is 'hubert'"),
        ("config.json", {"hidden_act": "no"}, "hidden_act is 'no'; transformers .* gelu, "),
        ("config.json", {"feat_extract_activation": ""}, "feat_extract_activation is ''; tr"),
        ("config.json", {"num_attention_heads": 3}, "num_attention_heads is 3; it must divide"),
        ("config.json", {"num_conv_pos_embedding_groups": 5}, "groups is 5; it must divide"),
        ("config.json", {"feat_extract_norm": "odd"}, "`config.feat_extract_norm` is odd, but"),
        ("config.json", {"layer_norm_eps": -1.0}, "layer_norm_eps is -1.0: "),
        ("config.json", {"conv_dim": [32, 32]}, "Configuration for convolutional layers is"),
        ("config.json", {"conv_stride": [5, 2, 2, 2, 2, 2, 4]}, "conv_stride"),
        ("preprocessor_config.json", {"do_normalize": "false"}, "do_normalize is 'false': "),
        ("tokenizer_config.json", {"do_lower_case": "false"}, "do_lower_case is 'false': "),
        ("tokenizer_config.json", {"word_delimiter_token": "<pad>"}, "both the CTC blank"),
        ("tokenizer_config.json", {"pad_token": "|"}, "both the CTC blank"),
        ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}, "vocab_file"),
        (
            "tokenizer_config.json",
            {"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer"},
            "tokenizer is a Wav2Vec2PhonemeCTCTokenizer",
        ),
        ("vocab.json", {"eng": {"a": 0}, "fra": {"a": 0}}, "by language \\('eng', 'fra'"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".json") else None,
)
def test_contents_that_cannot_be_meant_are_refused_in_one_line(checkpoint, file, changes, match):
    edit(checkpoint / file, **changes)
    refused(checkpoint, match)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.json"])
def test_a_git_lfs_pointer_is_told_as_one(checkpoint, name):
    (checkpoint / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")

    refused(checkpoint, f"{name} is a Git LFS pointer.*git lfs pull")


def test_a_language_model_is_told_as_unused(checkpoint):
    edit(checkpoint / "preprocessor_config.json", processor_class="Wav2Vec2ProcessorWithLM")

    assert "language model is not used" in load(checkpoint).notes[0]


EXTRA = {"content": "<s>", "\x1b[31mred": 1}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("special_tokens_map.json", {"bos_token": EXTRA}),
        ("special_tokens_map.json", {"other": {"\x1b[31mred": 1}}),
        ("special_tokens_map.json", {"additional_special_tokens": [EXTRA]}),
        ("tokenizer_config.json", {"bos_token": {"__type": "AddedToken", **EXTRA}}),
        ("tokenizer_config.json", {"other": [{"__type": "AddedToken", **EXTRA}]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": EXTRA}}),
        ("tokenizer.json", {"added_tokens": [{"id": 1, **EXTRA}]}),
    ],
)
def test_an_unknown_key_of_a_token_is_refused_and_never_printed(checkpoint, capfd, name, changes):
    """The tokenizers library would print it, as it stands there, to stdout."""
    path = checkpoint / name
    path.write_text(path.read_text() if path.exists() else "{}")
    edit(path, **changes)

    with pytest.raises(CheckpointError, match=rf"{name}: a token has the key .*remove"):
        load(checkpoint)

    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", ["vocab.json", "tokenizer_config.json"])
def test_a_tokenizers_file_that_transformers_cannot_decode_is_named(checkpoint, name, encoding):
    path = checkpoint / name
    path.write_bytes(path.read_text().encode(encoding))

    with pytest.raises(CheckpointError, match=rf"{name} is in utf-.* save it so"):
        load(checkpoint)


def test_a_token_whose_id_is_none_is_named(checkpoint):
    edit(checkpoint / "vocab.json", Q=-1)

    with pytest.raises(CheckpointError, match=r"vocab\.json: 'Q' is -1: expected `int` >= 0"):
        load(checkpoint)


def test_a_language_of_a_vocabulary_without_languages_is_refused(checkpoint):
    edit(checkpoint / "tokenizer_config.json", target_lang="eng")

    with pytest.raises(CheckpointError, match=r"target_lang is 'eng'.*remove the key"):
        load(checkpoint)


@pytest.mark.parametrize("name", ["Wav2Vec2Model", "Wav2Vec2ForPreTraining"])
def test_a_model_without_a_ctc_head_is_called_what_it_was_saved_as(checkpoint, name):
    import transformers

    config = transformers.AutoConfig.from_pretrained(checkpoint)
    getattr(transformers, name)(config).save_pretrained(checkpoint)

    with pytest.raises(CheckpointError, match=f"was saved as '{name}'; train a CTC head"):
        load(checkpoint)


def test_an_adapter_is_called_one(checkpoint):
    (checkpoint / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert any("adapter_config.json is not used" in note for note in load(checkpoint).notes)

    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"is a PEFT adapter \(merge it"):
        load(checkpoint)
