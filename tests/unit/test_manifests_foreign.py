"""Manifests as other tools leave them: read alike, or refused by what they are."""

import json
import os

import pytest

from tests.helpers.speech import encode, voiced
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.data.layout import name_folder
from w2v_core.data.manifests import list_manifest
from w2v_core.errors import DataError, W2VError

TEXTS = {"clips/a": "ONE", "clips/b": "TWO"}
ROWS = [{"path": f"{name}.wav", "text": text} for name, text in TEXTS.items()]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in TEXTS:
        (tmp_path / f"{name}.wav").write_bytes(encode(voiced(1600), container="WAV"))
    return tmp_path


def refused(folder):
    with pytest.raises(DataError) as caught:
        load(parse_dataset(name_folder(str(folder))))
    return str(caught.value)


LAYOUTS = {
    "list.json": json.dumps(ROWS),
    "pretty.json": "\n" + json.dumps(ROWS, indent=2),
    "lines.json": "\n".join(map(json.dumps, ROWS)),
    "bars.csv": "path|text\nclips/a.wav|ONE\nclips/b.wav|TWO\n",
    "blank.csv": "\n \npath,text\n\nclips/a.wav,ONE\nclips/b.wav,TWO\n",
    "deepspeech.csv": "wav_filename,transcript\nclips/a.wav,ONE\nclips/b.wav,TWO\n",
    "speechbrain.csv": "wav,spk_id,wrd\nclips/a.wav,s,ONE\nclips/b.wav,s,TWO\n",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_utterances(folder, name):
    (folder / name).write_text(LAYOUTS[name])

    listing = list_manifest(folder)

    assert {r.utterance_id: r.reference for r in listing.recordings} == TEXTS
    assert listing.notes == ()


def test_names_with_windows_separators_are_found(folder):
    (folder / "m.csv").write_text("path,text\nclips\\a.wav,ONE\n")

    (found,) = list_manifest(folder).recordings

    assert found.audio == folder / "clips" / "a.wav"


def test_references_in_a_column_of_another_name_are_missed_aloud(folder):
    """Else a WER would be missing without a word."""
    (folder / "m.csv").write_text("path,words\nclips/a.wav,ONE\n")

    (note,) = list_manifest(folder).notes

    assert "no WER" in note
    assert "not read are words; rename" in note


def test_a_list_of_audio_alone_needs_no_word(folder):
    (folder / "m.csv").write_text("path,duration\nclips/a.wav,0.1\n")

    assert list_manifest(folder).notes == ()


@pytest.mark.parametrize(
    ("audio", "what"),
    [
        ("https://host/a.wav", "https://host/a.wav is a URL; fetch it"),
        ("file:///data/a.wav", "is a URL; fetch it, and name the file by its path"),
        ("raw.ark:17", "raw.ark:17 lies in Kaldi's archive; write files"),
        ("clips", "clips is no regular file"),
        ("pipe.wav", "pipe.wav is no regular file"),
    ],
)
def test_what_is_no_file_is_called_by_what_it_is(folder, audio, what):
    os.mkfifo(folder / "pipe.wav")
    (folder / "m.csv").write_text(f"path,text\n{audio},ONE\n")

    assert what in refused(folder)


@pytest.mark.parametrize(
    "value",
    [{"a": {"wav": "a.wav", "words": "ONE"}}, {"audios": [{"path": "a.opus"}]}],
    ids=["by-id", "gigaspeech"],
)
def test_other_json_is_one_problem_with_a_remedy(folder, value):
    (folder / "m.json").write_text(json.dumps(value, indent=1))

    message = refused(folder)

    assert "1 problems" in message
    assert "convert it (jq -c" in message


def test_a_data_set_saved_to_disk_is_not_called_two_manifests(folder):
    """datasets writes two JSON files of its own beside its arrow files."""
    (folder / "dataset_info.json").write_text('{\n  "features": {}\n}')
    (folder / "state.json").write_text('{\n  "_data_files": []\n}')

    message = refused(folder)

    assert "dataset_info.json, state.json, and none has a column of audio" in message
    assert "parquet and arrow tables" in message


@pytest.mark.parametrize("name", ["data.tar", "test-00000.parquet"])
def test_a_file_that_holds_a_corpus_is_refused_with_what_to_do(folder, name):
    (folder / name).write_bytes(b"PAR1")

    assert "unpack them, or write the audio to files with a manifest" in refused(folder / name)


FRAME = 576  # samples of an MP3 frame at 16 kHz
SILENT_FRAME = b"\xff\xf3\x48\xc4" + bytes(140)  # 32 kbit/s: 144 bytes


def piped_mp3(num_frames):
    """An MP3 as an encoder leaves it in a pipe, which cannot go back and write the count."""
    return SILENT_FRAME * num_frames


def common_voice(folder, length_ms):
    text = "client_id\tpath\tsentence\nx\ta.mp3\tONE\n"
    (folder / "test.tsv").write_text(text)
    if length_ms is not None:
        text = f"clip\tduration[ms]\nelse.mp3\t7\na.mp3\t{length_ms}\n"
        (folder / "clip_durations.tsv").write_text(text)
    return load(parse_dataset(f"manifest:{folder}"))


def test_a_clip_without_a_frame_count_is_proved_by_its_corpus(folder):
    """Common Voice's server pipes its MP3 through ffmpeg, so none has a count."""
    (folder / "clips" / "a.mp3").write_bytes(piped_mp3(50))

    (utterance,) = common_voice(folder, 1_800).utterances

    assert utterance.num_samples == 50 * FRAME


@pytest.mark.parametrize(
    ("length_ms", "what"),
    [
        (None, "no frame count, so a cut would go unnoticed"),
        (1_860, "its frames hold 1.80 s, the manifest says 1.86 s"),
        (3_600, "the manifest says 3.6 s"),
        ("1.8", "'1.8' is no number of milliseconds"),
    ],
)
def test_a_clip_without_a_frame_count_and_without_its_length_is_refused(folder, length_ms, what):
    (folder / "clips" / "a.mp3").write_bytes(piped_mp3(50))

    with pytest.raises(W2VError) as caught:
        common_voice(folder, length_ms)

    assert what in str(caught.value)


@pytest.mark.parametrize("duration", ["NaN", "Infinity", "-1.8"])
def test_a_duration_that_is_none_proves_nothing(folder, duration):
    (folder / "clips" / "a.mp3").write_bytes(piped_mp3(50))
    (folder / "m.csv").write_text(f"path,text,duration\nclips/a.mp3,ONE,{duration}\n")

    with pytest.raises(W2VError, match="the manifest says"):
        list_manifest(folder)
