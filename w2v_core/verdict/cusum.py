"""The arithmetic of drift: normal scores, steps, their cumulative sum, and its simulated limit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special

from w2v_core.verdict.robust import FEWEST_CELLS
from w2v_core.verdict.statistics import Floats, moderate

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
_LEVEL = 0.2  # variance of the machine's level over that of a cell, from eight controls
_LEAST_TAIL = 1e-16  # a score of 8 standard deviations; one such night is an alarm by itself
_QUARTER = 90  # nights
_QUARTERS = 400  # simulated for a limit
_CHUNK = 200
_FALSE_QUARTERS = 0.02

Fresh = Callable[[int, npt.NDArray[np.bool_]], Floats]
"""From a night and the (quarters, cells) that it suspects to (suspects, MOST_FRESH) fresh runs."""


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
    several = _SHARED + (1 - _SHARED) * (1 + _LEVEL) / count + anchor
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


def middle(values: Floats) -> Floats:
    """Return the median over the means of any two of the last axis (Hodges and Lehmann 1963)."""
    first, second = np.triu_indices(values.shape[-1])
    return np.asarray(np.median((values[..., first] + values[..., second]) / 2, axis=-1))


@cache
def calibrated_limit(runs: int, cells: int) -> float:
    """Return the limit above which 3 % of quarters without a drift rise in any cell; simulated."""
    generator = np.random.default_rng(0)
    spread = np.sqrt(1 + _LEVEL) if cells >= FEWEST_CELLS else 1.0
    highest: list[Floats] = []

    def fresh(_: int, where: npt.NDArray[np.bool_]) -> Floats:
        return spread * generator.standard_normal((int(where.sum()), MOST_FRESH))

    for _ in range(0, _QUARTERS, _CHUNK):
        base = generator.standard_normal((_CHUNK, cells, runs))
        nights = generator.standard_normal((_CHUNK, cells, _QUARTER))
        if cells >= FEWEST_CELLS:
            base -= np.median(base, axis=1, keepdims=True)
            nights -= np.median(nights, axis=1, keepdims=True)
        sums, _ = follow_quarters(base, nights, fresh)
        highest.append(sums.max(axis=(1, 2)))
    return float(np.quantile(np.concatenate(highest), 1 - _FALSE_QUARTERS))
