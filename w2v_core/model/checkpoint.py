"""Checkpoints: found, checked, loaded. safetensors only; nothing from one is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from w2v_core.errors import CheckpointError, NotCachedError
from w2v_core.model.catalog import ModelSpec
from w2v_core.types import SAMPLE_RATE_HZ, Vocabulary

__all__ = ["FILES", "Checkpoint", "is_cached", "load_checkpoint"]

FILES = ("config.json", "model.safetensors", "vocab.json", "preprocessor_config.json")
OPTIONAL_FILES = ("tokenizer_config.json", "special_tokens_map.json")
TRAINING_ONLY = "wav2vec2.masked_spec_embed"  # absent from fine-tuned checkpoints, unused here


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A loaded Wav2Vec2ForCTC with what is needed to feed and read it."""

    name: str
    cell_name: str
    location: str
    revision: str | None
    """Resolved commit of a hub checkpoint; None for directories."""
    sha256: str
    """Of model.safetensors."""
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


def is_cached(spec: ModelSpec) -> bool:
    """Return whether the checkpoint can be loaded without a network."""
    try:
        _find(spec, local_only=True)
    except (NotCachedError, CheckpointError):
        return False
    return True


def load_checkpoint(spec: ModelSpec) -> Checkpoint:
    """Load a checkpoint to the host in float32; blocks on disk, and on the hub where needed.

    Raises:
        NotCachedError: the checkpoint is not on disk and the hub does not answer.
        CheckpointError: a file is missing or unreadable, weights are missing, or the vocabulary
            does not fit the model.
    """
    directory, revision = _find(spec, local_only=_is_offline())
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise CheckpointError(
            f"checkpoint {spec.name!r} at {directory} has no {', '.join(missing)}; "
            f"needed are {', '.join(FILES)} (weights as safetensors only: nothing is unpickled)"
        )
    preprocessor = _read_json(directory / "preprocessor_config.json")
    rate = preprocessor.get("sampling_rate")
    if rate != SAMPLE_RATE_HZ:
        raise CheckpointError(
            f"checkpoint {spec.name!r} wants {rate} Hz audio; only {SAMPLE_RATE_HZ} Hz is supported"
        )
    module = _load_module(directory, spec)
    return Checkpoint(
        name=spec.name,
        cell_name=spec.cell_name,
        location=spec.location,
        revision=revision,
        sha256=hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest(),
        do_normalize=bool(preprocessor.get("do_normalize", True)),
        attention_mask=bool(preprocessor.get("return_attention_mask", False)),
        vocabulary=_load_vocabulary(directory, spec, vocab_size=int(module.config.vocab_size)),
        module=module,
    )


def _find(spec: ModelSpec, *, local_only: bool) -> tuple[Path, str | None]:
    """Return the checkpoint's directory and, for the hub, its resolved commit."""
    if spec.source != "hub":
        directory = Path(spec.location)
        if not directory.is_dir():
            raise CheckpointError(f"checkpoint {spec.name!r}: {directory} is not a directory")
        return directory, None
    from huggingface_hub import snapshot_download

    wanted = [*FILES, *OPTIONAL_FILES]
    try:
        found = snapshot_download(
            spec.location,
            revision=spec.revision,
            allow_patterns=wanted,
            local_files_only=local_only,
        )
    except Exception as error:
        command = f"hf download {spec.location} {' '.join(FILES)}"
        raise NotCachedError(
            f"checkpoint {spec.name!r} ({spec.location}) is not cached and the hub does not answer "
            f"({type(error).__name__}). Fetch it where there is a network with: {command} ; or use "
            "a bundled checkpoint: canary-base or canary-large"
        ) from error
    directory = Path(found)
    if not (directory / "config.json").is_file():
        raise NotCachedError(
            f"checkpoint {spec.name!r} is only partly cached at {directory}; fetch it with "
            f"hf download {spec.location}, or use canary-base or canary-large"
        )
    return directory, directory.name


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _load_module(directory: Path, spec: ModelSpec) -> Any:  # noqa: ANN401 - untyped library class
    from transformers import Wav2Vec2ForCTC

    try:
        with _quiet():
            module, info = Wav2Vec2ForCTC.from_pretrained(
                str(directory),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                attn_implementation="sdpa",
            )
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {spec.name!r} at {directory} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error
    absent = sorted(set(info["missing_keys"]) - {TRAINING_ONLY})
    mismatched = [str(key) for key in info["mismatched_keys"]]
    if absent or mismatched:
        raise CheckpointError(
            f"checkpoint {spec.name!r} lacks weights that would be filled at random: "
            f"{', '.join((absent + mismatched)[:5])} ({len(absent) + len(mismatched)} in all); "
            "it is not a complete Wav2Vec2ForCTC"
        )
    module = module.float().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(requires_grad=False)
        if not bool(torch.isfinite(parameter).all()):
            raise CheckpointError(f"checkpoint {spec.name!r} holds NaN or infinite weights")
    return module


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bar and its load report off stderr; what is wrong is raised."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _load_vocabulary(directory: Path, spec: ModelSpec, *, vocab_size: int) -> Vocabulary:
    vocab = _read_json(directory / "vocab.json")
    names: dict[str, Any] = {}
    for file in reversed(OPTIONAL_FILES):
        if (directory / file).is_file():
            names.update(_read_json(directory / file))
    ids = sorted(int(i) for i in vocab.values())
    if ids != list(range(vocab_size)):
        raise CheckpointError(
            f"checkpoint {spec.name!r}: vocab.json has {len(ids)} tokens, the model's CTC head has "
            f"{vocab_size}, and ids must run from 0; the vocabulary belongs to another model"
        )
    by_id = {int(i): token for token, i in vocab.items()}
    blank = _token_text(names.get("pad_token", "<pad>"))
    delimiter = _token_text(names.get("word_delimiter_token", "|"))
    for role, token in (("CTC blank (pad_token)", blank), ("word delimiter", delimiter)):
        if token not in vocab:
            raise CheckpointError(
                f"checkpoint {spec.name!r}: the {role} {token!r} is not in vocab.json"
            )
    specials = [blank, *(_token_text(names.get(f"{role}_token")) for role in ("bos", "eos", "unk"))]
    return Vocabulary(
        tokens=tuple(by_id[i] for i in range(vocab_size)),
        blank_id=int(vocab[blank]),
        delimiter_id=int(vocab[delimiter]),
        special_ids=frozenset(
            {int(vocab[blank]), *(int(vocab[t]) for t in specials if t in vocab)}
        ),
    )


def _token_text(value: Any) -> str:  # noqa: ANN401 - JSON value
    """Read a token that is stored as text or as an added-token object."""
    return str(value["content"]) if isinstance(value, dict) else str(value)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return value
