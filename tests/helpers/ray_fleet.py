"""``python -m tests.helpers.ray_fleet KILL fleet ...``: ``w2v`` with an actor that is killed.

KILL is the number of the seat whose actor is killed in its first job, or ``none``.
"""

from __future__ import annotations

import sys
import threading
import time


def plant(number: int) -> None:
    """Kill the actor of a card two seconds after it was given its first job."""
    from w2v_core.fleet import over_ray

    run, killed = over_ray._run, []

    def run_and_kill(ray, actor, job, card, **options):
        if card.number == number and not killed:
            killed.append(card)
            threading.Thread(target=lambda: (time.sleep(2), ray.kill(actor))).start()
        return run(ray, actor, job, card, **options)

    over_ray._run = run_and_kill


def main() -> int:
    kill, *arguments = sys.argv[1:]
    if kill != "none":
        plant(int(kill))
    sys.argv = ["w2v", *arguments]
    from w2v_core.cli import main as w2v

    return w2v(arguments)


if __name__ == "__main__":
    sys.exit(main())
