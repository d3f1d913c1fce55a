"""Checkpoints: found, checked, loaded. Nothing from one is executed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2v_core.errors import CheckpointError
from w2v_core.model.architecture import read_architecture
from w2v_core.model.catalog import ModelSpec
from w2v_core.model.checkpoint_files import find_weights, some
from w2v_core.model.checkpoint_hub import ADAPTER, locate
from w2v_core.model.vocabulary import has_language_model, read_feature_extractor, read_vocabulary
from w2v_core.model.weights import load_weights
from w2v_core.printable import printable, shorten
from w2v_core.types import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A loaded Wav2Vec2ForCTC with what is needed to feed and read it."""

    name: str
    cell_name: str
    location: str
    revision: str | None
    """Resolved commit of a hub checkpoint; None for directories."""
    sha256: str
    """Of the weight file; of shards, of the lines ``<sha256>  <name>`` in the index's order."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The weight files that were read, each with its sha256."""
    notes: tuple[str, ...] = ()
    """What a user should know of the checkpoint, one line each; empty where nothing is odd."""
    do_normalize: bool
    """Whether waveforms are normalised to zero mean and unit variance."""
    attention_mask: bool
    """Whether the checkpoint was trained with an attention mask (the layer-norm family)."""
    vocabulary: Vocabulary
    module: Any = field(repr=False)
    """transformers' Wav2Vec2ForCTC, float32, eval, on the host."""

    @property
    def num_parameters(self) -> int:
        """Parameters of the module."""
        return sum(p.numel() for p in self.module.parameters())


def load_checkpoint(spec: ModelSpec) -> Checkpoint:
    """Load a checkpoint to the host in float32; blocks on disk, and on the hub where needed.

    Raises:
        NotCachedError: the checkpoint is not on disk and cannot be fetched; says why.
        CheckpointError: a file is missing or unreadable, weights are missing, or the vocabulary
            does not fit the model.
    """
    directory = locate(spec)
    try:
        return _load(spec, directory)
    except CheckpointError as error:
        told = shorten(printable(str(error)), 1_400)
        raise CheckpointError(f"checkpoint {spec.name!r}: {told}") from error


def _load(spec: ModelSpec, directory: Path) -> Checkpoint:
    weight_files = find_weights(directory)
    if weight_files is None:
        raise CheckpointError(f"{directory} lost its weights while it was read")
    extractor = read_feature_extractor(directory)
    architecture = read_architecture(directory)
    module, digests, unused = load_weights(weight_files, architecture)
    vocabulary, odd = read_vocabulary(directory, num_rows=architecture.vocab_size)
    return Checkpoint(
        name=spec.name,
        cell_name=spec.cell_name,
        location=spec.location,
        revision=directory.name if spec.source == "hub" else None,
        sha256=_joint_sha256(digests),
        files=digests,
        notes=(*_unused(directory, unused), *odd),
        do_normalize=extractor.do_normalize,
        attention_mask=extractor.return_attention_mask,
        vocabulary=vocabulary,
        module=module,
    )


def _joint_sha256(files: Mapping[str, str]) -> str:
    if len(files) == 1:
        return next(iter(files.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _unused(directory: Path, tensors: tuple[str, ...]) -> Iterator[str]:
    if tensors:
        yield f"weights are not used, because config.json has no place for them: {some(tensors)}"
    if (directory / ADAPTER).is_file():
        yield f"{ADAPTER} is not used: the adapter beside the weights would change them"
    if has_language_model(directory):
        yield "its language model is not used: transcripts are greedy CTC"
