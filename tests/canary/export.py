"""Export a training checkpoint as a Hugging Face directory with fp16 weights.

`python -m tests.canary.export --source RUN/final --out w2v_core/model/canary/base`.
The configuration files are written by hand, so that transformers 4.45 and 5.x both read them:
5.x saves a processor_config.json that 4.45 does not know.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import Wav2Vec2ForCTC

from tests.canary.architecture import VOCABULARY
from w2v_core.types import SAMPLE_RATE_HZ

SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}
TOKENIZER = {
    **SPECIAL_TOKENS,
    "clean_up_tokenization_spaces": False,
    "do_lower_case": False,
    "replace_word_delimiter_char": " ",
    "tokenizer_class": "Wav2Vec2CTCTokenizer",
    "word_delimiter_token": "|",
}
# Names that differ between transformers versions, or that say nothing about the model.
_DROPPED_KEYS = ("dtype", "transformers_version", "_name_or_path")


def config_of(model: Wav2Vec2ForCTC) -> dict[str, Any]:
    """Return config.json's content, fp16 and free of this machine's names."""
    kept = {k: v for k, v in model.config.to_diff_dict().items() if k not in _DROPPED_KEYS}
    return {**kept, "architectures": ["Wav2Vec2ForCTC"], "torch_dtype": "float16"}


def preprocessor_of(model: Wav2Vec2ForCTC) -> dict[str, Any]:
    """Return preprocessor_config.json's content; only the layer-norm family takes a mask."""
    return {
        "do_normalize": True,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": model.config.feat_extract_norm == "layer",
        "sampling_rate": SAMPLE_RATE_HZ,
    }


def export(source: Path, out: Path) -> None:
    """Write config, fp16 weights, vocabulary and preprocessor; leaves a README.md alone."""
    out.mkdir(parents=True, exist_ok=True)
    model = Wav2Vec2ForCTC.from_pretrained(source)
    weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    files: dict[str, Any] = {
        "config.json": config_of(model),
        "preprocessor_config.json": preprocessor_of(model),
        "special_tokens_map.json": SPECIAL_TOKENS,
        "tokenizer_config.json": TOKENIZER,
        "vocab.json": VOCABULARY,
    }
    for name, content in files.items():
        text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=name != "vocab.json")
        (out / name).write_text(text + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    export(args.source, args.out)


if __name__ == "__main__":
    main()
