"""Checkpoints in the layouts that others write, made with random weights: the hub's, fine-tuned.

``python -m tests.helpers.foreign DIRECTORY --size base`` writes base-960h's layout in full size.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.helpers.checkpoints import SIZES, TOKENS, make_module

HUB_TOKENIZER = {
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "do_lower_case": False,
    "return_attention_mask": False,
    "do_normalize": True,
}
HUB_SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
OLD_NAMES = {"original0": "weight_g", "original1": "weight_v"}


def tensors_of(module: Any, *, old_names: bool = True) -> dict[str, torch.Tensor]:
    """Return the module's tensors as the hub's files name them."""
    found = {}
    for name, tensor in module.state_dict().items():
        stem, _, last = name.partition(".parametrizations.weight.")
        stored = f"{stem}.{OLD_NAMES[last]}" if last and old_names else name
        found[stored] = tensor.detach().clone().contiguous()
    return found


def write_hub_layout(
    directory: Path, *, family: str = "group", size: str = "small", pickled: bool = False
) -> Path:
    """Write base-960h's files (``group``) or large-960h-lv60-self's (``layer``, ``pickled``).

    Names, small files and their sizes in bytes are those on the hub; ``masked_spec_embed`` is
    absent, as there, although the configuration asks for one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    module = make_module(family=family, size=size)
    tensors = tensors_of(module)
    tensors.pop("wav2vec2.masked_spec_embed", None)
    if pickled:
        torch.save(tensors, directory / "pytorch_model.bin")
    else:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = {**module.config.to_dict(), "apply_spec_augment": True, "mask_time_prob": 0.05}
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    (directory / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(TOKENS)}))
    (directory / "tokenizer_config.json").write_text(json.dumps(HUB_TOKENIZER))
    (directory / "special_tokens_map.json").write_text(json.dumps(HUB_SPECIALS))
    extractor = {
        "do_normalize": True,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": family == "layer",
        "sampling_rate": 16_000,
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(extractor, indent=2) + "\n")
    return directory


