"""``python -m tests.helpers.ray_fleet KILL fleet ...``: ``w2v`` over Ray, and what is killed.

KILL is the number of the seat whose actor is killed in its first job, ``none``, or ``node``: then
there are two nodes of one CPU each on this machine, and the second one's raylet is killed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager

LATE_S = 2.0


def plant(is_due: Callable[..., bool], kill: Callable[..., None]) -> None:
    """Kill what is to be killed, once, two seconds after a card that is due was given a job."""
    from w2v_core.fleet import over_ray

    run, killed = over_ray._run, []

    def run_and_kill(ray, actor, job, card, **options):
        if is_due(card) and not killed:
            killed.append(card)
            threading.Timer(LATE_S, kill, (ray, actor)).start()
        return run(ray, actor, job, card, **options)

    over_ray._run = run_and_kill


@contextmanager
def two_nodes():
    """Start a head and a second node; yields the address and what kills the second one's raylet."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so Ray spells it
    from ray.cluster_utils import Cluster

    one = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
    second = cluster.add_node(**one)
    try:
        yield cluster.address, lambda *_: second.kill_raylet()
    finally:
        cluster.shutdown()


def main() -> int:
    kill, *arguments = sys.argv[1:]
    usable = os.sched_getaffinity(0)
    os.sched_getaffinity = lambda _: usable | {0, 1}  # two cards of a host have a core each
    if kill == "node":
        with two_nodes() as (address, kill_second):
            plant(lambda _: True, kill_second)
            return run([*arguments, "--address", address])
    if kill != "none":
        plant(lambda card: card.number == int(kill), lambda ray, actor: ray.kill(actor))
    return run([*arguments, "--address", "local"])


def run(arguments: list[str]) -> int:
    sys.argv = ["w2v", *arguments]
    from w2v_core.cli import main as w2v

    return w2v(arguments)


if __name__ == "__main__":
    sys.exit(main())
