"""Limits of drift in normal noise: ``python -m tests.simulation.drift_limits`` writes the table."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from w2v_core.verdict import cusum
from w2v_core.verdict.cusum import (
    LEVEL,
    MOST_FRESH,
    NIGHTLY_SLACK,
    SUSPICION,
    middle,
    normal_scores,
    steps,
)
from w2v_core.verdict.robust import FEWEST_CELLS
from w2v_core.verdict.statistics import Floats, moderate

CELLS = (1, 2, 3, 4, 5, 8, 16, 24, 48, 96, 192)
RUNS = (5, 6, 8, 10, 15, 20, 40)
QUARTERS = 2_000
QUARTER = 90  # nights
FALSE_QUARTERS = 0.02
CHUNK = 200

Fresh = Callable[[int, npt.NDArray[np.bool_]], Floats]
"""From a night and the (quarters, cells) that it suspects to (suspects, MOST_FRESH) fresh runs."""


def follow_quarters(base: Floats, nights: Floats, fresh: Fresh) -> tuple[Floats, Floats]:
    """Follow quarters as a history is followed, suspicions measured again.

    Args:
        base: (quarters, cells, runs) of the baseline, the machine's level taken out.
        nights: (quarters, cells, nights), first runs, likewise.
        fresh: See Fresh.

    Returns:
        (quarters, cells, nights) sums, and (quarters, nights) fresh processes.
    """
    runs = base.shape[-1]
    variance, df = moderate(base.var(axis=-1, ddof=1), np.full(base.shape[:2], runs - 1.0))
    mean, sd = base.mean(axis=-1), np.sqrt(variance * (1 + 1 / runs))
    current, sums = np.zeros(mean.shape), np.zeros(nights.shape)
    asked = np.zeros((len(base), nights.shape[-1]))
    for night in range(nights.shape[-1]):
        scores = normal_scores((nights[..., night] - mean) / sd, df)
        found = np.maximum(current + steps(scores, slack=NIGHTLY_SLACK), 0.0)
        where = found > SUSPICION
        if where.any():
            again, count = fresh(night, where), np.zeros(where.shape)
            before, is_open = current[where], np.ones(len(again), dtype=bool)
            updated = found[where]
            for number in range(1, MOST_FRESH + 1):
                deviation = (middle(again[:, :number]) - mean[where]) / sd[where]
                step = steps(normal_scores(deviation, df[where]), number, runs, slack=NIGHTLY_SLACK)
                count[where] += is_open
                updated = np.where(is_open, np.maximum(before + step, 0.0), updated)
                is_open &= updated > SUSPICION
            found[where] = updated
            asked[:, night] = count.max(axis=-1)
        current = sums[..., night] = found
    return sums, asked


def simulated_limit(runs: int, cells: int, *, quarters: int = QUARTERS, seed: int = 0) -> float:
    """Return the limit that ``FALSE_QUARTERS`` of quarters without a drift exceed in any cell."""
    generator = np.random.default_rng(seed)
    spread = np.sqrt(1 + LEVEL) if cells >= FEWEST_CELLS else 1.0
    highest: list[Floats] = []

    def fresh(_: int, where: npt.NDArray[np.bool_]) -> Floats:
        return spread * generator.standard_normal((int(where.sum()), MOST_FRESH))

    for _ in range(0, quarters, CHUNK):
        base = generator.standard_normal((CHUNK, cells, runs))
        nights = generator.standard_normal((CHUNK, cells, QUARTER))
        if cells >= FEWEST_CELLS:
            base -= np.median(base, axis=1, keepdims=True)
            nights -= np.median(nights, axis=1, keepdims=True)
        sums, _ = follow_quarters(base, nights, fresh)
        highest.append(sums.max(axis=(1, 2)))
    return float(np.quantile(np.concatenate(highest), 1 - FALSE_QUARTERS))


def main() -> None:
    """Simulate every entry and write the table."""
    limits = [[round(simulated_limit(runs, cells), 2) for runs in RUNS] for cells in CELLS]
    lines = ",\n    ".join(json.dumps(row) for row in limits)
    cusum._LIMITS.write_text(
        f'{{\n  "cells": {list(CELLS)},\n  "runs": {list(RUNS)},\n'
        f'  "limits": [\n    {lines}\n  ]\n}}\n',
        encoding="ascii",
    )


if __name__ == "__main__":
    main()
