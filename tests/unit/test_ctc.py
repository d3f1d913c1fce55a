"""Decoding a batch equals the tokenizer's decoding of each row."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from w2v_core.engine.ctc import decode_batch
from w2v_core.types import Vocabulary

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
VOCABULARY = Vocabulary(tokens=TOKENS, blank_id=0, delimiter_id=4)


def ids_of(text: str) -> list[int]:
    """Read ``_`` as the blank and every other character as its token."""
    return [0 if c == "_" else TOKENS.index(c) for c in text]


def decode(*rows: str) -> list[str]:
    longest = max(len(row) for row in rows)
    padded = np.array([ids_of(row) + [5] * (longest - len(row)) for row in rows], dtype=np.int32)
    return decode_batch(padded, [len(row) for row in rows], VOCABULARY)


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        pytest.param("LL_L", "LL", id="double-letter"),
        pytest.param("LLLL", "L", id="one-letter"),
        pytest.param("_A__B_", "AB", id="blanks"),
        pytest.param("|A|B|", "A B", id="delimiters"),
        pytest.param("A||_|B", "A  B", id="two-delimiters"),
        pytest.param("____", "", id="silence"),
    ],
)
def test_frames_are_merged_before_blanks_are_dropped(frames, text):
    assert decode(frames) == [text]


def test_frames_past_a_row_are_ignored():
    assert decode("AB", "ABTON") == ["AB", "ABTON"]


def test_a_row_does_not_merge_with_its_neighbour():
    assert decode("EA", "AE") == ["EA", "AE"]


def test_an_empty_row_is_the_empty_transcript():
    assert decode_batch(np.zeros((2, 3), np.int32), [0, 0], VOCABULARY) == ["", ""]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import Wav2Vec2CTCTokenizer

    folder = tmp_path_factory.mktemp("vocabulary")
    path = folder / "vocab.json"
    path.write_text(json.dumps({token: i for i, token in enumerate(TOKENS)}))
    return Wav2Vec2CTCTokenizer(str(path), unk_token="<unk>", pad_token="<pad>")


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.integers(0, len(TOKENS) - 1) | st.sampled_from([0, 4, 5]), max_size=40),
        min_size=1,
        max_size=4,
    )
)
def test_every_sequence_decodes_as_the_tokenizer_decodes_it(tokenizer, rows):
    width = max(1, *(len(row) for row in rows))
    ids = np.array([row + [7] * (width - len(row)) for row in rows], dtype=np.int32)

    decoded = decode_batch(ids, [len(row) for row in rows], VOCABULARY)

    assert decoded == [tokenizer.decode(row) for row in rows]


@pytest.mark.parametrize(
    "text", ["do n't , it 's we 're .", "i 'm ? no ! ' x ' y 've", "a ' b , . ,", "plain words"]
)
def test_spaces_are_cleaned_up_as_transformers_own_tokenizer_does(tmp_path, text):
    """``clean_up_tokenization_spaces``, which a fine-tuned checkpoint may set."""
    tokens = ("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz.,?!'")
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(path), clean_up_tokenization_spaces=True)
    frames = [i for c in text for i in (tokens.index("|" if c == " " else c), 0)]
    vocabulary = Vocabulary(tokens=tokens, blank_id=0, delimiter_id=4, clean_up=True)

    ours = decode_batch(np.array([frames], dtype=np.int32), [len(frames)], vocabulary)

    assert ours == [tokenizer.decode(frames, clean_up_tokenization_spaces=True)]
    assert (ours != [text]) == (text != "plain words")
