"""Matching transcripts to audio in LibriSpeech's layout."""

import unicodedata

import pytest

from tests.helpers.speech import write_chapter
from w2v_core.data import listing as listing_module
from w2v_core.data.librispeech import list_recordings, note_foreign_characters
from w2v_core.errors import DataError, TranscriptError


def ids(listing):
    return [recording.utterance_id for recording in listing.recordings]


def test_recording_carries_reference_speaker_and_path(tmp_path):
    folder = write_chapter(tmp_path, {"7-1-0000": "HELLO  IT'S ME"})

    (recording,) = list_recordings(tmp_path).recordings

    assert recording.reference == "HELLO  IT'S ME"
    assert recording.speaker == "7"
    assert recording.audio == folder / "7-1-0000.flac"
    assert recording.name == str(folder / "7-1-0000.flac")


@pytest.mark.parametrize("below", ["", "split", "split/7", "split/7/1"])
def test_any_folder_at_above_or_below_the_split_works(tmp_path, below):
    write_chapter(tmp_path / "split", {"7-1-0000": "A", "7-1-0001": "B"})

    assert ids(list_recordings(tmp_path / below)) == ["7-1-0000", "7-1-0001"]


def test_order_is_by_id_whatever_the_order_on_disk(tmp_path):
    write_chapter(tmp_path, {"9-1-0001": "A", "9-1-0000": "B"}, chapter="9-1")
    write_chapter(tmp_path, {"10-1-0000": "C"}, chapter="10-1")

    assert ids(list_recordings(tmp_path)) == ["10-1-0000", "9-1-0000", "9-1-0001"]


@pytest.mark.parametrize("packed", ["NFC", "NFD"])
def test_name_is_found_in_unicodes_other_form(tmp_path, packed):
    """A Mac packs decomposed names; the transcript beside them may hold composed ones."""
    folder = write_chapter(tmp_path, {"7-1-0000": "A"})
    name = unicodedata.normalize(packed, "\u00e9-1-0000")
    (folder / "7-1-0000.flac").rename(folder / f"{name}.flac")
    (folder / "7-1.trans.txt").write_text("\u00e9-1-0000 A\n")

    assert ids(list_recordings(tmp_path)) == ["\u00e9-1-0000"]


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".ogg", ".FLAC"])
def test_every_audio_suffix_is_matched(tmp_path, suffix):
    write_chapter(tmp_path, {"7-1-0000": "A"}, suffix=suffix)

    assert list_recordings(tmp_path).recordings[0].audio.suffix == suffix


def test_linked_speaker_folders_are_followed_once(tmp_path):
    """A link to another disk counts; a link back into the tree does not loop or repeat."""
    write_chapter(tmp_path / "elsewhere", {"7-1-0000": "A"})
    split = tmp_path / "split"
    split.mkdir()
    (split / "7").symlink_to(tmp_path / "elsewhere" / "7")
    (split / "loop").symlink_to(split)
    (tmp_path / "elsewhere" / "7" / "1" / "again").symlink_to(tmp_path / "elsewhere" / "7" / "1")

    assert ids(list_recordings(split)) == ["7-1-0000"]


def test_hidden_files_are_not_looked_at(tmp_path):
    """macOS leaves ``._name`` beside each file on foreign disks."""
    folder = write_chapter(tmp_path, {"7-1-0000": "A"})
    (folder / "._7-1-0000.flac").write_bytes(b"x")
    (folder / "._7-1.trans.txt").write_bytes(b"\xff\xfe")

    assert ids(list_recordings(tmp_path)) == ["7-1-0000"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"7-1-0000 A B\r\n", id="crlf"),
        pytest.param(b"\xef\xbb\xbf7-1-0000 A B\n", id="byte-order-mark"),
        pytest.param(b"7-1-0000\tA B\n", id="tab"),
        pytest.param(b"7-1-0000 A B", id="no-last-newline"),
        pytest.param(b"\n7-1-0000 A B\n\n", id="blank-lines"),
        pytest.param(b"7-1-0000   A B  \n", id="spaces"),
    ],
)
def test_harmless_variations_of_the_file_are_read(tmp_path, content):
    folder = write_chapter(tmp_path, {"7-1-0000": "x"})
    (folder / "7-1.trans.txt").write_bytes(content)

    (recording,) = list_recordings(tmp_path).recordings

    assert (recording.utterance_id, recording.reference) == ("7-1-0000", "A B")


@pytest.mark.parametrize("text", ["hello World", "CAF\u00c9 NA\u00cfVE", "one\u2028line", "42 %"])
def test_reference_is_loaded_as_it_is_written(tmp_path, text):
    """Lower case, accents and digits are scoring's to judge; U+2028 is no line end."""
    write_chapter(tmp_path, {"7-1-0000": text})

    assert list_recordings(tmp_path).recordings[0].reference == text


