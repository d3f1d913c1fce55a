"""A checkpoint's small files: how to feed it, and how its tokenizer spells what it says.

The tokenizer's files have several layouts, and what is obeyed of them changed between releases of
transformers; so the installed ``Wav2Vec2CTCTokenizer`` reads them, and its values are taken over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from w2v_core.errors import CheckpointError
from w2v_core.model.checkpoint_files import (
    CONFIG,
    PREPROCESSOR,
    PROCESSOR,
    TOKENIZER_CONFIG,
    VOCABULARY,
    quiet,
    read_json,
    some,
)
from w2v_core.printable import one_line, printable, shown
from w2v_core.types import SAMPLE_RATE_HZ, Vocabulary

TOKENIZERS = ("Wav2Vec2CTCTokenizer", "Wav2Vec2Tokenizer")  # the second: its name before 4.0
EXTRACTOR = "Wav2Vec2FeatureExtractor"
WITH_LM = "Wav2Vec2ProcessorWithLM"

Digits = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,7}$")]
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 20)]


class FeatureExtractor(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that feed the model, with the defaults of Wav2Vec2FeatureExtractor."""

    do_normalize: bool = True
    """Whether waveforms are normalised to zero mean and unit variance."""
    return_attention_mask: bool = False
    """Whether the checkpoint was trained with an attention mask (the layer-norm family)."""
    sampling_rate: int = SAMPLE_RATE_HZ
    feature_size: int = 1
    feature_extractor_type: str = EXTRACTOR


class _Processor(msgspec.Struct, frozen=True, kw_only=True):
    """transformers 5's file; older ones hold the processor's class alone."""

    feature_extractor: FeatureExtractor | UnsetType = UNSET
    audio_processor: FeatureExtractor | UnsetType = UNSET


class _Classes(msgspec.Struct, frozen=True, kw_only=True):
    """The classes that any of the small files may name."""

    tokenizer_class: str | None = None
    processor_class: str | None = None


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token with how it is looked for, as transformers saves it."""

    content: str
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    single_word: bool = False
    special: bool = False


class _Names(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens that special_tokens_map.json and tokenizer_config.json name."""

    bos_token: str | _Token | None = None
    eos_token: str | _Token | None = None
    unk_token: str | _Token | None = None
    pad_token: str | _Token | None = None


class _Fast(msgspec.Struct, frozen=True, kw_only=True):
    """What transformers reads of a tokenizer.json beside the other files."""

    added_tokens: list[_Token] = []


class _Tokenizer(_Names, frozen=True, kw_only=True):
    """The fields of tokenizer_config.json whose values must be of one type to mean anything."""

    word_delimiter_token: str | _Token | None = None
    added_tokens_decoder: dict[Digits, _Token] = {}
    replace_word_delimiter_char: str | UnsetType = UNSET
    do_lower_case: bool | None = None
    clean_up_tokenization_spaces: bool | None = None
    target_lang: str | None = None
    vocab_file: None = None
    """Never read from the file: it could name a file elsewhere."""


SPECIALS = "special_tokens_map.json"
MARKS = {"content", "__type"}  # of an object that transformers makes a token of
TOKEN_KEYS = frozenset((*_Token.__struct_fields__, "id", "__type"))
OTHERS: dict[str, Any] = {
    SPECIALS: _Names,
    "added_tokens.json": dict[str, TokenId],
    "tokenizer.json": _Fast,
}
"""Files that transformers' tokenizer reads by itself, and of what type it takes them to be."""


