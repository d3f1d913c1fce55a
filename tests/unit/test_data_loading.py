"""Loading a folder: every id ends up as an utterance or as an exclusion, in order."""

import os
import threading

import numpy as np
import pytest

from tests.helpers.speech import encode, voiced, write_chapter
from w2v_core.data import catalog, decoding
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.errors import AudioError, ConfigError, DataError, TranscriptError
from w2v_core.types import Exclusion

FIVE = {f"7-1-{i:04d}": f"UTTERANCE {i}" for i in range(5)}


@pytest.fixture
def folder(tmp_path):
    return write_chapter(tmp_path / "my-split", FIVE)


@pytest.fixture
def spec(folder):
    return parse_dataset(f"librispeech:{folder.parent.parent}")


def ids(items):
    return [item.utterance_id for item in items]


def test_folder_loads_in_id_order_with_its_references(spec):
    corpus = load(spec)

    assert corpus.expected == tuple(FIVE)
    assert {u.utterance_id: u.reference for u in corpus.utterances} == FIVE
    assert ids(corpus.utterances) == list(FIVE)
    assert corpus.exclusions == ()
    assert corpus.audio_s == pytest.approx(0.5)


def test_each_utterance_has_its_own_audio(spec):
    """Threads finish in any order; waveforms must stay with their ids. Not normalised yet."""
    corpus = load(spec)

    for seed, utterance in enumerate(corpus.utterances):
        np.testing.assert_allclose(utterance.waveform, voiced(1600, seed=seed), atol=1 / 2**15)
        assert not utterance.normalised


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_limit_takes_the_first_in_id_order(spec, limit):
    corpus = load(spec, limit=limit)

    assert ids(corpus.utterances) == list(FIVE)[:limit] == list(corpus.expected)


def test_limit_decodes_nothing_beyond_it(spec, folder):
    (folder / "7-1-0004.flac").write_bytes(b"not audio")

    assert len(load(spec, limit=4).utterances) == 4


def test_limit_beyond_the_set_names_both_numbers(spec):
    with pytest.raises(ConfigError, match=r"limit 6 .* 5 utterances"):
        load(spec, limit=6)


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused(spec, limit):
    with pytest.raises(ConfigError, match=f"limit is {limit}; it must be at least 1"):
        load(spec, limit=limit)


def test_too_long_utterance_is_excluded_with_its_length(spec, folder):
    (folder / "7-1-0002.flac").write_bytes(encode(voiced(16_000)))

    corpus = load(spec, max_audio_s=0.5)

    (exclusion,) = corpus.exclusions
    assert exclusion.utterance_id == "7-1-0002"
    assert "1.0 s of audio, longer than the limit of 0.5 s" in exclusion.reason
    assert sorted(ids(corpus.utterances) + ids(corpus.exclusions)) == list(corpus.expected)


def test_default_limit_keeps_a_minute_and_excludes_35(spec, folder):
    """The length of a whole chapter pasted into one file; silence keeps the file small."""
    minute, chapter = np.zeros(8000 * 60, np.int16), np.zeros(8000 * 60 * 35, np.int16)
    (folder / "7-1-0000.flac").write_bytes(encode(minute, rate_hz=8000))
    (folder / "7-1-0001.flac").write_bytes(encode(chapter, rate_hz=8000))

    corpus = load(spec, limit=2)

    assert ids(corpus.utterances) == ["7-1-0000"]
    assert [e.reason for e in corpus.exclusions] == [
        "2100.0 s of audio, longer than the limit of 60 s"
    ]


def test_line_without_audio_raises_unless_partial_is_allowed(spec, folder):
    (folder / "7-1-0003.flac").unlink()
    with pytest.raises(TranscriptError, match="7-1-0003"):
        load(spec)

    corpus = load(spec, allow_partial=True)

    assert ids(corpus.exclusions) == ["7-1-0003"]
    assert sorted(ids(corpus.utterances) + ids(corpus.exclusions)) == list(corpus.expected)


def test_limit_counts_excluded_utterances(spec, folder):
    """The first three ids are the same whether or not one of them is usable."""
    (folder / "7-1-0001.flac").unlink()
    (folder / "7-1-0004.flac").unlink()  # beyond the limit, so not its business

    corpus = load(spec, limit=3, allow_partial=True)

    assert corpus.expected == ("7-1-0000", "7-1-0001", "7-1-0002")
    assert ids(corpus.utterances) == ["7-1-0000", "7-1-0002"]
    assert ids(corpus.exclusions) == ["7-1-0001"]


