"""A corpus over HTTP, from a stand-in of the hub: first run, later runs, and everything that fails.

What fails is told as what it is, and the command that is named fetches what is missing.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests.helpers.hub import CHUNK_BYTES, point_at, serving
from tests.helpers.hub_content import (
    COMMIT,
    DUMMY,
    LIBRISPEECH,
    OLD_COMMIT,
    TAG,
    fill,
    repeated_rows,
)
from w2v_core.data import hub as corpora
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.errors import NotCachedError

SHARDS = 2
TEST_FILES = [f"clean/test/{i:04d}.parquet" for i in range(SHARDS)]


@pytest.fixture(scope="module")
def served():
    with serving() as hub:
        yield fill(hub, test_rows=repeated_rows(20), dummy_rows=repeated_rows(73), shards=SHARDS)


@pytest.fixture
def hub(served, tmp_path, monkeypatch):
    """The stand-in without faults, and this process pointed at it with an empty cache."""
    yield point_at(served, monkeypatch, cache=tmp_path / "hub")
    served.mend()


def refusal(name="dev-clean-dummy", **options):
    with pytest.raises(NotCachedError) as raised:
        corpora.locate(name, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_first_run_fetches_the_split_and_no_other_file(hub):
    """The training split beside it has 30 GB."""
    files = corpora.locate("test-clean")

    assert sorted(re.sub(".*/resolve/[^/]*/", "", r) for r in hub.resolved()) == TEST_FILES
    assert files.revision == COMMIT
    assert len(corpora.read_ids(files)) == 20


def test_second_run_asks_the_hub_nothing(hub):
    first = load(parse_dataset("dev-clean-dummy"))
    hub.requests.clear()

    again = load(parse_dataset("dev-clean-dummy"))

    assert hub.requests == []
    assert again.revision == first.revision == COMMIT
    assert again.expected == first.expected


@pytest.mark.parametrize("revision", [TAG, OLD_COMMIT])
def test_revision_is_fetched_and_its_commit_known(hub, revision):
    corpus = load(parse_dataset(f"dev-clean-dummy@{revision}"), limit=2)

    assert corpus.revision == OLD_COMMIT


def test_cached_corpus_loads_while_the_hub_is_down(hub):
    corpora.locate("dev-clean-dummy")
    hub.outage = 503

    assert corpora.locate("dev-clean-dummy").revision == COMMIT


def test_cached_corpus_loads_offline(hub, monkeypatch):
    corpora.locate("dev-clean-dummy")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    assert corpora.locate("dev-clean-dummy").revision == COMMIT


def test_connection_that_drops_is_resumed_where_it_broke_off(hub):
    hub.drops["clean/validation-00000-of-00001.parquet"] = [3 * CHUNK_BYTES + 5]

    files = corpora.locate("dev-clean-dummy")

    ranges = [r.range for r in hub.requests if r.method == "GET" and r.path.startswith("/large/")]
    assert ranges == [None, f"bytes={3 * CHUNK_BYTES}-"]
    assert len(corpora.read_ids(files, expected_count=73)) == 73


def test_connection_that_keeps_dropping_is_one_line_and_the_next_run_is_whole(hub):
    hub.drops["clean/validation-00000-of-00001.parquet"] = [0] * 50

    assert "broke off" in refusal()

    hub.drops.clear()
    assert len(corpora.read_ids(corpora.locate("dev-clean-dummy"), expected_count=73)) == 73


@pytest.mark.parametrize(
    ("access", "part"), [("private", "the hub has no hf-internal"), ("gated", "is gated: accept")]
)
def test_refused_repository_is_told_as_what_it_is(hub, access, part):
    hub.repositories["datasets", DUMMY].access = access

    message = refusal()

    assert part in message
    assert "hf auth login" in message


def test_unknown_revision_is_named(hub):
    message = refusal(revision="v9")

    assert "has no revision 'v9'" in message
    assert "hf download" not in message  # it would fail alike


@pytest.mark.parametrize(
    ("status", "part"),
    [(503, "503 Service Unavailable"), (500, "500 Internal"), (429, "429 Too Many")],
)
def test_outage_is_told_with_its_status(hub, status, part):
    hub.outage = status

    assert part in refusal()


def test_login_that_is_not_accepted_is_told(hub):
    hub.outage = 401
    hub.outage_message = "Invalid credentials in Authorization header"

    assert "401 Unauthorized" in refusal()


def test_offline_says_so(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    assert "HF_HUB_OFFLINE" in refusal()
    assert hub.requests == []


def test_no_hub_at_all_is_told(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")

    assert "cannot be reached" in refusal()


def test_repository_without_the_split_names_the_pattern(hub):
    repository = hub.repositories["datasets", LIBRISPEECH]
    before = dict(repository.commits)
    repository.commits["3" * 40] = {"README.md": b""}
    try:
        assert "clean/test*.parquet" in refusal("test-clean")
    finally:
        repository.commits.clear()
        repository.commits.update(before)


@pytest.mark.parametrize("name", ["test-clean", f"dev-clean-dummy@{TAG}"])
def test_named_command_fetches_what_is_missing(hub, name, monkeypatch, tmp_path):
    """The command is run as it is printed; the corpus then loads without the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    spec = parse_dataset(name)
    message = refusal(spec.name, revision=spec.revision)
    (command,) = re.findall(r"`(hf download [^`]*)`", message)
    environment = {**os.environ, **hub.environment(tmp_path), "HF_HUB_OFFLINE": "0"}

    hf = Path(sys.executable).parent / "hf"
    subprocess.run(
        [hf, *shlex.split(command)[1:]], env=environment, check=True, capture_output=True
    )

    hub.requests.clear()
    assert load(spec, limit=20).revision == (OLD_COMMIT if spec.revision else COMMIT)
    assert hub.requests == []
