"""Cards of a Ray cluster: an actor on each, in which a job runs as on this machine.

Ray places the actors and says which one died; ids, transcripts and frame ids travel, audio does
not. Its telemetry is switched off, its token authentication stays as it is.
"""

from __future__ import annotations

import importlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from w2v_core import __version__
from w2v_core.config import DeviceChoice
from w2v_core.errors import ConfigError, DeviceError
from w2v_core.fleet.cards import GPUS, MODULES, Card, find_cards, list_cards, parse_count_of, share
from w2v_core.fleet.job import Job
from w2v_core.fleet.process import Outcome, collect, is_stopped, run_job
from w2v_core.printable import first_said

LOCAL = "local"
TOKEN = (
    "; where the cluster asks for a token, as it does by default, set RAY_AUTH_MODE=token, and the "
    "token of its head in RAY_AUTH_TOKEN or ~/.ray/auth_token"
)
"""What a refused connection does not say itself."""
BUSY = "was placed nowhere within {:g} s, as others hold the cluster's cards"
LOOK_S = 1.0  # between two looks at an interrupt
NOWHERE = "unplaced"
"""Host of a card that Ray did not give."""
RESOURCES: Mapping[DeviceChoice, str] = {"hpu": "HPU", "cuda": "GPU", "cpu": "CPU"}
"""What Ray counts each kind of card as."""


class Seat:
    """What an actor does on its card's node."""

    def __init__(self, device: DeviceChoice, number: int, of: int) -> None:
        self._device = device
        self._number, self._of = number, of

    def card(self) -> tuple[Card, dict[str, str]]:
        """Return the card that Ray gave to this actor, and the versions of its node."""
        here = Card(device=self._device, number=self._number, host=platform.node())
        if self._device != "cpu":
            here = replace(own_card(self._device, os.environ), host=here.host)
        return replace(here, cpus=share(here, self._number, self._of)), versions()

    def run(self, job: Job, card: Card, silence_s: float) -> tuple[Outcome, dict[str, bytes]]:
        """Run a job here; returns its outcome and the files that it left. Blocks."""
        with tempfile.TemporaryDirectory(prefix="w2v-fleet-") as folder:
            outcome = run_job(replace(job, folder=folder), card, silence_s=silence_s)
            files = {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file()}
        return replace(outcome, records={}, frames={}), files  # they are in the files


def own_card(device: DeviceChoice, environ: Mapping[str, str]) -> Card:
    """Return the card that Ray's variable means: a GPU's index, the how-manieth Gaudi of the node.

    Ray numbers Gaudis from 0 whatever their module ids are.
    """
    name = MODULES[0] if device == "hpu" else GPUS
    given = environ.get(name, "").partition(",")[0]
    hidden = os.environ.pop(name, None)
    try:
        cards = list_cards(device)
    finally:
        if hidden is not None:
            os.environ[name] = hidden
    place = int(given) if given.isdecimal() else 0
    if place < len(cards):
        return cards[place]
    pins = dict.fromkeys(MODULES if device == "hpu" else (GPUS,), given)
    return Card(device=device, number=place, pins=pins)


def versions() -> dict[str, str]:
    """Return what has to be the same on every node."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Ray": str(_ray().__version__),
        "w2v_core": __version__,
    }


def refuse_other_versions(node: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuse a node of another Python, Ray or w2v_core; raises ConfigError with both versions."""
    for name, version in ours.items():
        if theirs.get(name) != version:
            raise ConfigError(
                f"{name} is {theirs.get(name)} on {node} and {version} here; install the same on "
                "every node"
            )


