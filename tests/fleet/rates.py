"""How often a fleet's verdict is wrong: ``python -m tests.fleet.rates``.

Nights of eight cards whose runs vary by 0.5 %, all equal, or one of them 5 % slower.
"""

import sys

import numpy as np

from w2v_core.fleet.verdict import compare_speeds
from w2v_core.verdict.decide import Policy

NIGHTS, CARDS, SD = 1000, 8, 0.005


def rates(*, runs: int, loss: float) -> tuple[float, float]:
    """Return the nights in which an equal card was named, and those in which the slow one was."""
    policy, noise = Policy(), np.random.default_rng(11).normal(0.0, SD, (NIGHTS, CARDS, runs))
    noise[:, 0] += np.log1p(-loss)
    false = found = 0
    for night in noise:
        judged = compare_speeds(
            {str(card): list(np.exp(values)) for card, values in enumerate(night)},
            alpha=policy.family_alpha / CARDS,
            policy=policy,
        )
        named = {card for card, (_, finding) in judged.items() if finding.verdict == "FAIL"}
        false += bool(named - ({"0"} if loss else set()))
        found += "0" in named
    return false / NIGHTS, found / NIGHTS


def main() -> None:
    for runs in (1, 3):
        for loss in (0.0, 0.05):
            false, found = rates(runs=runs, loss=loss)
            line = (
                f"runs {runs}, loss {loss:.0%}: an equal card named {false:.1%}, card 0 {found:.1%}"
            )
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
