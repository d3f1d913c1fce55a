"""Transcripts that cannot be used: each error names the file, the line and the id."""

import pytest

from tests.helpers.speech import encode, voiced, write_chapter
from w2v_core.data.librispeech import list_recordings
from w2v_core.errors import TranscriptError

TWO = {"7-1-0000": "FIRST WORDS", "7-1-0001": "SECOND WORDS"}


@pytest.fixture
def folder(tmp_path):
    return write_chapter(tmp_path, TWO)


def rewrite(folder, content):
    (folder / "7-1.trans.txt").write_bytes(content)


def problems(folder):
    """The problem lines of the error that listing raises."""
    with pytest.raises(TranscriptError) as raised:
        list_recordings(folder)
    head, *lines = str(raised.value).splitlines()
    assert str(folder) in head
    return [line.strip() for line in lines]


def test_audio_without_a_line_is_named(folder):
    rewrite(folder, b"7-1-0000 FIRST WORDS\n")

    assert problems(folder) == [f"{folder / '7-1-0001.flac'}: no transcript line for 7-1-0001"]


def test_audio_in_a_folder_without_transcripts_is_named(folder):
    extra = folder.parent / "2" / "7-2-0000.wav"
    extra.parent.mkdir()
    extra.write_bytes(b"x")

    assert problems(folder.parent) == [f"{extra}: no transcript line for 7-2-0000"]


def test_line_without_audio_is_named(folder):
    (folder / "7-1-0001.flac").unlink()

    (problem,) = problems(folder)

    assert problem.startswith("7-1-0001: no audio file")
    assert "7-1.trans.txt:2" in problem


def test_duplicate_line_is_named_with_both_places(folder):
    rewrite(folder, b"7-1-0000 A\n7-1-0001 B\n7-1-0000 C\n")

    (problem,) = problems(folder)

    assert "7-1.trans.txt:3: 7-1-0000: duplicate id" in problem
    assert problem.endswith("7-1.trans.txt:1")


def test_duplicate_id_in_two_folders_is_named(tmp_path):
    write_chapter(tmp_path / "a", TWO)
    write_chapter(tmp_path / "b", TWO)

    assert [p.split(": ")[1] for p in problems(tmp_path)] == ["7-1-0000", "7-1-0001"]


def test_audio_in_two_formats_is_named(folder):
    (folder / "7-1-0000.wav").write_bytes(encode(voiced(100), container="WAV"))

    (problem,) = problems(folder)

    assert "7-1-0000: audio in two formats, 7-1-0000.flac and 7-1-0000.wav" in problem


@pytest.mark.parametrize("empty", [b"7-1-0001\n", b"7-1-0001 \n", b"7-1-0001 \t \r\n"])
def test_empty_reference_is_named(folder, empty):
    rewrite(folder, b"7-1-0000 A\n" + empty)

    (problem,) = problems(folder)

    assert problem.startswith("7-1-0001: the reference is empty")
    assert problem.endswith("7-1.trans.txt:2)")


@pytest.mark.parametrize("bad", [b" 7-1-0001 B", b"WORDS WITHOUT AN ID", b"7\x00-1-0001 B"])
def test_malformed_line_is_named(folder, bad):
    rewrite(folder, b"7-1-0000 A\n" + bad + b"\n")
    (folder / "7-1-0001.flac").unlink()

    (problem,) = problems(folder)

    assert "7-1.trans.txt:2: " in problem
    assert "malformed" in problem


def test_text_that_is_not_utf8_is_named_with_its_id(folder):
    rewrite(folder, "7-1-0000 A\n7-1-0001 CAF\u00c9\n".encode("latin-1"))

    (problem,) = problems(folder)

    assert "7-1.trans.txt:2: 7-1-0001: the text is not UTF-8" in problem


def test_every_problem_is_counted_and_the_first_ten_are_shown(tmp_path):
    names = {f"7-1-{i:04d}": "WORDS" for i in range(14)}
    folder = write_chapter(tmp_path, names)
    for path in list(folder.glob("*.flac"))[:12]:
        path.unlink()

    with pytest.raises(TranscriptError) as raised:
        list_recordings(folder)

    head, *lines = str(raised.value).splitlines()
    assert "12 problems" in head
    assert "use allow_partial" in head
    assert len(lines) == 11
    assert lines[-1].strip() == "... and 2 more"
