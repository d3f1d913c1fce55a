"""A fleet over Ray, embedded: what a killed actor loses runs elsewhere, and the record says so."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_clips
from w2v_core.errors import ConfigError, DeviceError
from w2v_core.fleet import cards, over_ray
from w2v_core.fleet.job import Job
from w2v_core.records.store import read_run

ROOT = Path(__file__).resolve().parents[2]
CELL = ("--device", "cpu", "--dtypes", "float32", "--graphs", "off", "--rounds", "1")


def fleet(tmp_path, kill, *options):
    """Run a fleet of a model that costs nothing on two clips."""
    pytest.importorskip("ray", reason="no Ray: pip install 'w2v-core[fleet]'")
    tiny, clips = write_checkpoint(tmp_path / "tiny"), write_clips(tmp_path, ["a", "b"])
    others = {} if kill == "node" else {"RAY_ADDRESS": "127.0.0.1:9"}  # another's cluster
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.helpers.ray_fleet", kill, "fleet", *CELL, *options),
            *("--models", tiny, "--datasets", clips, "--reports-dir", tmp_path),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **others},
        capture_output=True,
        text=True,
        check=False,
    )
    found = list(tmp_path.glob("dev/*"))
    assert found, done.stderr
    return found[0], done


@pytest.mark.parametrize("kill", ["1", pytest.param("node", marks=pytest.mark.slow)])
def test_what_an_actor_or_node_that_is_killed_loses_runs_elsewhere_and_the_record_says_so(
    tmp_path, kill
):
    """Of a node the raylet is killed: Ray takes the node for dead, and the actor with it."""
    directory, done = fleet(tmp_path, kill, "--cards", "2", "--way", "shard")

    assert done.returncode == 0, done.stderr
    (record,) = read_run(directory).records
    assert (record.valid, record.num_utterances, len(record.merged)) == (True, 2, 2)
    (told,) = [note for note in record.notes if "was lost on" in note]
    assert ("cpu 1, " if kill == "1" else "") + "which was lost with its node or actor" in told
    assert "measured on " in told


@pytest.mark.slow
def test_actors_measure_each_and_are_judged(tmp_path):
    directory, done = fleet(tmp_path, "none", "--cards", "2", "--runs", "2")

    assert "2 INCONCLUSIVE" in done.stdout or "PASS" in done.stdout
    assert len(list(directory.glob("cards/*/*/run.json"))) == 4


OURS = {"Python": "3.11", "Ray": "2.60.0", "w2v_core": "0.1.0"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_node_of_another_version_is_named_with_both(name):
    with pytest.raises(ConfigError, match=f"{name} is 0.0 on node-b and {OURS[name]} here"):
        over_ray.refuse_other_versions("node-b", {**OURS, name: "0.0"}, OURS)

    over_ray.refuse_other_versions("node-b", OURS, OURS)


def test_rays_number_is_the_place_among_the_nodes_module_ids(monkeypatch):
    """Ray numbers Gaudis from 0; where a container has modules 2 and 5, its 1 is module 5."""
    rows = [{"module_id": "5", "bus_id": ""}, {"module_id": "2", "bus_id": ""}]
    monkeypatch.setattr(cards, "query_hl_smi", lambda: rows)
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", "1")

    assert over_ray.own_card("hpu", os.environ).pins["HABANA_VISIBLE_MODULES"] == "5"
    assert os.environ["HABANA_VISIBLE_MODULES"] == "1"


@pytest.mark.parametrize(("mode", "is_told"), [(None, True), ("token", False)])
def test_a_cluster_that_cannot_be_reached_is_told_with_the_token_it_may_want(
    monkeypatch, mode, is_told
):
    """Ray says no more than that it failed to connect."""
    refuse = Mock(side_effect=ConnectionError("Failed to connect to Ray cluster"))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=refuse, shutdown=Mock()))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)

    told = "Ray at head:1 cannot be used: Failed to connect"
    with (
        pytest.raises(DeviceError, match=told) as error,
        over_ray.seats("head:1", "cpu", "1", silence_s=1.0),
    ):
        pass
    assert ("set RAY_AUTH_MODE=token" in str(error.value)) is is_told


class Actor:
    """An actor whose every call has the same answer; a call is its own reference."""

    def __init__(self, answer):
        self.card = self.run = SimpleNamespace(remote=lambda *_: (self, answer))


def answering(**more):
    """Ray, of which only actors with an answer are placed."""

    def get(reference):
        _, answer = reference
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(references, **_):
        return [r for r in references if r[1] is not None], []

    return SimpleNamespace(get=get, wait=wait, kill=Mock(), **more)


def test_a_card_that_others_hold_is_told_and_the_others_go_on():
    pytest.importorskip("ray", reason="no Ray")
    ray = answering()
    theirs = cards.Card(device="cuda", number=0, host="node-b")
    busy = Actor(None)

    by_name, found = over_ray._placed(
        ray, [Actor((theirs, over_ray.versions())), busy], device="cuda", silence_s=1.0
    )

    assert [str(card) for card in found] == ["node-b cuda 0", "unplaced cuda 1"]
    assert list(by_name) == ["node-b cuda 0"]
    ray.kill.assert_called_once_with(busy)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("ActorDiedError", (), "was lost with its node or actor"),
        ("OutOfMemoryError", ("killed for its memory",), "killed for its memory"),
        ("RayTaskError", ("run", "a stack", OSError(28, "No space left")), "OSError: .*No space"),
    ],
)
def test_whatever_ray_raises_of_a_job_is_its_cards_problem(tmp_path, name, arguments, says):
    exceptions = pytest.importorskip("ray.exceptions", reason="no Ray")
    ray = answering(exceptions=exceptions)
    job = Job(card="c", folder=str(tmp_path), front_end="fleet", options={}, command="w2v")
    actor = Actor(getattr(exceptions, name)(*arguments))

    found = over_ray._run(ray, actor, job, cards.Card(device="cpu", number=0), silence_s=1.0)

    assert re.search(says, found.problem)
    assert not found.refused


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(ConfigError, match="pip install 'w2v-core"):
        over_ray.versions()


def test_a_list_of_cards_is_refused_as_ray_places_them():
    with pytest.raises(ConfigError, match="Ray places the cards; give all or a count"):
        cards.parse_count_of("0,2")
