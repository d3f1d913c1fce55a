"""The arithmetic of drift: normal scores, steps, their cumulative sum, and its limit."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from scipy import special

from w2v_core.verdict.statistics import Floats

SLACK = 1.0
"""k: losses below one standard deviation are noise."""
LIMIT = 7.0
"""h: the sum that raises the alarm, in standard deviations."""
NIGHTLY_SLACK = 1.2
"""k of judge_drift(): with the limit that is simulated for it, it finds 0.3 % a night best."""
SUSPICION = 1.0
"""The sum from which a night is measured again."""
MOST_FRESH = 8
"""Fresh runs of a suspicion."""
_MOST_SCORE = 4.0  # what one night counts for at most
_SHARED = 0.08  # of the variance: what the runs of a night share, as in night.py
LEVEL = 0.2  # variance of the machine's level over that of a cell, from eight controls
_LEAST_TAIL = 1e-16  # a score of 8 standard deviations; one such night is an alarm by itself
_LIMITS = Path(__file__).with_name("drift_limits.json")
"""By cells and runs; ``python -m tests.simulation.drift_limits`` simulates and writes it."""


def normal_scores(deviations: Floats, df: Floats | float) -> Floats:
    """Return losses as normal scores; above 0 is slower. ``deviations`` are t distributed."""
    tails = special.stdtr(df, deviations)
    return -np.asarray(special.ndtri(np.maximum(tails, _LEAST_TAIL)), dtype=np.float64)


def steps(
    scores: Floats, fresh_runs: Floats | int = 0, base_runs: int = 0, *, slack: float
) -> Floats:
    """Return what nights add to the sum, by their scores as single runs and their fresh runs.

    A night of more runs counts by as much as its variance is smaller: the log-likelihood ratio of
    a loss against none, over that of one run.
    """
    count = np.maximum(np.asarray(fresh_runs, dtype=np.float64), 1.0)
    anchor = 1.0 / base_runs if base_runs else 0.0
    several = _SHARED + (1 - _SHARED) * (1 + LEVEL) / count + anchor
    weight = np.where(count > 1, (1.0 + anchor) / several, 1.0)
    return np.asarray(np.minimum((scores - slack) * weight, _MOST_SCORE - slack))


def cusum(added: Floats, *, most: float = np.inf) -> Floats:
    """Accumulate (..., nights) steps into the sums by night, cut to ``most``."""
    sums = np.zeros_like(added)
    current = np.zeros(added.shape[:-1])
    for night in range(added.shape[-1]):
        current = np.clip(current + added[..., night], 0.0, most)
        sums[..., night] = current
    return sums


def middle(values: Floats) -> Floats:
    """Return the median over the means of any two of the last axis (Hodges and Lehmann 1963)."""
    first, second = np.triu_indices(values.shape[-1])
    return np.asarray(np.median((values[..., first] + values[..., second]) / 2, axis=-1))


def calibrated_limit(runs: int, cells: int) -> float:
    """Return the limit that 2 % of quarters without a drift exceed in any cell, in normal noise.

    Between the simulated numbers it is interpolated, by the cells' logarithm and the runs' inverse;
    beyond them it is that of the nearest.
    """
    at_cells, at_runs, limits = _limits()
    by_cells = [np.interp(np.log(cells), np.log(at_cells), column) for column in limits.T]
    return float(np.interp(-1.0 / runs, -1.0 / at_runs, by_cells))


@cache
def _limits() -> tuple[Floats, Floats, Floats]:
    """Return the numbers of cells and of runs, and limits (cells, runs)."""
    table = json.loads(_LIMITS.read_text(encoding="ascii"))
    cells, runs, limits = (np.asarray(table[key]) for key in ("cells", "runs", "limits"))
    return cells, runs, limits
