"""Folders of audio with a table of it, in the layouts of Common Voice, NeMo, the hub and Kaldi."""

import json
import sys
import unicodedata

import pytest

from tests.helpers.speech import encode, voiced
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.data.layout import name_folder
from w2v_core.data.manifests import list_manifest
from w2v_core.errors import DataError, TranscriptError

NAMES = ("a", "b", "c")
TEXTS = {"a": "ONE", "b": 'SAY "TWO', "c": "THR\u00c9E"}


@pytest.fixture
def folder(tmp_path):
    """Three utterances of 0.1 s in ``clips``."""
    (tmp_path / "clips").mkdir()
    for seed, name in enumerate(NAMES):
        data = encode(voiced(1600, seed=seed), container="WAV")
        (tmp_path / "clips" / f"{name}.wav").write_bytes(data)
    return tmp_path


def common_voice(folder):
    lines = ["client_id\tpath\tsentence\tup_votes"]
    lines += [f"s{name}\t{name}.wav\t{text}\t2" for name, text in TEXTS.items()]
    return write(folder, "test.tsv", "\n".join(lines) + "\n")


def comma(folder):
    quoted = {name: text.replace('"', '""') for name, text in TEXTS.items()}
    lines = [f'clips/{name}.wav,"{text}"' for name, text in quoted.items()]
    return write(folder, "metadata.csv", "file_name,transcription\r\n" + "\r\n".join(lines))


def semicolon(folder):
    lines = [f"clips/{n}.wav;{t}" for n, t in TEXTS.items() if n != "b"]
    return write(folder, "list.CSV", "\n".join(["audio;text", *lines, 'clips/b.wav;"SAY ""TWO"']))


def nemo(folder, **extra):
    rows = [
        {"audio_filepath": str(folder / f"clips/{n}.wav"), "text": t, "duration": 0.1, **extra}
        for n, t in TEXTS.items()
    ]
    return write(folder, "manifest.json", "".join(json.dumps(row) + "\n" for row in rows))


def kaldi(folder, *, text=True):
    if text:
        write(folder, "text", "".join(f"{n} {t}\n" for n, t in TEXTS.items()))
    write(folder, "utt2spk", "".join(f"{n} s{n}\n" for n in TEXTS))
    return write(folder, "wav.scp", "".join(f"{n}\tclips/{n}.wav\n" for n in TEXTS))


