"""A simulated Gaudi that loses an event of the scored pass.

``pytest -p tests.helpers.lost_event ...`` plants it in the suite, ``python -m
tests.helpers.lost_event run ...`` in the command line.
"""

import sys

LOST = 4


def plant() -> None:
    """Let the first pass of this process lose an event; later calls do nothing."""
    from tests.hpusim.runtime import ACTIVE
    from w2v_core.engine.engine import Engine

    transcribe = Engine.transcribe
    if getattr(transcribe, "loses", False):
        return

    def lose(self, *arguments, **options):
        faults = ACTIVE.rt.faults
        if not faults.lost_events:
            faults.lost_events.add(ACTIVE.rt.stats["events"] + LOST)
        return transcribe(self, *arguments, **options)

    lose.loses = True
    Engine.transcribe = lose


def pytest_runtest_setup() -> None:
    """Plant it when the simulated device is there: torch must not be imported before."""
    plant()


def main() -> int:
    from tests.helpers.simulated_w2v import simulate

    simulate()
    plant()
    from w2v_core.cli import main as w2v

    return w2v(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