CHOICES: dict[str, tuple[Any, ...]] = {
    "family": ("group", "layer"),
    "letters": ("upper", "lower", "cyrillic"),
    "specials": ("vocab", "added_tokens", "added_tokens_decoder", "none"),
    "head": ("exact", "padded", "fewer", "short"),
    "delimiter": ("|", " ", "*", ""),
    "replace_word_delimiter_char": (None, "-", ""),
    "do_lower_case": (None, True, False),
    "clean_up_tokenization_spaces": (None, True, False),
    "extractor": ("preprocessor", "processor", "bare"),
    "do_normalize": (True, False),
    "weights": ("safetensors", "bin", "legacy", "safetensors-shards", "bin-shards"),
    "old_names": (True, False),
    "unexpected": (False, True),
    "special_tokens_map": (True, False),
}
LETTERS = {
    "upper": "ETAONIHSRDLU'.",
    "lower": "etaonihsrdlu'.",
    "cyrillic": "АБВГДЕЖЗИЙКЛ'ё",
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One drawn checkpoint: a value by each key of ``CHOICES``, and the seed of its weights."""

    seed: int
    options: dict[str, Any]

    @property
    def unused(self) -> bool:
        """Whether its weights hold a tensor that its architecture has no place for."""
        return bool(self.options["unexpected"])

    @property
    def lost(self) -> bool:
        """Whether a letter of its vocabulary has no row in the head."""
        return self.options["head"] == "short"


def draw(seed: int, **fixed: Any) -> Variant:
    """Draw a variant; the same seed draws the same one."""
    rng = np.random.default_rng(seed)
    options = {key: values[int(rng.integers(len(values)))] for key, values in CHOICES.items()}
    return Variant(seed=seed, options={**options, **fixed})


def write_variant(directory: Path, variant: Variant) -> Path:
    """Write a variant's files."""
    directory.mkdir(parents=True)
    options = variant.options
    in_vocab = options["specials"] == "vocab"
    vocab = _vocabulary(options, in_vocab=in_vocab)
    added = {} if in_vocab else {"<s>": len(vocab), "</s>": len(vocab) + 1}
    rows = len(vocab) + len(added)
    rows = {
        "exact": rows,
        "padded": -(-rows // 8) * 8 + 8,
        "fewer": len(vocab),
        "short": vocab[LETTERS[options["letters"]][-1]],
    }[options["head"]]
    (directory / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    _write_tokenizer(directory, options, added)
    _write_extractor(directory, options)
    _write_weights(directory, variant, rows=rows)
    return directory


def _vocabulary(options: dict[str, Any], *, in_vocab: bool) -> dict[str, int]:
    names = ["<pad>", "<s>", "</s>", "<unk>"] if in_vocab else []
    names = names or ["[UNK]", "[PAD]"]
    tokens = [*names, *options["delimiter"], *LETTERS[options["letters"]]]
    return {token: index for index, token in enumerate(tokens)}


def _write_tokenizer(directory: Path, options: dict[str, Any], added: dict[str, int]) -> None:
    pad, unk = ("[PAD]", "[UNK]") if added else ("<pad>", "<unk>")
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": pad, "unk_token": unk}
    settings = {**names, "word_delimiter_token": options["delimiter"] or "|"}
    for key in ("replace_word_delimiter_char", "do_lower_case", "clean_up_tokenization_spaces"):
        if options[key] is not None:
            settings[key] = options[key]
    if options["specials"] == "added_tokens":
        (directory / "added_tokens.json").write_text(json.dumps(added))
    if options["specials"] == "added_tokens_decoder":
        flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
        settings["added_tokens_decoder"] = {
            str(index): {"content": token, "special": True, **flags}
            for token, index in added.items()
        }
    settings["tokenizer_class"] = "Wav2Vec2CTCTokenizer"
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    if options["special_tokens_map"]:
        (directory / "special_tokens_map.json").write_text(json.dumps(names))


def _write_extractor(directory: Path, options: dict[str, Any]) -> None:
    settings = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "sampling_rate": 16_000,
        "do_normalize": options["do_normalize"],
        "return_attention_mask": options["family"] == "layer",
    }
    if options["extractor"] == "processor":
        nested = {"feature_extractor": settings, "processor_class": "Wav2Vec2Processor"}
        (directory / "processor_config.json").write_text(json.dumps(nested))
        return
    if options["extractor"] == "bare":
        settings = {"do_normalize": options["do_normalize"]}
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))


def _write_weights(directory: Path, variant: Variant, *, rows: int) -> None:
    options = variant.options
    module = make_module(family=options["family"], seed=variant.seed)
    module.lm_head = torch.nn.Linear(module.config.hidden_size, rows)
    torch.nn.init.normal_(module.lm_head.weight)
    config = {**module.config.to_dict(), "vocab_size": rows}
    (directory / "config.json").write_text(json.dumps(config))
    tensors = tensors_of(module, old_names=options["old_names"])
    if options["unexpected"]:
        tensors["wav2vec2.encoder.layers.1.layer_norm.weight"] = torch.ones(32)
    kind, _, sharded = options["weights"].partition("-")
    stem, suffix = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    names = list(tensors)
    parts = [names[::2], names[1::2]] if sharded else [names]
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        file = f"{stem}-{number:05}-of-00002.{suffix}" if sharded else f"{stem}.{suffix}"
        _save({n: tensors[n] for n in part}, directory / file, legacy=kind == "legacy")
        weight_map.update(dict.fromkeys(part, file))
    if sharded:
        index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
        (directory / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


def _save(tensors: dict[str, torch.Tensor], path: Path, *, legacy: bool) -> None:
    if path.suffix == ".safetensors":
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES), default="base")
    parser.add_argument("--family", choices=("group", "layer"), default="group")
    parser.add_argument("--pickled", action="store_true")
    a = parser.parse_args()
    write_hub_layout(a.directory, family=a.family, size=a.size, pickled=a.pickled)


if __name__ == "__main__":
    main()
