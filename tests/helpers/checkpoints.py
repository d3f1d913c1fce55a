"""Checkpoints with random weights in Hugging Face's layout, made on the spot.

``python -m tests.helpers.checkpoints DIRECTORY --size base`` makes one as large as base-960h.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
SIZES = {"small": SMALL, "base": {}, "large": LARGE}


def make_module(*, family: str = "group", size: str = "small", seed: int = 0) -> Wav2Vec2ForCTC:
    """Build a Wav2Vec2ForCTC of one of the two families with random weights."""
    torch.manual_seed(seed)
    layer = family == "layer"
    config = Wav2Vec2Config(
        vocab_size=len(TOKENS),
        feat_extract_norm=family,
        conv_bias=layer,
        do_stable_layer_norm=layer,
        **SIZES[size],
    )
    return Wav2Vec2ForCTC(config).eval()


def write_checkpoint(
    directory: Path, *, family: str = "group", size: str = "small", seed: int = 0
) -> Path:
    """Write a checkpoint as the hub holds it and return its directory."""
    module = make_module(family=family, size=size, seed=seed)
    module.save_pretrained(directory)
    (directory / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(TOKENS)}))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": "<pad>", "word_delimiter_token": "|", "unk_token": "<unk>"})
    )
    (directory / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "feature_extractor_type": "Wav2Vec2FeatureExtractor",
                "sampling_rate": 16_000,
                "do_normalize": True,
                "return_attention_mask": family == "layer",
            }
        )
    )
    return directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES), default="base")
    parser.add_argument("--family", choices=("group", "layer"), default="group")
    arguments = parser.parse_args()
    write_checkpoint(arguments.directory, family=arguments.family, size=arguments.size)


if __name__ == "__main__":
    main()
