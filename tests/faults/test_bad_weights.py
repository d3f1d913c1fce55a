"""Weight files: pickles, shards, types and shapes; what is odd is named, nothing is executed."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from tests.helpers.checkpoints import write_checkpoint
from w2v_core.errors import CheckpointError
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint
from w2v_core.model.checkpoint_hub import why_not_loadable


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "tiny")


def load(directory):
    return load_checkpoint(parse_model(str(directory)))


def weights_of(checkpoint):
    from safetensors.torch import load_file

    return load_file(checkpoint / "model.safetensors")


def save(checkpoint, weights):
    from safetensors.torch import save_file

    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})


def pickle_instead(checkpoint, value):
    torch.save(value, checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()


def shard(checkpoint):
    """Spread the weights over two shards with an index; return the index's path and value."""
    from safetensors.torch import save_file

    weights = weights_of(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    names, weight_map = list(weights), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({n: weights[n] for n in part}, checkpoint / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    path = checkpoint / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return path, weight_map


def refused(checkpoint, match):
    with pytest.raises(CheckpointError, match=match) as raised:
        load(checkpoint)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_pickled_weights_load_and_the_record_names_them(checkpoint):
    whole = load(checkpoint)
    pickle_instead(checkpoint, weights_of(checkpoint))

    pickled = load(checkpoint)

    assert list(pickled.files) == ["pytorch_model.bin"]
    digest = hashlib.sha256((checkpoint / "pytorch_model.bin").read_bytes()).hexdigest()
    assert pickled.sha256 == pickled.files["pytorch_model.bin"] == digest
    for old, new in zip(whole.module.parameters(), pickled.module.parameters(), strict=True):
        assert torch.equal(old, new)


def test_safetensors_come_before_a_pickle(checkpoint):
    torch.save({"x": 1}, checkpoint / "pytorch_model.bin")

    assert list(load(checkpoint).files) == ["model.safetensors"]


class Planted:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(checkpoint, tmp_path, legacy):
    mark = tmp_path / "ran"
    torch.save(
        {**weights_of(checkpoint), "extra": Planted(mark)},
        checkpoint / "pytorch_model.bin",
        _use_new_zipfile_serialization=not legacy,
    )
    (checkpoint / "model.safetensors").unlink()

    refused(checkpoint, "holds more than tensors.*nothing of it was executed")

    assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"epoch": 3}, "holds a int under 'epoch'"),
        ({"model": {"x": torch.ones(1)}}, "holds a dict under 'model'"),
        ([torch.ones(1)], "holds a list, not tensors by name"),
    ],
    ids=["number", "nested", "list"],
)
def test_a_pickle_of_other_things_is_refused(checkpoint, value, match):
    pickle_instead(checkpoint, value)

    refused(checkpoint, match)


def test_pickles_are_refused_below_torch_2_6_with_the_remedy(checkpoint, monkeypatch):
    pickle_instead(checkpoint, weights_of(checkpoint))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.5.1+cpu")

    refused(checkpoint, r"torch 2\.5\.1\+cpu is here.*convert the weights to model\.safetensors")
    assert "torch 2.5.1" in why_not_loadable(parse_model(str(checkpoint)))


def test_shards_load_as_the_whole(checkpoint):
    whole = load(checkpoint)
    shard(checkpoint)

    sharded = load(checkpoint)

    assert len(sharded.files) == 2
    for old, new in zip(whole.module.parameters(), sharded.module.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_missing_shard_is_named(checkpoint):
    shard(checkpoint)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()

    refused(checkpoint, r"model-00002-of-00002\.safetensors")
    lacks = "not cached: lacks model-00002-of-00002.safetensors"
    assert why_not_loadable(parse_model(str(checkpoint))) == lacks


def test_a_shard_that_the_index_does_not_name_is_not_read(checkpoint):
    """As transformers does: it is left from another save."""
    shard(checkpoint)
    (checkpoint / "model-00003-of-00003.safetensors").touch()

    assert "model-00003-of-00003.safetensors" not in load(checkpoint).files


def test_a_tensor_in_two_shards_is_refused(checkpoint):
    shard(checkpoint)
    first, second = sorted(checkpoint.glob("model-*.safetensors"))
    second.write_bytes(first.read_bytes())

    refused(checkpoint, "holds too")


def test_a_tensor_in_another_shard_than_indexed_is_refused(checkpoint):
    path, weight_map = shard(checkpoint)
    first, second = sorted(set(weight_map.values()))
    swapped = {n: second if file == first else first for n, file in weight_map.items()}
    path.write_text(json.dumps({"weight_map": swapped}))

    refused(checkpoint, "and it is not; index and shards are of two saves")


@pytest.mark.parametrize(
    "shard_name",
    ["../x.safetensors", "/etc/x.safetensors", "a\\x.safetensors", "x.bin", ""],
)
def test_an_index_that_leaves_the_folder_is_refused(checkpoint, shard_name):
    path, weight_map = shard(checkpoint)
    weight_map["lm_head.bias"] = shard_name
    path.write_text(json.dumps({"weight_map": weight_map}))

    refused(checkpoint, "names the shard")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64], ids=str)
def test_weights_that_are_no_floating_point_numbers_are_refused(checkpoint, dtype):
    weights = weights_of(checkpoint)
    weights["lm_head.weight"] = weights["lm_head.weight"].to(dtype)
    save(checkpoint, weights)

    refused(checkpoint, rf"lm_head\.weight is a torch\.strided tensor of {dtype}")


def test_a_wrong_shape_is_told_with_both_shapes(checkpoint):
    weights = weights_of(checkpoint)
    weights["lm_head.weight"] = weights["lm_head.weight"][:, :-1].contiguous()
    save(checkpoint, weights)

    refused(checkpoint, r"lm_head\.weight has the shape \[32, 31\].*makes it \[32, 32\]")


def test_unused_weights_are_named(checkpoint):
    weights = weights_of(checkpoint)
    weights["wav2vec2.encoder.layers.7.layer_norm.bias"] = torch.ones(32)
    save(checkpoint, weights)

    assert "wav2vec2.encoder.layers.7.layer_norm.bias" in load(checkpoint).notes[0]


@pytest.mark.parametrize(
    "damage", [torch.tensor([float("nan")] * 32), torch.ones(3)], ids=["nan", "shape"]
)
def test_a_tensor_that_only_training_needs_is_not_looked_at(checkpoint, damage):
    save(checkpoint, {**weights_of(checkpoint), "wav2vec2.masked_spec_embed": damage})

    assert load(checkpoint).notes == ()


def test_a_folder_that_safetensors_cannot_open_is_no_torn_file(tmp_path):
    checkpoint = write_checkpoint(tmp_path / os.fsdecode(b"model-\xff"))

    with pytest.raises(CheckpointError, match="opens a path of UTF-8 only; rename the folder"):
        load(checkpoint)
