"""Dataset names, and the corpora of the hub and of the package by name."""

import huggingface_hub.constants
import numpy as np
import pytest

from tests.helpers.speech import hub_rows, voiced, write_hub_cache
from w2v_core.data import hub
from w2v_core.data.catalog import DATASETS, load, parse_dataset
from w2v_core.errors import ConfigError, NotCachedError, UnknownNameError
from w2v_core.types import Utterance


@pytest.fixture
def dummy(tmp_path, monkeypatch):
    """dev-clean-dummy in a hub cache of this test, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = hub.CORPORA["dev-clean-dummy"].repository
    files = {"clean/validation-00000-of-00001.parquet": hub_rows(73)[::-1]}
    write_hub_cache(tmp_path, repository=repository, files=files)
    return parse_dataset("dev-clean-dummy")


def ids(items):
    return [item.utterance_id for item in items]


@pytest.mark.parametrize(
    ("text", "name", "cell_text", "count", "needs_hub"),
    [
        ("canary-speech", "canary-speech", "canary_speech", 73, False),
        ("canary_speech", "canary-speech", "canary_speech", 73, False),
        ("test-clean", "test-clean", "test_clean", 2620, True),
        ("test_clean", "test-clean", "test_clean", 2620, True),
        ("dev-clean-dummy", "dev-clean-dummy", "dev_clean_dummy", 73, True),
        ("dev_clean_dummy", "dev-clean-dummy", "dev_clean_dummy", 73, True),
    ],
)
def test_name_is_parsed(text, name, cell_text, count, needs_hub):
    spec = parse_dataset(text)

    assert (spec.name, spec.text, spec.expected_count, spec.needs_hub) == (
        name,
        cell_text,
        count,
        needs_hub,
    )


@pytest.mark.parametrize(
    ("path", "cell_text"),
    [
        pytest.param("/data/LibriSpeech/dev-other", "librispeech_dev_other", id="split"),
        pytest.param("/data/dev-other/", "librispeech_dev_other", id="slash"),
        pytest.param("/data/x/../dev-other", "librispeech_dev_other", id="dots"),
        pytest.param("/data/my set (2)", "librispeech_my_set_2", id="odd-characters"),
        pytest.param("/", "librispeech_root", id="root"),
    ],
)
def test_cell_text_of_a_folder_has_neither_hyphen_nor_space(path, cell_text):
    """Cell ids are joined by hyphens and are file names and shell words."""
    spec = parse_dataset(f"librispeech:{path}")

    assert (spec.text, spec.needs_hub, spec.expected_count) == (cell_text, False, None)


def test_relative_folder_is_resolved_when_parsed(tmp_path, monkeypatch):
    """A later change of directory must not change the set."""
    monkeypatch.chdir(tmp_path)

    assert parse_dataset("librispeech:data/7").path == tmp_path / "data" / "7"


def test_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert parse_dataset("librispeech:~/data").path == tmp_path / "data"


def test_folder_without_a_path_is_refused():
    with pytest.raises(ConfigError, match="librispeech:PATH"):
        parse_dataset("librispeech:")


@pytest.mark.parametrize(
    ("text", "nearest"), [("test-claen", "test-clean"), ("canary", "canary-speech")]
)
def test_unknown_name_gives_the_nearest(text, nearest):
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'"):
        parse_dataset(text)


@pytest.mark.parametrize(
    ("text", "cell_text"),
    [
        pytest.param("test-clean@v1", "test_clean_at_v1", id="tag"),
        pytest.param("test_clean@refs/pr/3", "test_clean_at_refs_pr_3", id="reference"),
        pytest.param("dev-clean-dummy@" + "c" * 40, "dev_clean_dummy_at_" + "c" * 40, id="commit"),
    ],
)
def test_revision_is_part_of_the_cell_and_not_of_the_name(text, cell_text):
    """Two revisions are two cells; the published WER belongs to the name."""
    spec = parse_dataset(text)

    assert (spec.text, spec.revision) == (cell_text, text.partition("@")[2])
    assert spec.name in {s.name for s in DATASETS}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param("canary-speech@v1", "bundled and has no revision 'v1'", id="bundled"),
        pytest.param("test-clean@", "lacks its revision", id="empty"),
        pytest.param("manifest:", "lacks its path", id="manifest"),
    ],
)
def test_revision_or_path_that_cannot_be_is_refused(text, part):
    with pytest.raises(ConfigError, match=part):
        parse_dataset(text)


def test_cell_texts_are_unique():
    assert len({spec.text for spec in DATASETS}) == len(DATASETS)


def test_hub_corpus_loads_in_id_order_with_its_commit(dummy):
    corpus = load(dummy)

    assert ids(corpus.utterances) == [f"7-1-{i:04d}" for i in range(73)] == list(corpus.expected)
    assert corpus.revision == "c" * 40
    assert corpus.utterances[9].reference == "UTTERANCE NUMBER 9"
    np.testing.assert_allclose(
        corpus.utterances[9].waveform, voiced(1600, seed=9), rtol=0, atol=1 / 2**15
    )


def test_hub_limit_takes_the_first_in_id_order(dummy):
    """The files hold them in reverse."""
    assert ids(load(dummy, limit=2).utterances) == ["7-1-0000", "7-1-0001"]


def test_hub_limit_beyond_the_set_names_both_numbers(dummy):
    with pytest.raises(ConfigError, match=r"limit 74 .* 73 utterances"):
        load(dummy, limit=74)


def test_hub_set_yields_every_utterance_once(dummy):
    assert sorted(ids(load(dummy).utterances)) == [f"7-1-{i:04d}" for i in range(73)]


def test_hub_corpus_is_available_where_it_is_cached(dummy):
    assert dummy.is_available()
    assert not parse_dataset("test-clean").is_available()


def test_uncached_hub_corpus_is_an_error_that_says_how_to_fetch_it(dummy):
    assert dummy.is_available()
    with pytest.raises(NotCachedError, match="hf download openslr/librispeech_asr"):
        load(parse_dataset("test-clean"))


def test_canary_speech_is_bundled_whole():
    spec = parse_dataset("canary-speech")

    (first,) = load(spec, limit=1).utterances

    assert spec.is_available()
    assert isinstance(first, Utterance)
    assert first.reference