def write(folder, name, text, encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def references(listing):
    return [recording.reference for recording in listing.recordings]


def refused(path, **options):
    with pytest.raises((DataError, TranscriptError)) as raised:
        list_manifest(path, **options)
    return str(raised.value)


@pytest.mark.parametrize("layout", [common_voice, comma, semicolon, nemo, kaldi])
def test_every_layout_gives_the_same_utterances(folder, layout):
    layout(folder)

    listing = list_manifest(folder)

    assert references(listing) == list(TEXTS.values())
    assert [r.audio.name for r in listing.recordings] == [f"{n}.wav" for n in NAMES]
    assert listing.exclusions == ()


@pytest.mark.parametrize("layout", [common_voice, kaldi])
def test_speakers_are_known(folder, layout):
    layout(folder)

    assert [r.speaker for r in list_manifest(folder).recordings] == ["sa", "sb", "sc"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_mark_is_no_part_of_the_first_column(folder, encoding):
    write(folder, "m.csv", "path,text\nclips/a.wav,\u00c9\n", encoding)

    assert references(list_manifest(folder)) == ["\u00c9"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("m.csv", "path\nclips/a.wav\nclips/b.wav\n", id="csv"),
        pytest.param("m.jsonl", '{"audio": "clips/a.wav"}\n{"audio": "clips/b.wav"}\n', id="jsonl"),
        pytest.param("wav.scp", "a clips/a.wav\nb clips/b.wav\n", id="kaldi"),
    ],
)
def test_corpus_without_references_has_none(folder, name, content):
    write(folder, name, content)

    assert references(list_manifest(folder)) == [None, None]


def test_corpus_is_loaded_by_its_folder_and_accounted_for(folder):
    common_voice(folder)
    (folder / "clips/b.wav").unlink()
    spec = parse_dataset(name_folder(str(folder)))

    corpus = load(spec, allow_partial=True)

    assert spec.name == f"manifest:{folder}"
    assert corpus.expected == ("a", "b", "c")
    assert [u.utterance_id for u in corpus.utterances] == ["a", "c"]
    assert [e.utterance_id for e in corpus.exclusions] == ["b"]


def test_missing_audio_is_counted_and_the_first_named(folder):
    common_voice(folder)
    for name in ("b", "c"):
        (folder / f"clips/{name}.wav").unlink()

    message = refused(folder)

    assert "2 problems" in message
    assert "b: its audio" in message


def test_link_to_nowhere_names_its_target(folder):
    common_voice(folder)
    (folder / "clips/b.wav").unlink()
    (folder / "b.wav").symlink_to("/mnt/gone/b.wav")

    assert "link to /mnt/gone/b.wav" in refused(folder)


@pytest.mark.parametrize("layout", [common_voice, nemo, kaldi])
def test_empty_reference_is_excluded_by_its_id_on_request_only(folder, layout):
    path = layout(folder)
    source = folder / "text" if layout is kaldi else path
    source.write_text(source.read_text().replace("ONE", ""))

    assert "a: the reference is empty" in refused(folder)
    listing = list_manifest(folder, allow_partial=True)
    assert [e.utterance_id for e in listing.exclusions] == ["clips/a" if layout is nemo else "a"]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        pytest.param("m.csv", "clip,text\na.wav,A\n", "no column names the audio", id="column"),
        pytest.param("m.csv", "path,path\na.wav,A\n", "path stands there twice", id="twice"),
        pytest.param("m.csv", "path,text\nclips/a.wav,A\nclips/a.wav,B\n", "duplicate id", id="id"),
        pytest.param("m.csv", "path,text\nclips/a.wav,A,B\n", "3 fields where", id="fields"),
        pytest.param("m.csv", "path,text\n,A\n", "no audio is named", id="no-audio"),
        pytest.param("m.csv", "path,text\n", "holds no utterance", id="empty"),
        pytest.param("m.csv", "", "no column names the audio", id="no-header"),
        pytest.param("m.tsv", "path\ttext\na\x1b.wav\tA\n", "control characters", id="control"),
        pytest.param("m.jsonl", "[1]\n", "JSON int where an object", id="list"),
        pytest.param("m.jsonl", '{"audio": ["a"]}', "audio is a JSON list", id="nested-field"),
        pytest.param("m.jsonl", '{"audio":\n', "no JSON object on one line", id="cut"),
        pytest.param("m.jsonl", "[" * 100_000 + "\n", "no JSON object", id="nested"),
        pytest.param(
            "m.jsonl", '{"audio": "clips/a.wav", "duration": "x"}', "must be numbers", id="number"
        ),
        pytest.param(
            "m.jsonl", '{"audio": "clips/a.wav", "duration": 9.5}', "says 9.5 s", id="duration"
        ),
        pytest.param(
            "m.jsonl", '{"audio": "clips/a.wav", "offset": 1}', "offset 1: parts", id="offset"
        ),
        pytest.param("wav.scp", "a clips/a.wav\na clips/b.wav\n", "duplicate id", id="kaldi-id"),
        pytest.param("wav.scp", "a\n", "no audio is named", id="kaldi-empty"),
    ],
)
def test_damage_is_told_as_what_it_is(folder, name, content, part):
    write(folder, name, content)

    message = refused(folder, allow_partial=True)

    assert part in message
    assert "\x1b" not in message
    assert str(folder / name) in message


def test_row_without_a_reference_among_others_is_never_left_out_of_the_score_silently(folder):
    write(folder, "m.jsonl", '{"path": "clips/a.wav", "text": "A"}\n{"path": "clips/b.wav"}\n')

    assert "clips/b: it has no reference, others have" in refused(folder)
    listing = list_manifest(folder, allow_partial=True)
    assert [e.utterance_id for e in listing.exclusions] == ["clips/b"]


