"""The two canary architectures, their alphabet and how one of them transcribes."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

Family = Literal["base", "large"]
FAMILIES: tuple[Family, ...] = ("base", "large")

SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
VOCABULARY = {symbol: index for index, symbol in enumerate(SYMBOLS)}
BLANK = 0

# Channel counts are multiples of 32, so that AMX bf16 pays in training. The layer-norm front end
# costs more per channel than the group-norm one, so `large` has fewer channels, not more.
_SIZES: dict[Family, dict[str, Any]] = {
    "base": {
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
        "conv_bias": False,
        "conv_dim": (32, 64, 64, 128, 128, 128, 128),
        "hidden_size": 256,
        "intermediate_size": 1024,
    },
    "large": {
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "conv_dim": (32, 32, 64, 64, 128, 128, 128),
        "hidden_size": 256,
        "intermediate_size": 1024,
    },
}


def build(family: Family) -> Wav2Vec2ForCTC:
    """Build a canary with fresh weights."""
    config = Wav2Vec2Config(
        vocab_size=len(SYMBOLS),
        num_hidden_layers=4,
        num_attention_heads=4,
        num_conv_pos_embeddings=64,
        num_conv_pos_embedding_groups=8,
        apply_spec_augment=False,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        layerdrop=0.0,
        hidden_dropout=0.05,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        pad_token_id=BLANK,
        bos_token_id=1,
        eos_token_id=2,
        ctc_loss_reduction="sum",
        attn_implementation="sdpa",
        **_SIZES[family],
    )
    return Wav2Vec2ForCTC(config)


def encode(text: str) -> list[int]:
    """Return the token ids of a transcript."""
    return [VOCABULARY["|" if character == " " else character] for character in text]


def decode(ids: npt.NDArray[np.int64]) -> str:
    """Decode (T,) arg-max ids as Wav2Vec2CTCTokenizer does: merge repeats, then drop blanks."""
    kept = (token for token, _ in groupby(ids.tolist()) if token != BLANK)
    return "".join(SYMBOLS[token] for token in kept).replace("|", " ").strip()


def logits_of(model: Wav2Vec2ForCTC, wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the (T, V) float32 logits of one unpadded, normalised utterance."""
    with torch.inference_mode():
        output = model(torch.from_numpy(wave)[None])
    return np.asarray(output.logits[0].float().numpy())