def read_feature_extractor(directory: Path) -> FeatureExtractor:
    """Read how waveforms are prepared, from processor_config.json first, as transformers 5 does.

    Raises:
        CheckpointError: neither file has it, a field has another type, or it is another extractor
            or sampling rate.
    """
    found: FeatureExtractor | UnsetType = UNSET
    source = directory / PROCESSOR
    if source.is_file():
        processor = read_json(source, _Processor)
        found = processor.feature_extractor or processor.audio_processor
    if found is UNSET:
        source = directory / PREPROCESSOR
        if not source.is_file():
            raise CheckpointError(
                f"{directory} has no {PREPROCESSOR}, and no {PROCESSOR} with a feature extractor"
            )
        found = read_json(source, FeatureExtractor)
    if found.feature_extractor_type != EXTRACTOR or found.feature_size != 1:
        raise CheckpointError(
            f"{source}: the feature extractor is {shown(found.feature_extractor_type)} with "
            f"{found.feature_size} features a sample; supported is {EXTRACTOR} with one"
        )
    if found.sampling_rate != SAMPLE_RATE_HZ:
        raise CheckpointError(
            f"{source}: wants {found.sampling_rate} Hz audio; only {SAMPLE_RATE_HZ} Hz is supported"
        )
    return found


def has_language_model(directory: Path) -> bool:
    """Return whether the folder is a Wav2Vec2ProcessorWithLM's, whose n-gram model is not used."""
    names = (PROCESSOR, PREPROCESSOR, TOKENIZER_CONFIG)
    return (directory / "language_model").is_dir() or WITH_LM in {
        read_json(directory / name, _Classes).processor_class
        for name in names
        if (directory / name).is_file()
    }


def read_vocabulary(directory: Path, *, num_rows: int) -> tuple[Vocabulary, tuple[str, ...]]:
    """Read the token table as the checkpoint's own tokenizer has it.

    Args:
        directory: The checkpoint's folder.
        num_rows: Rows of the CTC head. Rows behind the last token, which padding of the head to a
            multiple of 8 leaves, are spelled as the unknown token, as transformers does.

    Returns:
        The table, and what is odd about it, one line each.

    Raises:
        CheckpointError: a file cannot be read, the tokenizer is of another kind, or the blank has
            no row in the head or is the word delimiter.
    """
    letters, named = _read_letters(directory), _named_delimiter(directory)
    own, tokens = _own_tokenizer(directory, num_rows=num_rows)
    blank, delimiter = str(own.pad_token), str(own.word_delimiter_token)
    first = {token: index for index, token in reversed([*enumerate(tokens)])}
    if blank not in first:
        raise CheckpointError(
            f"{directory}: the CTC blank (pad_token) {shown(blank)} is not in {VOCABULARY}, or has "
            f"no row among the {num_rows} of the CTC head"
        )
    if blank in (named, delimiter):
        raise CheckpointError(
            f"{directory}: {shown(blank)} is both the CTC blank (pad_token) and the word delimiter "
            "(word_delimiter_token); transcripts would have no spaces"
        )
    vocabulary = Vocabulary(
        tokens=tokens,
        blank_id=first[blank],
        delimiter_id=first.get(delimiter),
        same_as=tuple(first[t] for t in tokens) if len(first) < num_rows else (),
        delimiter_text=str(own.replace_word_delimiter_char),
        lower_case=bool(own.do_lower_case),
        clean_up=bool(own.clean_up_tokenization_spaces),
    )
    lost = [t for t, i in letters.items() if i >= num_rows and t not in own.all_special_tokens]
    unwritten = (
        f"{VOCABULARY} has {len(letters)} tokens, the CTC head has {num_rows} rows: none for "
        f"{some(map(repr, lost))}, which is never written"
    )
    return vocabulary, (*_of_delimiter(vocabulary, named, delimiter), *[unwritten] * bool(lost))


