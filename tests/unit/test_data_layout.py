"""What --data-path finds at a path, and which of two columns of a manifest counts."""

import json
import os

import pytest

from tests.helpers.speech import encode, voiced, write_chapter
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.data.layout import name_folder
from w2v_core.data.manifests import list_manifest
from w2v_core.errors import ConfigError, TranscriptError
from w2v_core.options.option import PYTEST, flagged

STRAYS = {
    "SPEAKERS.csv": "id,sex,subset\n7,F,test-clean\n",
    "scores.tsv": "utterance\twer\n7-1-0000\t0.1\n",
    "speakers.csv": '"id";"name"\n7;"a, b"\n',
    "dataset_info.json": '{"splits": {"path": 1}}',
    "pretty.json": '{\n  "path": "a.wav"\n}\n',
    "array.json": '[{"speaker": 7}, {"path": "a.wav"}]',
    "results.jsonl": '{"id": "7-1-0000", "text": "A"}\n',
    "empty.csv": "",
    "blank.tsv": "\n\n",
    "nested.json": "[" * 100_000,
}
MANIFESTS = {
    "rows.json": '[{"path": "a.wav"}]',
    "m.csv": "file_name,text\na.wav,A\n",
    "m.TSV": "\ufeffpath\tsentence\na.wav\tA\n",
    "m.jsonl": '\n{"audio": {"path": "a.wav"}, "text": "A"}\n',
    "wav.scp": "a a.wav\n",
    "latin.csv": b"path,text\na.wav,\xc9\n",  # cannot be read: whoever reads it says so
}


def put(folder, name, text):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def librispeech(tmp_path):
    """A split of one chapter."""
    write_chapter(tmp_path, {"7-1-0000": "A WORD"})
    return tmp_path


@pytest.fixture
def audio(tmp_path):
    """A folder with a.wav and b.wav."""
    for seed, name in enumerate("ab"):
        put(tmp_path, f"{name}.wav", encode(voiced(1600, seed=seed), container="WAV"))
    return tmp_path


@pytest.mark.parametrize("name", STRAYS)
def test_a_table_without_audio_beside_speakers_is_no_manifest(librispeech, name):
    put(librispeech, name, STRAYS[name])

    corpus = load(parse_dataset(name_folder(str(librispeech))))

    assert corpus.spec.name == f"librispeech:{librispeech}"
    assert corpus.expected == ("7-1-0000",)


@pytest.mark.parametrize("name", MANIFESTS)
def test_both_at_one_path_are_never_chosen_between_silently(librispeech, name):
    put(librispeech, name, MANIFESTS[name])
    put(librispeech, "SPEAKERS.csv", STRAYS["SPEAKERS.csv"])

    with pytest.raises(ConfigError) as raised:
        name_folder(str(librispeech))

    told = str(flagged(raised.value, PYTEST))
    assert (
        f"--datasets librispeech:{librispeech} or --datasets manifest:{librispeech / name}" in told
    )
    for kind in (f"librispeech:{librispeech}", f"manifest:{librispeech / name}"):
        assert parse_dataset(kind).path.exists()


@pytest.mark.parametrize("name", [n for n in MANIFESTS if n != "latin.csv"])
@pytest.mark.parametrize("stray", STRAYS)
def test_the_one_table_that_names_audio_is_the_manifest(audio, name, stray):
    put(audio, stray, STRAYS[stray])
    put(audio, name, MANIFESTS[name])

    (recording,) = list_manifest(parse_dataset(name_folder(str(audio))).path).recordings

    assert recording.audio == audio / "a.wav"


def test_a_folder_without_either_is_librispeechs_whose_error_names_both_layouts(audio):
    assert name_folder(str(audio)) == f"librispeech:{audio}"


def test_a_table_alone_is_a_manifest_whose_lack_is_named(audio):
    put(audio, "list.csv", "sound,text\na.wav,A\n")

    with pytest.raises(TranscriptError, match="no column names the audio"):
        load(parse_dataset(name_folder(str(audio))))


PAIRS = {
    "references": ({"sentence": "A", "text": "B"}, "sentence", "text", "A"),
    "more": ({"reference": "C", "transcript": "B", "text": "A"}, "text", "transcript", "A"),
    "ids": ({"id": "1", "utt_id": "2", "text": "A"}, "id", "utt_id", "A"),
    "speakers": ({"client_id": "1", "speaker": "2", "text": "A"}, "speaker", "client_id", "A"),
    "audio": ({"file": "b.wav", "text": "A"}, "path", "file", "A"),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_of_two_columns_that_differ_the_record_says_which_counts(audio, kind, suffix):
    row, taken, other, reference = PAIRS[kind]
    row = {"path": "a.wav", **row}
    lines = [",".join(row), ",".join(row.values())] if suffix == "csv" else [json.dumps(row)]
    put(audio, f"m.{suffix}", "\n".join(lines) + "\n")

    corpus = load(parse_dataset(f"manifest:{audio}"))

    assert corpus.references.popitem()[1] == reference
    said = f"are those of the column {taken}; {other} holds others in 1 of 1 rows"
    assert [said in note for note in corpus.notes].count(True) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"path": "a.wav", "sentence": "A", "text": " A"},
        {
            "path": "a.wav",
            "audio": {"path": "/elsewhere/a.wav", "bytes": None},
            "text": "A",
        },
        {"path": "a.wav", "text": "A", "pred_text": "B"},
        {"path": "a.wav", "text": "A", "Age": "7", "age": "8"},
    ],
)
def test_columns_that_say_the_same_need_no_word(audio, row):
    put(audio, "m.jsonl", json.dumps(row) + "\n")

    assert list_manifest(audio).notes == ()


@pytest.mark.parametrize("name", ["m.csv", "wav.scp", "7-1.trans.txt"])
def test_a_pipe_is_refused_and_not_waited_for(audio, name):
    os.mkfifo(audio / name)

    with pytest.raises(TranscriptError, match=f"{name} is no regular file"):
        load(parse_dataset(name_folder(str(audio))))


def test_columns_without_a_name_as_spreadsheets_leave_them_are_no_columns(audio):
    put(audio, "m.csv", "path,text,,\na.wav,A,,\n")

    assert [r.reference for r in list_manifest(audio).recordings] == ["A"]


@pytest.mark.parametrize("name", ["~a.wav", "~root.wav", "a b.wav", "-a.wav", "%41.wav", "$a.wav"])
def test_a_name_that_a_shell_would_read_otherwise_is_a_name(audio, name):
    (audio / "a.wav").rename(audio / name)
    put(audio, "m.csv", f"path,text\n{name},A\n")

    assert [r.audio for r in list_manifest(audio).recordings] == [audio / name]


def test_audio_in_a_home_folder_is_found_and_the_home_of_nobody_is_refused(audio, monkeypatch):
    monkeypatch.setenv("HOME", str(audio))
    put(audio, "m.csv", "path,text\n~/a.wav,A\n")

    assert [r.audio for r in list_manifest(audio).recordings] == [audio / "a.wav"]
    with pytest.raises(ConfigError, match="write the folder's whole path"):
        name_folder("~nobody-of-this-name/x")
    with pytest.raises(ConfigError, match="write the folder's whole path"):
        parse_dataset("manifest:~nobody-of-this-name/x")
