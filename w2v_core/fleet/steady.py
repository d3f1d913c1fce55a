"""Whether what a process holds grows with its batches, and whether its speed has left its interval.

*Levels.* Passes after the warm-up part are cut into blocks, of each the lowest level counts: memory
that is in use for a moment lies above it, what is never given back lifts it. A level leaks where
the Theil-Sen slope over the batches exceeds its limit with its whole confidence interval (Sen,
"Estimates of the regression coefficient based on Kendall's tau", J. Am. Stat. Assoc. 63(324), 1968;
``scipy.stats.theilslopes``), over all blocks and over their later half: what flattens is no leak.

*Speed.* The passes that follow the warm-up part are the reference; a later block is slower where
the upper bound of its median's log ratio to theirs is below the gate's margin. The noise is
robust: the median absolute deviation of passes from the median of their block, which tells as much
as 37 % of as many values with the usual deviation (Huber, "Robust Statistics", 1981, 1.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from w2v_core.verdict.decide import Policy
from w2v_core.verdict.statistics import Effects, Floats, upper_bound

LIMITS: Mapping[str, float] = {
    "host_bytes": 256.0,
    "heap_bytes": 256.0,
    "python_blocks": 1.0,
    "device_bytes": 256.0,
    "pinned_bytes": 256.0,
    "descriptors": 0.0,
    "threads": 0.0,
    "graphs": 0.0,
    "compilations": 0.0,
}
"""Growth a batch that is no leak. Of memory a choice: a quarter of 1 kB, 256 MB in a million
batches, or an object of Python's a batch; what is counted otherwise does not grow at all."""
WARM_UP = 0.2
"""Share of a process's passes that is not judged."""
LEAST_PASSES = 20
"""Of a process: with fewer its later half says nothing."""
LEAST_BATCHES = 1000
"""In which a leak at the limit adds the least that is called one: caches of a process that has just
begun fill for some hundred passes."""
MOST_BLOCKS = 40
REFERENCE = 0.25  # of the passes that are judged
MAD_TO_SD = 1.4826  # of a normal distribution
MAD_EFFICIENCY = 0.37


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """How a level grows, a batch."""

    slope: float
    lower: float
    """Bounds of the slope over all blocks, simultaneous over the levels and cards."""
    upper: float
    late_lower: float
    """Lower bound over the later half of the blocks."""
    limit: float
    batches: int
    """From the first block to the last."""

    @property
    def is_leak(self) -> bool:
        """Whether the level grows, goes on growing, and has grown by more than caches do."""
        is_much = self.slope * self.batches > self.limit * LEAST_BATCHES
        return is_much and min(self.lower, self.late_lower) > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A block of passes that is slower than those of the reference; ratios of RTFx."""

    first: int
    """Place of its first pass."""
    last: int
    ratio: float
    upper: float


def judged_from(passes: int) -> int:
    """Return the first pass that is judged, from 0."""
    return int(np.ceil(WARM_UP * passes))


def slope_of(
    batches: Sequence[float], values: Sequence[float], *, limit: float, alpha: float
) -> Slope | None:
    """Return the slope of one process's level; None of too few passes.

    Args:
        batches: Of the process at the end of each pass.
        values: The level there.
        limit: Growth a batch that is no leak.
        alpha: Chance, each way, that an interval does not hold the slope.
    """
    if len(values) < LEAST_PASSES:
        return None
    start = judged_from(len(values))
    x, y = (np.asarray(v, dtype=np.float64)[start:] for v in (batches, values))
    blocks = np.array_split(np.arange(len(y)), min(MOST_BLOCKS, len(y)))
    lowest = np.array([b[np.argmin(y[b])] for b in blocks])
    x, y = x[lowest], y[lowest]
    half = len(x) // 2
    slope, _, lower, upper = stats.theilslopes(y, x, alpha=1 - 2 * alpha)
    late = stats.theilslopes(y[half:], x[half:], alpha=1 - 2 * alpha)
    return Slope(
        slope=float(slope),
        lower=float(lower),
        upper=float(upper),
        late_lower=float(late.low_slope),
        limit=limit,
        batches=int(x[-1] - x[0]),
    )


def slowest_block(rtfx: Sequence[float], *, alpha: float, policy: Policy) -> Slow | None:
    """Return the slowest block of passes outside the interval of the reference; None without one.

    Args:
        rtfx: Of each pass of one process, above 0.
        alpha: Chance that a block of equal speed is named, over all blocks.
        policy: Its margin is the loss that is within the interval.
    """
    if len(rtfx) < LEAST_PASSES:
        return None
    start = judged_from(len(rtfx))
    logs = np.log(np.asarray(rtfx, dtype=np.float64))[start:]
    size = max(1, round(REFERENCE * len(logs)))
    places = np.arange(size, len(logs))
    blocks = [logs[:size], *np.array_split(logs[size:], min(MOST_BLOCKS // 2, len(places) // 3))]
    ends = np.cumsum([len(b) for b in blocks])
    effects = _against_first(blocks)
    upper = upper_bound(effects, alpha / len(effects.mean))
    worst = int(np.argmin(effects.mean))
    if not upper[worst] < policy.log_margin:
        return None
    return Slow(
        first=start + int(ends[worst]),
        last=start + int(ends[worst + 1]) - 1,
        ratio=float(np.exp(effects.mean[worst])),
        upper=float(np.exp(upper[worst])),
    )


def _against_first(blocks: Sequence[Floats]) -> Effects:
    """Estimate each later block's median log ratio to the first block's."""
    medians = np.array([np.median(b) for b in blocks])
    residuals = np.concatenate([b - m for b, m in zip(blocks, medians, strict=True)])
    sd = MAD_TO_SD * float(np.median(np.abs(residuals)))
    counts = np.array([len(b) for b in blocks], dtype=np.float64)
    error = sd * np.sqrt(np.pi / 2 * (1 / counts[1:] + 1 / counts[0]))
    df = max(1.0, MAD_EFFICIENCY * (len(residuals) - len(blocks)))
    mean = medians[1:] - medians[0]
    full = np.full(mean.shape, df)
    return Effects(mean=mean, standard_error=error, df=full, sd=np.full(mean.shape, sd))