def test_unusable_file_is_named(spec, folder):
    path = folder / "7-1-0002.flac"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(AudioError, match=str(path)):
        load(spec)


def test_every_unusable_file_is_named(spec, folder):
    for name in ("7-1-0001", "7-1-0003"):
        (folder / f"{name}.flac").write_bytes(b"")

    with pytest.raises(AudioError) as raised:
        load(spec)

    head, *lines = str(raised.value).splitlines()
    assert "2 files cannot be used" in head
    assert ["7-1-0001" in lines[0], "7-1-0003" in lines[1], len(lines)] == [True, True, 2]


def test_foreign_characters_are_noted_for_the_loaded_utterances(tmp_path):
    write_chapter(tmp_path, {"7-1-0000": "PLAIN", "7-1-0001": "CAF\u00c9"})
    spec = parse_dataset(f"librispeech:{tmp_path}")

    assert load(spec, limit=1).notes == ()
    assert "'\u00c9' x1" in load(spec).notes[0]


def test_what_is_odd_about_the_audio_is_noted_for_the_corpus(spec, folder):
    silent = encode(np.zeros(1600, np.float32))
    (folder / "7-1-0002.flac").write_bytes(silent)

    note = load(spec).notes[-1]  # behind that of the references' digits

    assert note.startswith("silent: 1 utterance (7-1-0002)")


def test_header_that_claims_hours_is_damage_and_no_exclusion(spec, folder):
    """An exclusion as too long would hide a damaged file from the report."""
    path = folder / "7-1-0002.flac"
    data = bytearray(path.read_bytes())
    data[22:26] = b"\x7f\xff\xff\xff"  # STREAMINFO: the low half of the sample count
    path.write_bytes(data)

    with pytest.raises(AudioError, match=r"7-1-0002\.flac: cut off or damaged: .* hold 1600"):
        load(spec)


def test_file_that_vanishes_while_loading_is_named(spec, folder, monkeypatch):
    listed = catalog.list_recordings

    def list_then_lose(*args, **kwargs):
        listing = listed(*args, **kwargs)
        (folder / "7-1-0001.flac").unlink()
        return listing

    monkeypatch.setattr(catalog, "list_recordings", list_then_lose)

    with pytest.raises(AudioError, match=r"7-1-0001\.flac: no such file"):
        load(spec)


def test_lost_utterance_is_noticed(spec, monkeypatch):
    """Expected = utterances + exclusions, by id: a loader that drops one raises."""
    monkeypatch.setattr(
        catalog, "decode_all", lambda *a, **k: list(decoding.decode_all(*a, **k))[1:]
    )

    with pytest.raises(DataError, match=r"5 utterances expected, 4 found \(7-1-0000\)"):
        load(spec)


def test_stream_takes_a_bounded_number_of_recordings_ahead():
    """A corpus larger than memory: the source is not drained while the caller waits."""
    data = encode(voiced(160))
    taken = []

    def source():
        for i in range(10 * decoding.WINDOW):
            taken.append(i)
            yield decoding.Recording(utterance_id=str(i), audio=data, name=str(i))

    outcomes = decoding.decode_all(source(), max_audio_s=60)
    for count in range(1, 5):
        next(outcomes)
        assert len(taken) <= decoding.WINDOW + count
    outcomes.close()

    assert len(taken) <= decoding.WINDOW + 4


def test_outcomes_keep_the_order_of_the_source_whichever_finishes_first(monkeypatch):
    """The first recording is held back until the second is done."""
    second_done = threading.Event()

    def decode_one(recording, *, max_audio_s):
        if recording.utterance_id == "0":
            assert second_done.wait(5)
        elif recording.utterance_id == "1":
            second_done.set()
        return Exclusion(utterance_id=recording.utterance_id, reason="")

    monkeypatch.setattr(decoding, "NUM_WORKERS", 2)
    monkeypatch.setattr(decoding, "_decode_one", decode_one)
    names = [str(i) for i in range(3 * decoding.WINDOW)]
    source = [decoding.Recording(utterance_id=name, audio=b"", name="") for name in names]

    assert ids(decoding.decode_all(source, max_audio_s=1)) == names


@pytest.mark.skipif("W2V_LIBRISPEECH" not in os.environ, reason="W2V_LIBRISPEECH names no folder")
def test_real_librispeech_folder_loads_without_a_problem():
    corpus = load(parse_dataset(f"librispeech:{os.environ['W2V_LIBRISPEECH']}"))

    assert len(corpus.utterances) == len(corpus.expected) > 0
    assert corpus.notes == ()