def test_audio_column_as_datasets_exports_it_names_its_path(folder):
    write(folder, "m.jsonl", '{"audio": {"path": "clips/a.wav", "bytes": null}, "text": "A"}\n')

    assert [r.audio for r in list_manifest(folder).recordings] == [folder / "clips/a.wav"]


def test_one_file_written_in_two_ways_is_one_utterance(folder):
    write(folder, "m.csv", "path,text\nclips/a.wav,A\n./clips/a.wav,A\n")

    assert "duplicate id" in refused(folder)


@pytest.mark.parametrize("packed", ["NFC", "NFD"])
def test_name_is_found_in_unicodes_other_form(folder, packed):
    """A Mac packs decomposed names; a table beside them mostly holds composed ones."""
    (folder / "clips/a.wav").rename(folder / unicodedata.normalize(packed, "\u00e9.wav"))
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "\u00e9")
        write(folder, "m.csv", f"path,text\n{name}.wav,A\n")

        assert [r.utterance_id for r in list_manifest(folder).recordings] == [name]


def test_corpus_of_which_all_is_excluded_is_refused(folder):
    write(folder, "m.csv", "path,text\ngone.wav,A\ngone too.wav,B\n")

    with pytest.raises(DataError, match=r"all 2 utterances are excluded.*first is gone: its audio"):
        load(parse_dataset(f"manifest:{folder}"), allow_partial=True)


def test_bytes_of_another_encoding_are_named_by_line(folder):
    (folder / "m.csv").write_bytes(b"path,text\nclips/a.wav,\xc9\n")

    assert "m.csv:2: the text is neither UTF-8 nor UTF-16" in refused(folder)


def test_command_in_wav_scp_is_refused_and_never_run(folder):
    write(folder, "wav.scp", f"a touch {folder}/ran; cat clips/a.wav |\n")

    assert "is refused and never run" in refused(folder, allow_partial=True)
    assert not (folder / "ran").exists()


def test_segments_are_refused_in_one_line(folder):
    kaldi(folder)
    write(folder, "segments", "u a 0.0 0.05\n")

    message = refused(folder)

    assert "parts of recordings are not read" in message
    assert "\n" not in message


def test_kaldi_text_and_wav_scp_must_name_the_same_utterances(folder):
    kaldi(folder)
    write(folder, "text", "a ONE\nd FOUR\n")

    message = refused(folder)

    assert "b: no line in" in message
    assert "d: its audio" in message


def test_one_of_several_manifests_must_be_named(folder):
    common_voice(folder)
    comma(folder)

    assert "holds 2 manifests, metadata.csv, test.tsv; name one of them" in refused(folder)
    assert len(list_manifest(folder / "test.tsv").recordings) == 3


NUL = "control characters" if sys.version_info >= (3, 11) else "NUL"  # csv's own word
BENT = {
    "unclosed.csv": ('path,text\nclips/a.wav,"A\nclips/b.wav,B\n', "unexpected end of data"),
    "twice.jsonl": ('{"path": "clips/a.wav", "text": "A", "text": "B"}', "text stands there twice"),
    "case.jsonl": ('{"path": "clips/a.wav", "text": "A", " Text": "B"}', "text stands there twice"),
    "late.jsonl": ('{"path": "a"}\n{"path": "b", "Text": "A", "text": "B"}', "l:2: the key text"),
    "half.jsonl": ('{"path": "clips/a.wav", "text": "\\ud800"}', "half a surrogate pair"),
    "long.jsonl": (json.dumps({"path": f"{'a' * 5000}.wav", "text": "A"}), "is not there"),
    "true.jsonl": ('{"path": "clips/a.wav", "text": true}', "text is a JSON list, object or true"),
    "nul.csv": ("path,text\na\0.wav,A\n", NUL),
}


@pytest.mark.parametrize("name", BENT)
def test_what_a_reader_would_swallow_or_trip_over_is_refused(folder, name):
    content, part = BENT[name]
    write(folder, name, content)

    assert part in refused(folder)
    assert len(refused(folder)) < 1_500


def test_pointer_of_git_lfs_is_named(folder):
    write(folder, "m.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n")

    assert "git lfs pull" in refused(folder)
