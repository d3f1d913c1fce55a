"""Corpora in the hub's parquet format, from a local stand-in: the real code path, no network."""

import subprocess
import sys

import huggingface_hub.constants
import numpy as np
import pytest

from tests.helpers.speech import encode, hub_rows, voiced, write_hub_cache, write_parquet
from w2v_core.data import audio, hub
from w2v_core.errors import DataError, NotCachedError, TranscriptError, UnknownNameError

DUMMY = hub.CORPORA["dev-clean-dummy"]
DUMMY_FILE = "clean/validation-00000-of-00001.parquet"
TEST_FILE = "clean/test/0000.parquet"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test here may reach the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def dummy_cache(tmp_path_factory):
    """A hub cache that holds all of dev-clean-dummy, in two files out of id order."""
    root = tmp_path_factory.mktemp("hub")
    files = {
        "clean/validation-00000-of-00002.parquet": hub_rows(40, start=33),
        "clean/validation-00001-of-00002.parquet": hub_rows(33),
        "other/validation-00000-of-00001.parquet": hub_rows(1, start=99),
    }
    write_hub_cache(root, repository=DUMMY.repository, files=files)
    return root


def files_of(tmp_path, rows):
    path = write_parquet(tmp_path / "0000.parquet", rows)
    return hub.HubFiles(name="stand-in", paths=(path,))


def test_cached_corpus_is_found_with_its_commit(dummy_cache):
    files = hub.locate("dev-clean-dummy", cache_dir=dummy_cache)

    assert [path.parent.name for path in files.paths] == ["clean", "clean"]
    assert files.revision == "c" * 40


def test_ids_are_sorted_over_all_files_of_the_split_only(dummy_cache):
    files = hub.locate("dev-clean-dummy", cache_dir=dummy_cache)

    assert hub.read_ids(files, expected_count=73) == tuple(f"7-1-{i:04d}" for i in range(73))


def test_recordings_hold_the_encoded_audio_and_the_text(dummy_cache):
    files = hub.locate("dev-clean-dummy", cache_dir=dummy_cache)

    (recording,) = hub.read_recordings(files, ids=["7-1-0005"])

    assert recording.audio == encode(voiced(1600, seed=5))
    assert (recording.reference, recording.speaker) == ("UTTERANCE NUMBER 5", "7")
    assert recording.name == "dev-clean-dummy: 7-1-0005"
    assert audio.decode(recording.audio, name=recording.name).dtype == np.float32


@pytest.mark.parametrize("path", [TEST_FILE, "clean/test-00000-of-00001.parquet"])
def test_both_layouts_of_a_split_are_found(tmp_path, path):
    """A folder a split, as test-clean lies on the hub today, or a file name a split."""
    repository = hub.CORPORA["test-clean"].repository
    others = {"clean/train.100/0000.parquet": hub_rows(1), "other/test/0000.parquet": hub_rows(1)}
    write_hub_cache(tmp_path, repository=repository, files={path: hub_rows(2), **others})

    files = hub.locate("test-clean", cache_dir=tmp_path)

    assert [str(p).endswith(path) for p in files.paths] == [True]


def test_complete_cache_is_cached(dummy_cache):
    assert hub.is_cached("dev-clean-dummy", cache_dir=dummy_cache)


@pytest.mark.parametrize("revision", ["d" * 40, "v1.0"])
def test_another_revision_than_the_cached_one_is_not_cached(dummy_cache, revision):
    assert not hub.is_cached("dev-clean-dummy", revision=revision, cache_dir=dummy_cache)


def test_pinned_revision_is_found_without_a_branch(dummy_cache):
    files = hub.locate("dev-clean-dummy", revision="c" * 40, cache_dir=dummy_cache)

    assert files.revision == "c" * 40


@pytest.mark.parametrize("count", [0, 72, 74])
def test_incomplete_cache_is_not_cached(tmp_path, count):
    """Every utterance or none: half a download must not pass for the corpus."""
    files = {DUMMY_FILE: hub_rows(count)} if count else {}
    write_hub_cache(tmp_path, repository=DUMMY.repository, files=files)

    assert not hub.is_cached("dev-clean-dummy", cache_dir=tmp_path)


