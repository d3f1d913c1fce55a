"""What the stand-in of the hub serves: both checkpoints and both data sets in today's layout.

Weights are the canaries', audio is canary-speech or a buzz: nothing here was made by others. The
layout follows the public repositories: ``large`` has no safetensors on its main branch, positional
convolutions are named weight_g and weight_v, and a split of librispeech_asr is a folder of shards.
"""

from __future__ import annotations

import functools
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from tests.helpers.hub import Hub, Repository
from tests.helpers.speech import write_parquet
from w2v_core.data.librispeech import list_recordings
from w2v_core.model.catalog import MODELS

BASE, LARGE = MODELS["base"].location, MODELS["large"].location
LIBRISPEECH = "openslr/librispeech_asr"
DUMMY = "hf-internal-testing/librispeech_asr_dummy"
OLD_COMMIT, COMMIT = "1" * 40, "2" * 40
TAG = "v1"
NAMES = {  # transformers of today -> the names of the published files
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


@functools.cache
def checkpoint_files(family: str) -> Mapping[str, bytes]:
    """Return the files of ``base`` or ``large`` by path, with the canary's weights."""
    directory = Path(MODELS[f"canary-{family}"].location)
    weights = {
        _published(name): tensor.float()
        for name, tensor in load_file(directory / "model.safetensors").items()
        if "masked_spec_embed" not in name  # training only, absent from both
    }
    files = {
        name: (directory / name).read_bytes()
        for name in ("vocab.json", "tokenizer_config.json", "special_tokens_map.json")
    }
    config = json.loads((directory / "config.json").read_text())
    config |= {"apply_spec_augment": True, "mask_time_prob": 0.05, "torch_dtype": "float32"}
    files["config.json"] = json.dumps(config).encode()
    preprocessor = (directory / "preprocessor_config.json").read_bytes()
    files["preprocessor_config.json"] = preprocessor
    pickled = io.BytesIO()
    torch.save(weights, pickled)
    files["pytorch_model.bin"] = pickled.getvalue()
    files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
    if family == "base":
        files["feature_extractor_config.json"] = preprocessor
        files["model.safetensors"] = save(weights, metadata={"format": "pt"})
        files["tf_model.h5"] = b"not fetched"
    else:
        files["flax_model.msgpack"] = b"not fetched"
    return files


def _published(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a parquet file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        return write_parquet(Path(folder, "rows.parquet"), rows).read_bytes()


@functools.cache
def canary_rows() -> tuple[Mapping[str, Any], ...]:
    """Return canary-speech's 73 utterances as rows of a LibriSpeech parquet file."""
    from w2v_core.data import catalog

    listing = list_recordings(catalog._bundled())
    return tuple(
        {
            "file": f"{r.utterance_id}.flac",
            "audio": {"bytes": Path(str(r.audio)).read_bytes(), "path": f"{r.utterance_id}.flac"},
            "text": r.reference,
            "speaker_id": int(r.utterance_id.split("-")[0]),
            "chapter_id": int(r.utterance_id.split("-")[1]),
            "id": r.utterance_id,
        }
        for r in listing.recordings
    )


def repeated_rows(count: int, *, of: int = 8) -> list[Mapping[str, Any]]:
    """Return ``count`` rows: the ``of`` shortest utterances of canary-speech, again and again."""
    short = sorted(canary_rows(), key=lambda row: len(row["audio"]["bytes"]))[:of]
    return [{**short[i % of], "id": f"9001-2-{i:04d}"} for i in range(count)]


def librispeech_files(rows: Sequence[Mapping[str, Any]], *, shards: int = 1) -> dict[str, bytes]:
    """Return librispeech_asr as it lies on the hub today, ``rows`` as its clean test split."""
    files = {f"clean/test/{i:04d}.parquet": parquet(rows[i::shards]) for i in range(shards)}
    one = parquet(canary_rows()[:1])
    for split in ("clean/train.100", "clean/validation", "other/test", "all/test.clean"):
        files[f"{split}/0000.parquet"] = one
    return {**files, "README.md": b"---\n---\n", ".gitattributes": b""}


def dummy_files(rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return librispeech_asr_dummy as it lies on the hub today."""
    return {
        "clean/validation-00000-of-00001.parquet": parquet(rows),
        "other/validation-00000-of-00001.parquet": parquet(rows[:1]),
        "README.md": b"---\n---\n",
    }


def fill(
    hub: Hub,
    *,
    test_rows: Sequence[Mapping[str, Any]],
    dummy_rows: Sequence[Mapping[str, Any]],
    shards: int = 1,
) -> Hub:
    """Serve both checkpoints and both data sets, each with an older commit that a tag names."""
    for family, name in (("base", BASE), ("large", LARGE)):
        hub.add(_repository("models", name, checkpoint_files(family)))
    hub.add(_repository("datasets", LIBRISPEECH, librispeech_files(test_rows, shards=shards)))
    hub.add(_repository("datasets", DUMMY, dummy_files(dummy_rows)))
    return hub


def _repository(kind: str, name: str, files: Mapping[str, bytes]) -> Repository:
    commits = {OLD_COMMIT: files, COMMIT: {**files, "README.md": b"---\n---\nNewer.\n"}}
    return Repository(kind=kind, name=name, commits=commits, tags={TAG: OLD_COMMIT})