def _own_tokenizer(directory: Path, *, num_rows: int) -> tuple[Any, tuple[str, ...]]:
    """Load transformers' tokenizer; returns it with the token of each row."""
    for name, kind in {TOKENIZER_CONFIG: _Tokenizer, **OTHERS}.items():
        if (directory / name).is_file():
            read_json(directory / name, kind)
            _refuse_other_keys(directory / name)
    for path in (directory / name for name in (VOCABULARY, TOKENIZER_CONFIG, *OTHERS)):
        if path.is_file() and (encoding := json.detect_encoding(path.read_bytes())) != "utf-8":
            raise CheckpointError(
                f"{path} is in {encoding}; transformers reads UTF-8 without a byte order mark, "
                "save it so"
            )
    try:
        with quiet():
            from transformers import Wav2Vec2CTCTokenizer

            own: Any = Wav2Vec2CTCTokenizer.from_pretrained(str(directory), local_files_only=True)
            return own, tuple(map(str, own.convert_ids_to_tokens(list(range(num_rows)))))
    except Exception as error:  # whatever the files make of it
        raise CheckpointError(
            f"{directory}: the tokenizer's files cannot be used: {one_line(error)}"
        ) from error


def _refuse_other_keys(path: Path) -> None:
    """Refuse a token with a key of no meaning, which tokenizers would print to stdout."""
    for token in _tokens(path):
        if others := token.keys() - TOKEN_KEYS:
            raise CheckpointError(
                f"{path}: a token has the key {shown(min(others))}, and no meaning of it is known; "
                f"a token's are {', '.join(sorted(TOKEN_KEYS))}: remove the other"
            )


def _tokens(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects that transformers makes tokens of: a file's values, and those in them."""
    values = read_json(path, dict[str, Any])
    if path.name == "tokenizer.json":
        values = {"added_tokens": values.get("added_tokens")}
    for value in values.values():
        inner = value if isinstance(value, list) else ()
        for token in (value, *(value.values() if isinstance(value, dict) else inner)):
            if isinstance(token, dict) and (path.name == SPECIALS or token.keys() & MARKS):
                yield token


def _of_delimiter(vocabulary: Vocabulary, named: str | None, used: str) -> list[str]:
    """Say where words are joined, or split elsewhere than tokenizer_config.json says.

    transformers 5.20 drops the field that 4.45 obeys. Transcripts are those of the installed one.
    """
    splits = vocabulary.delimiter_id is not None or " " in vocabulary.tokens
    if named in (None, used) or (named == " " and vocabulary.delimiter_text == " " and splits):
        return (
            [] if splits else [f"no row is for the word delimiter {shown(used)}: words are joined"]
        )
    from transformers import __version__

    return [
        f"{TOKENIZER_CONFIG} names the word delimiter {shown(named)}, transformers {__version__} "
        f"takes {shown(used)}: transcripts are as transformers writes them"
        + ("" if splits else ", words are joined")
    ]


def _named_delimiter(directory: Path) -> str | None:
    """Check tokenizer_config.json and return the delimiter that it names, if any."""
    path = directory / TOKENIZER_CONFIG
    settings, kind = _Tokenizer(), None
    if path.is_file():
        settings, kind = read_json(path, _Tokenizer), read_json(path, _Classes).tokenizer_class
    kind = kind or read_json(directory / CONFIG, _Classes).tokenizer_class
    if kind is not None and kind not in TOKENIZERS:
        raise CheckpointError(
            f"{directory}: the tokenizer is a {printable(kind[:80])}; supported is "
            f"{TOKENIZERS[0]}, which spells words with letters (phonemes have no WER)"
        )
    if settings.target_lang is not None:
        raise CheckpointError(
            f"{path}: target_lang is {shown(settings.target_lang)}, and {VOCABULARY} is no "
            "vocabulary by language; remove the key"
        )
    token = settings.word_delimiter_token
    return token.content if isinstance(token, _Token) else token


def _read_letters(directory: Path) -> dict[str, int]:
    """Read vocab.json; a table of tables is one by language."""
    path = directory / VOCABULARY
    table = read_json(path, dict[str, TokenId | dict[str, Any]])
    if languages := [name for name, value in table.items() if isinstance(value, dict)]:
        raise CheckpointError(
            f"{path} is a vocabulary by language ({some(map(repr, languages))}); multilingual "
            "checkpoints are not supported: save the one language's tokenizer and weights as a "
            "checkpoint of its own"
        )
    return {token: index for token, index in table.items() if isinstance(index, int)}
