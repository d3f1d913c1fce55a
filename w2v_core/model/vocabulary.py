"""A checkpoint's small files: how to feed it, and how its tokenizer spells what it says.

The tokenizer's files have several layouts and precedences that changed between releases of
transformers; so its own ``Wav2Vec2CTCTokenizer`` reads them, and this module takes the table over.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    one_line,
    read_json,
)
from w2v_core.model.quiet import quiet
from w2v_core.types import SAMPLE_RATE_HZ, Vocabulary

TOKENIZERS = ("Wav2Vec2CTCTokenizer", "Wav2Vec2Tokenizer")  # the second: its name before 4.0
EXTRACTOR = "Wav2Vec2FeatureExtractor"
KEY = "word_delimiter_token"
WITH_LM = "Wav2Vec2ProcessorWithLM"

TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 20)]
Token = str | dict[str, Any] | None


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


class _Tokenizer(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of tokenizer_config.json whose values must be of one type to mean anything."""

    tokenizer_class: str | None = None
    word_delimiter_token: Token = "|"
    replace_word_delimiter_char: str = " "
    do_lower_case: bool = False
    clean_up_tokenization_spaces: bool = False
    target_lang: str | None = None
    vocab_file: None = None
    """Never read from the file: it could name a file elsewhere."""
    pad_token: Token = None
    unk_token: Token = None
    bos_token: Token = None
    eos_token: Token = None
    added_tokens_decoder: dict[str, dict[str, Any]] = {}


class _Classes(msgspec.Struct, frozen=True, kw_only=True):
    """The classes that any of the small files may name."""

    tokenizer_class: str | None = None
    processor_class: str | None = None


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
            f"{source}: the feature extractor is {found.feature_extractor_type!r} with "
            f"{found.feature_size} features a sample; supported is {EXTRACTOR} with one"
        )
    if found.sampling_rate != SAMPLE_RATE_HZ:
        raise CheckpointError(
            f"{source}: wants {found.sampling_rate} Hz audio; only {SAMPLE_RATE_HZ} Hz is supported"
        )
    return found


def has_language_model(directory: Path) -> bool:
    """Return whether the folder is a Wav2Vec2ProcessorWithLM's, whose n-gram model is not used."""
    classes = {
        read_json(directory / name, _Classes).processor_class
        for name in (PROCESSOR, PREPROCESSOR, TOKENIZER_CONFIG)
        if (directory / name).is_file()
    }
    return WITH_LM in classes or (directory / "language_model").is_dir()


def read_vocabulary(directory: Path, *, num_rows: int) -> Vocabulary:
    """Read the token table as the checkpoint's own tokenizer has it.

    Args:
        directory: The checkpoint's folder.
        num_rows: Rows of the CTC head. Rows behind the last token, which padding of the head to a
            multiple of 8 leaves, are spelled as the unknown token, as transformers does; special
            tokens without a row never come out.

    Raises:
        CheckpointError: a file cannot be read, the tokenizer is of another kind, or blank,
            delimiter or a letter has no row in the head.
    """
    vocab = _read_table(directory)
    path = directory / TOKENIZER_CONFIG
    settings = read_json(path, _Tokenizer) if path.is_file() else _Tokenizer()
    named = settings.tokenizer_class or read_json(directory / CONFIG, _Classes).tokenizer_class
    if named is not None and named not in TOKENIZERS:
        raise CheckpointError(
            f"{directory}: the tokenizer is a {named}; supported is {TOKENIZERS[0]}, which spells "
            "words with letters (phonemes, and texts without a word delimiter, have no WER)"
        )
    tokenizer = _load_tokenizer(directory)
    special = {str(token) for token in tokenizer.all_special_tokens}
    special |= {str(token) for token in tokenizer.get_added_vocab() if token not in vocab}
    rowless = [t for t, i in vocab.items() if i >= num_rows and t not in special]
    if rowless:
        raise CheckpointError(
            f"{directory / VOCABULARY} has {len(vocab)} tokens, the model's CTC head has "
            f"{num_rows} rows: none for {rowless[0]!r}; the vocabulary belongs to another model"
        )
    tokens = tuple(str(token) for token in tokenizer.convert_ids_to_tokens(list(range(num_rows))))
    first: dict[str, int] = {}
    for index, token in enumerate(tokens):
        first.setdefault(token, index)
    blank, delimiter = str(tokenizer.pad_token), _delimiter(settings, first)
    for role, token in (("CTC blank (pad_token)", blank), (f"word delimiter ({KEY})", delimiter)):
        if token not in first:
            raise CheckpointError(
                f"{directory}: the {role} {token!r} is not in {VOCABULARY}, or has no row among "
                f"the {num_rows} of the CTC head"
            )
    if blank == delimiter:
        raise CheckpointError(
            f"{directory}: {blank!r} is both the CTC blank (pad_token) and the word delimiter "
            f"({KEY}); transcripts would have no spaces"
        )
    return Vocabulary(
        tokens=tokens,
        blank_id=first[blank],
        delimiter_id=first[delimiter],
        special_ids=frozenset(first[t] for t in special - {delimiter} if t in first),
        same_as=tuple(first[t] for t in tokens) if len(first) < len(tokens) else (),
        delimiter_text=settings.replace_word_delimiter_char,
        lower_case=settings.do_lower_case,
        clean_up=settings.clean_up_tokenization_spaces,
    )


def _delimiter(settings: _Tokenizer, first: Mapping[str, int]) -> str:
    """Return the delimiter that the file names, which transformers 5 drops on its way.

    A vocabulary with a space in place of the default ``|`` spells its spaces itself.
    """
    token = settings.word_delimiter_token
    text = str(token.get("content")) if isinstance(token, dict) else str(token)
    return " " if text == "|" and text not in first else text


def _read_table(directory: Path) -> dict[str, int]:
    """Read vocab.json; a table of tables is one by language."""
    path = directory / VOCABULARY
    table = read_json(path, dict[str, TokenId | dict[str, Any]])
    languages = [name for name, value in table.items() if isinstance(value, dict)]
    if languages:
        raise CheckpointError(
            f"{path} is a vocabulary by language ({', '.join(map(repr, languages[:5]))}; "
            f"{len(languages)} in all); multilingual checkpoints are not supported: save the one "
            "language's tokenizer and weights as a checkpoint of its own"
        )
    return {token: index for token, index in table.items() if isinstance(index, int)}


def _load_tokenizer(directory: Path) -> Any:  # noqa: ANN401 - untyped library class
    from transformers import Wav2Vec2CTCTokenizer

    try:
        with quiet():
            return Wav2Vec2CTCTokenizer.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:  # whatever the files make of it
        raise CheckpointError(
            f"{directory}: the tokenizer's files cannot be used: {one_line(error)}"
        ) from error