def test_characters_no_checkpoint_writes_are_noted(tmp_path):
    write_chapter(
        tmp_path, {"7-1-0000": "caf\u00e9 it's", "7-1-0001": "PLAIN", "7-1-0002": "\u00c9 4"}
    )

    (note,) = note_foreign_characters(r.reference for r in list_recordings(tmp_path).recordings)

    assert note.startswith("2 references")
    assert "'\u00c9' x2" in note
    assert "'4' x1" in note


def test_plain_references_leave_no_note():
    """Lower case folds, so it is not foreign; neither is a missing reference."""
    assert note_foreign_characters(["it's plain", "IT'S", None]) == ()


def test_line_without_audio_becomes_an_exclusion_where_partial_is_allowed(tmp_path):
    folder = write_chapter(tmp_path, {"7-1-0000": "A", "7-1-0001": "B"})
    (folder / "7-1-0001.flac").unlink()

    listing = list_recordings(tmp_path, allow_partial=True)

    assert ids(listing) == ["7-1-0000"]
    (exclusion,) = listing.exclusions
    assert exclusion.utterance_id == "7-1-0001"
    assert "no audio file" in exclusion.reason
    assert "7-1.trans.txt:2" in exclusion.reason


def test_empty_reference_becomes_an_exclusion_where_partial_is_allowed(tmp_path):
    write_chapter(tmp_path, {"7-1-0000": "A", "7-1-0001": ""})

    listing = list_recordings(tmp_path, allow_partial=True)

    assert ids(listing) == ["7-1-0000"]
    assert [(e.utterance_id, "reference is empty" in e.reason) for e in listing.exclusions] == [
        ("7-1-0001", True)
    ]


def test_link_to_nowhere_is_audio_that_is_not_there(tmp_path):
    """git-annex and unmounted disks leave such links; the target says which."""
    folder = write_chapter(tmp_path, {"7-1-0000": "A", "7-1-0001": "B"})
    (folder / "7-1-0001.flac").unlink()
    (folder / "7-1-0001.flac").symlink_to("/mnt/gone/x.flac")

    with pytest.raises(TranscriptError, match=r"7-1-0001: .* link to /mnt/gone/x\.flac"):
        list_recordings(tmp_path)
    listing = list_recordings(tmp_path, allow_partial=True)
    assert ids(listing) == ["7-1-0000"]
    assert [e.utterance_id for e in listing.exclusions] == ["7-1-0001"]


@pytest.mark.parametrize("name", ["8", "8-1.trans.txt"])
def test_link_to_nowhere_that_may_hide_utterances_is_never_excused(tmp_path, name):
    """A speaker's folder that is gone has no ids to exclude."""
    write_chapter(tmp_path, {"7-1-0000": "A"})
    (tmp_path / name).symlink_to("/mnt/gone/8")

    with pytest.raises(TranscriptError, match="link to /mnt/gone/8, which is not there"):
        list_recordings(tmp_path, allow_partial=True)


def test_folder_that_cannot_be_read_is_never_excused(tmp_path, monkeypatch):
    write_chapter(tmp_path, {"7-1-0000": "A"})
    refused = PermissionError(13, "Permission denied", str(tmp_path / "8"))
    walk = listing_module.os.walk
    monkeypatch.setattr(
        listing_module.os,
        "walk",
        lambda root, **options: [options["onerror"](refused), *walk(root, **options)][1:],
    )

    with pytest.raises(TranscriptError, match=r"8: the folder cannot be read \(Permission denied"):
        list_recordings(tmp_path, allow_partial=True)


def test_endings_in_another_case_are_found(tmp_path):
    folder = write_chapter(tmp_path, {"7-1-0000": "A"})
    (folder / "7-1.trans.txt").rename(folder / "7-1.TRANS.TXT")
    (folder / "7-1-0000.flac").rename(folder / "7-1-0000.FLAC")

    assert ids(list_recordings(tmp_path)) == ["7-1-0000"]


def test_pointer_of_git_lfs_in_place_of_a_transcript_is_named(tmp_path):
    folder = write_chapter(tmp_path, {"7-1-0000": "A"})
    (folder / "7-1.trans.txt").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")

    with pytest.raises(TranscriptError, match="git lfs pull"):
        list_recordings(tmp_path)


def test_partial_does_not_excuse_other_problems(tmp_path):
    folder = write_chapter(tmp_path, {"7-1-0000": "A"})
    (folder / "7-1-0009.flac").write_bytes(b"x")

    with pytest.raises(TranscriptError, match="no transcript line for 7-1-0009"):
        list_recordings(tmp_path, allow_partial=True)


@pytest.mark.parametrize("make", ["missing", "file", "empty"])
def test_path_without_a_corpus_is_named_with_the_layout(tmp_path, make):
    path = tmp_path / "data"
    if make == "file":
        path.write_text("x")
    elif make == "empty":
        path.mkdir()

    with pytest.raises(DataError, match=r"data (is not a folder|holds no \*\.trans\.txt)"):
        list_recordings(path)
