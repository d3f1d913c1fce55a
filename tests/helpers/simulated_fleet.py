"""``python -m tests.helpers.simulated_fleet N fleet ...``: ``w2v`` on N simulated cards."""

from __future__ import annotations

import sys

MODULES = (0, 4, 1, 5, 2, 6, 3, 7)
"""Module ids in hl-smi's order, which is not theirs."""


def install(count: int) -> None:
    """List simulated cards, and run their processes on the simulator."""
    from w2v_core.fleet import cards, process

    rows = [
        {"index": str(i), "module_id": str(module), "bus_id": f"0000:{i:02x}:00.0"}
        for i, module in enumerate(MODULES[:count])
    ]
    cards.query_hl_smi = lambda: rows
    process.WORKER = ("-m", "tests.helpers.simulated_worker")


def main() -> int:
    count, *arguments = sys.argv[1:]
    install(int(count))
    sys.argv = ["w2v", *arguments]
    from w2v_core.cli import main as w2v

    return w2v(arguments)


if __name__ == "__main__":
    sys.exit(main())
