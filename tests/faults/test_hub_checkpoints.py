"""Both checkpoints over HTTP, from a stand-in of the hub: first run, later runs, what fails."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests.helpers.hub import point_at, serving
from tests.helpers.hub_content import (
    BASE,
    COMMIT,
    LARGE,
    OLD_COMMIT,
    TAG,
    fill,
    repeated_rows,
)
from w2v_core.errors import NotCachedError
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint
from w2v_core.model.checkpoint_hub import why_not_loadable

BASE_FILES = {
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
}
FILES = {
    "base": BASE_FILES,
    "large": BASE_FILES - {"model.safetensors"} | {"pytorch_model.bin"},
}


@pytest.fixture(scope="module")
def served():
    with serving() as hub:
        yield fill(hub, test_rows=repeated_rows(1), dummy_rows=repeated_rows(1))


@pytest.fixture
def hub(served, tmp_path, monkeypatch):
    """The stand-in without faults, and this process pointed at it with an empty cache."""
    yield point_at(served, monkeypatch, cache=tmp_path / "hub")
    served.mend()


def refusal(model="base"):
    with pytest.raises(NotCachedError) as raised:
        load_checkpoint(parse_model(model))
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("model", ["base", "large"])
def test_first_run_fetches_what_loading_needs_and_the_second_asks_nothing(hub, model):
    """base has safetensors, large a pickle of tensors; both keep other formats beside them."""
    first = load_checkpoint(parse_model(model))
    assert {Path(path).name for path in hub.resolved()} == FILES[model]
    hub.requests.clear()

    again = load_checkpoint(parse_model(model))

    assert hub.requests == []
    assert (first.revision, first.sha256) == (again.revision, again.sha256)
    assert first.revision == COMMIT


def test_revision_is_fetched_and_its_commit_known(hub):
    assert load_checkpoint(parse_model(f"base@{TAG}")).revision == OLD_COMMIT


def test_cached_checkpoint_loads_offline_and_while_the_hub_is_down(hub, monkeypatch):
    load_checkpoint(parse_model("base"))
    hub.outage = 503
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    assert load_checkpoint(parse_model("base")).revision == COMMIT


def test_partly_fetched_is_not_cached_and_the_next_run_fetches_the_rest(hub):
    hub.drops["model.safetensors"] = [0] * 50
    assert "broke off" in refusal()
    assert "model.safetensors" in str(why_not_loadable(parse_model("base")))

    hub.drops.clear()
    assert load_checkpoint(parse_model("base")).revision == COMMIT
    assert why_not_loadable(parse_model("base")) is None


@pytest.mark.parametrize("absent", sorted(FILES["large"]))
def test_cached_means_loadable_whichever_file_lacks(hub, absent, monkeypatch):
    """A cache without any one file is not cached, and the file is named."""
    spec = parse_model("large")
    load_checkpoint(spec)
    assert why_not_loadable(spec) is None
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    next(cache.rglob(f"snapshots/*/{absent}")).unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    assert why_not_loadable(spec) == f"not cached: lacks {absent}"
    assert f"lacks {absent}; and it cannot be fetched: offline mode is on" in refusal("large")


def test_connection_that_drops_is_resumed(hub):
    hub.drops["model.safetensors"] = [1 << 20]

    assert load_checkpoint(parse_model("base")).revision == COMMIT
    ranges = [r.range for r in hub.requests if r.method == "GET" and r.path.startswith("/large/")]
    assert ranges == [None, f"bytes={1 << 20}-"]


@pytest.mark.parametrize(
    ("model", "change", "part"),
    [
        pytest.param("base", {"access": "private"}, f"the hub has no {BASE}", id="401"),
        pytest.param("base", {"access": "gated"}, "is gated: accept", id="gated"),
        pytest.param("nobody/nothing", {}, "the hub has no nobody/nothing", id="404"),
        pytest.param("base@v9", {}, "has no revision 'v9'", id="revision"),
        pytest.param("base", {"outage": 503}, "503 Service Unavailable", id="503"),
    ],
)
def test_refusal_is_told_as_what_it_is(hub, model, change, part):
    hub.outage = change.get("outage")
    hub.repositories["models", BASE].access = change.get("access", "open")

    assert part in refusal(model)


@pytest.mark.parametrize("model", ["base", "large", f"large@{TAG}"])
def test_named_command_fetches_all_that_loading_needs(hub, model, monkeypatch, tmp_path):
    """The command is run as it is printed; the checkpoint then loads without the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (command,) = re.findall(r"(hf download .*?) ;", refusal(model))
    environment = {**os.environ, **hub.environment(tmp_path), "HF_HUB_OFFLINE": "0"}

    hf = [str(Path(sys.executable).parent / "hf"), *shlex.split(command)[1:]]
    subprocess.run(hf, env=environment, check=True, capture_output=True)

    assert load_checkpoint(parse_model(model)).revision == (OLD_COMMIT if "@" in model else COMMIT)


def test_weights_that_are_a_pointer_of_git_lfs_are_named(hub, tmp_path):
    """As a clone without git-lfs has them."""
    for name, data in hub.repositories["models", LARGE].commits[COMMIT].items():
        (tmp_path / name).write_bytes(data)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n"
    (tmp_path / "pytorch_model.bin").write_text(pointer)

    with pytest.raises(ValueError, match="git lfs pull"):
        load_checkpoint(parse_model(str(tmp_path)))