@contextmanager
def seats(
    address: str, device: DeviceChoice, asked: str, *, silence_s: float
) -> Iterator[tuple[tuple[Card, ...], Callable[..., Outcome]]]:
    """Open an actor on each card of a cluster; yields the cards and what runs a job on one.

    Args:
        address: ``local`` starts a cluster on this machine; else an address of Ray's.
        device: ``auto`` takes the first of HPU, GPU and CPU that the cluster has.
        asked: ``all``, or a count.
        silence_s: See ``process.run_job``.

    Raises:
        ConfigError: Ray is not installed; there are fewer cards; versions differ.
        DeviceError: the cluster cannot be reached, or has no such card.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 of Ray's own, which costs speed
    if address != LOCAL:  # where nothing answers, one try of 40 s: of Ray's 20 each takes as long
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    ray = _ray()
    here = find_cards(device, asked) if address == LOCAL else ()
    _connect(ray, address, here)
    try:
        device, actors = _actors(ray, here[0].device if here else device, asked)
        by_name, cards = _placed(ray, actors, device=device, silence_s=silence_s)

        def run(job: Job, card: Card, *, stop: int | None = None) -> Outcome:
            if str(card) not in by_name:
                return collect(job, BUSY.format(silence_s), refused=True)
            return _run(ray, by_name[str(card)], job, card, silence_s=silence_s, stop=stop)

        yield cards, run
    finally:
        ray.shutdown()


def _placed(
    ray: Any,  # noqa: ANN401
    actors: Sequence[Any],
    *,
    device: DeviceChoice,
    silence_s: float,
) -> tuple[dict[str, Any], tuple[Card, ...]]:
    """Wait for the actors to be placed; a card that another job holds has no actor.

    Raises:
        ConfigError: versions differ.
        DeviceError: an actor cannot begin on its node.
    """
    asked = [actor.card.remote() for actor in actors]
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=silence_s)
    by_name, cards = {}, []
    for place, (actor, answer) in enumerate(zip(actors, asked, strict=True)):
        if answer not in ready:
            ray.kill(actor)
            cards.append(Card(device=device, number=place, host=NOWHERE))
            continue
        try:
            card, theirs = ray.get(answer)
        except ray.exceptions.RayError as error:
            raise DeviceError(f"Ray cannot begin on a node: {_why(error)}") from error
        refuse_other_versions(card.host, theirs, versions())
        by_name[str(card)] = actor
        cards.append(card)
    return by_name, tuple(cards)


def _why(error: Exception) -> str:
    """Say what went wrong: of a task its own error, which Ray puts behind its stack."""
    cause = getattr(error, "cause", None)
    told = first_said(str(cause or error))
    return f"{type(cause).__name__}: {told}" if cause is not None else told


def _run(
    ray: Any,  # noqa: ANN401
    actor: Any,  # noqa: ANN401
    job: Job,
    card: Card,
    *,
    silence_s: float,
    stop: int | None = None,
) -> Outcome:
    answer = actor.run.remote(job, card, silence_s)
    try:
        while not ray.wait([answer], timeout=LOOK_S)[0]:
            if stop is not None and is_stopped(stop):
                ray.kill(actor)
                return collect(job, "was stopped")
        outcome, files = ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        return collect(job, f"could not run its job: {_why(error)}")
    except ray.exceptions.RayError as error:
        return collect(job, f"was lost with its node or actor: {_why(error)}")
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return collect(job, outcome.problem, refused=outcome.refused, wall_s=outcome.wall_s)


def _ray() -> Any:  # noqa: ANN401 - an optional package
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            f"{{flag:address}} needs Ray ({error}): pip install 'w2v-core[fleet]'"
        ) from error


def _connect(ray: Any, address: str, here: Sequence[Card]) -> None:  # noqa: ANN401
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        if address == LOCAL:
            cpus = max(len(here), len(os.sched_getaffinity(0)))
            has: dict[str, dict[str, Any]] = {
                "hpu": {"resources": {"HPU": len(here)}},
                "cuda": {"num_gpus": len(here)},
            }
            own = has.get(here[0].device, {})
            # Named, or Ray would go to a cluster that RAY_ADDRESS or an earlier start left word of.
            ray.init(address=LOCAL, num_cpus=cpus, include_dashboard=False, **quiet, **own)
        else:
            ray.init(address=address, **quiet)
    except (RuntimeError, ConnectionError, ValueError) as error:
        token = "" if address == LOCAL or os.environ.get("RAY_AUTH_MODE") == "token" else TOKEN
        raise DeviceError(f"Ray at {address} cannot be used: {error}{token}") from error


def _actors(ray: Any, device: DeviceChoice, asked: str) -> tuple[DeviceChoice, list[Any]]:  # noqa: ANN401
    """Open the actors; of a CPU cluster, ``all`` is one a node."""
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if device == "auto":
        device = next(
            d for d, name in RESOURCES.items() if d == "cpu" or any(name in n for n in nodes)
        )
    resource = RESOURCES[device]
    total = int(sum(n.get(resource, 0) for n in nodes))
    most = len(nodes) if device == "cpu" and asked == "all" else total
    count = most if asked == "all" else parse_count_of(asked)
    if not total or count > total:
        raise DeviceError(
            f"{{flag:cards}} {asked}: Ray counts {total} {resource} on {len(nodes)} nodes"
        )
    wants: dict[DeviceChoice, dict[str, Any]] = {
        "hpu": {"resources": {"HPU": 1}, "num_cpus": 0},
        "cuda": {"num_gpus": 1, "num_cpus": 0},
        "cpu": {"num_cpus": total // count},
    }
    actor = ray.remote(max_restarts=0)(Seat).options(scheduling_strategy="SPREAD", **wants[device])
    return device, [actor.remote(device, i, -(-count // len(nodes))) for i in range(count)]