def test_cut_off_file_is_not_cached(tmp_path):
    snapshot = write_hub_cache(
        tmp_path, repository=DUMMY.repository, files={DUMMY_FILE: hub_rows(73)}
    )
    data = (snapshot / DUMMY_FILE).read_bytes()
    (snapshot / DUMMY_FILE).write_bytes(data[: len(data) // 2])

    assert not hub.is_cached("dev-clean-dummy", cache_dir=tmp_path)


@pytest.mark.parametrize("name", sorted(hub.CORPORA))
def test_uncached_corpus_says_how_to_fetch_it_and_what_works_without(tmp_path, name):
    corpus = hub.CORPORA[name]
    with pytest.raises(NotCachedError) as raised:
        hub.locate(name, cache_dir=tmp_path)

    message = str(raised.value)
    command = f"hf download {corpus.repository} --repo-type dataset --include 'clean/"
    assert command in message
    assert "canary-speech" in message
    assert "librispeech:PATH" in message


def test_uncached_revision_is_in_the_command(tmp_path):
    with pytest.raises(NotCachedError, match="--revision abc123 --include"):
        hub.locate("test-clean", revision="abc123", cache_dir=tmp_path)


def test_missing_datasets_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda _: None)

    assert not hub.is_cached("test-clean", cache_dir=tmp_path)
    with pytest.raises(NotCachedError, match=r"pip install 'w2v-core\[hub\]'"):
        hub.locate("test-clean", cache_dir=tmp_path)


@pytest.mark.parametrize("count", [2, 4])
def test_unexpected_count_names_both_numbers(tmp_path, count):
    with pytest.raises(DataError, match=f"stand-in: {count} utterances where 3 belong"):
        hub.read_ids(files_of(tmp_path, hub_rows(count)), expected_count=3)


def test_duplicate_id_is_named(tmp_path):
    with pytest.raises(TranscriptError, match="1 ids occur twice: 7-1-0000"):
        hub.read_ids(files_of(tmp_path, hub_rows(2) + hub_rows(1)))


def test_row_without_audio_is_named(tmp_path):
    rows = hub_rows(2)
    rows[1]["audio"] = None

    with pytest.raises(DataError, match="7-1-0001 has no audio"):
        list(hub.read_recordings(files_of(tmp_path, rows), ids=["7-1-0000", "7-1-0001"]))


@pytest.mark.parametrize("text", ["", "  ", None])
def test_empty_reference_is_named(tmp_path, text):
    rows = hub_rows(1)
    rows[0]["text"] = text

    with pytest.raises(TranscriptError, match="7-1-0000: the reference is empty"):
        list(hub.read_recordings(files_of(tmp_path, rows), ids=["7-1-0000"]))


def test_file_of_another_format_names_the_missing_columns(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "0000.parquet"
    pq.write_table(pa.table({"id": ["a"], "sentence": ["A"]}), path)

    with pytest.raises(DataError, match=r"0000\.parquet lacks the columns audio, text"):
        list(hub.read_recordings(hub.HubFiles(name="stand-in", paths=(path,)), ids=["a"]))


def test_pointer_of_git_lfs_in_place_of_a_file_is_named(tmp_path):
    path = tmp_path / "0000.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n")

    with pytest.raises(DataError, match=r"0000\.parquet is a Git LFS pointer.*git lfs pull"):
        hub.read_ids(hub.HubFiles(name="stand-in", paths=(path,)))


def test_unknown_name_is_refused():
    with pytest.raises(UnknownNameError, match="'test-clean'"):
        hub.is_cached("test-claen")


def test_importing_the_module_imports_no_datasets():
    """A laptop without the hub extra must be able to list the datasets."""
    heavy = "{'datasets', 'huggingface_hub', 'pyarrow', 'torch', 'transformers'}"
    code = f"import sys, w2v_core.data.catalog; print({heavy} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
