"""The arithmetic of the gate, over whole arrays: (..., cells, runs) in, (..., cells) out.

Leading axes are independent nights, so that calibration runs the very code that judges one night.
The unit of sampling is one process run (rounds within a run are pseudo-replicates); values are
natural logarithms, so a 3 % slowdown is a difference of ``log(0.97)``.

Sources: moderated variances, Smyth, "Linear models and empirical Bayes methods ..." (Stat. Appl.
Genet. Mol. Biol. 3(1), 2004), section 6.2; the autocovariance correction, Newey and West
(Econometrica 55(3), 1987) with one lag and Bartlett weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from w2v_core.records.fingerprint import place
from w2v_core.records.record import CellRecord

Floats = npt.NDArray[np.float64]

_LARGE_DF = 1e6  # a t distribution with this many degrees of freedom is normal
_FEW_CELLS = 3  # fewer variances say nothing about how variances are distributed


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Mean log ratios with what is needed for an interval; each (..., cells)."""

    mean: Floats
    standard_error: Floats
    """NaN where no run was repeated anywhere."""
    df: Floats
    """Degrees of freedom of the standard error, those borrowed from other cells included."""
    sd: Floats
    """Moderated standard deviation of one run (or pair), autocorrelation included; for planning."""


def lower_bound(effects: Effects, alpha: float) -> Floats:
    """Return the one-sided lower confidence bound of the mean at level ``1 - alpha``."""
    return effects.mean - t_quantile(alpha, effects.df) * effects.standard_error


def upper_bound(effects: Effects, alpha: float) -> Floats:
    """Return the one-sided upper confidence bound of the mean at level ``1 - alpha``."""
    return effects.mean + t_quantile(alpha, effects.df) * effects.standard_error


def p_below(effects: Effects, limit: float) -> Floats:
    """Return the one-sided p value of "the mean is at least ``limit``"; NaN without an error."""
    error = np.where(effects.standard_error > 0, effects.standard_error, 1e-300)
    statistic = np.where(np.isnan(effects.standard_error), np.nan, (effects.mean - limit) / error)
    return np.asarray(special.stdtr(effects.df, statistic), dtype=np.float64)


def t_quantile(alpha: float, df: Floats) -> Floats:
    """Return the upper ``alpha`` quantile of Student's t."""
    return -np.asarray(special.stdtrit(df, alpha), dtype=np.float64)


def paired_effects(differences: Floats) -> Effects:
    """Estimate the mean of paired log ratios, (..., cells, pairs) with at least two pairs.

    Neighbouring pairs of one session may be correlated; the standard error grows by the lag-one
    autocorrelation pooled over the cells, and never shrinks by it.
    """
    pairs = differences.shape[-1]
    mean = differences.mean(axis=-1)
    residuals = differences - mean[..., None]
    degrees = np.full(mean.shape, float(pairs - 1))
    variance, df = moderate(np.square(residuals).sum(axis=-1) / (pairs - 1), degrees)
    sd = np.sqrt(variance * (1.0 + _autocorrelation(residuals))[..., None])
    return Effects(mean=mean, standard_error=sd / np.sqrt(pairs), df=df, sd=sd)


def _autocorrelation(residuals: Floats) -> Floats:
    """Pool the lag-one autocorrelation over cells, corrected by its bias of about -1/pairs."""
    pairs = residuals.shape[-1]
    products = (residuals[..., 1:] * residuals[..., :-1]).sum(axis=(-1, -2))
    squares = np.square(residuals).sum(axis=(-1, -2))
    found = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)
    return np.clip(np.where(squares > 0, found + 1.0 / pairs, 0.0), 0.0, 0.99)


def moderate(variance: Floats, df: Floats, *, doubt: float = 0.0) -> tuple[Floats, Floats]:
    """Shrink the cells' variances to their common value as far as they agree (Smyth 2004).

    Args:
        variance: (..., cells).
        df: (..., cells), the degrees of freedom of each; 0 where a variance is unknown.
        doubt: Cells count as different only as far as their spread exceeds what chance gives by so
            many standard errors.

    Returns:
        The posterior variances and their degrees of freedom, both (..., cells). Cells that vary
        alike share one variance with many degrees of freedom; cells that do not keep their own. A
        cell of unknown variance takes the common one; NaN where there is none.
    """
    known = df > 0
    count = known.sum(axis=-1, keepdims=True)
    own = np.where(known, variance, np.nan)
    half = np.where(known, df, 1.0) / 2
    floor = np.max(np.where(known, variance, 0.0), initial=0.0) * 1e-9 + 1e-300
    logs = np.log(np.maximum(variance, floor)) - special.digamma(half) + np.log(half)
    centre = _mean(logs, known, count)
    spread = _mean(np.square(logs - centre), known, count) * count / np.maximum(count - 1, 1)
    by_chance = _mean(special.polygamma(1, half), known, count)
    excess = spread - by_chance * (1.0 + doubt * np.sqrt(2.0 / np.maximum(count - 1, 1)))
    prior_df = np.minimum(2.0 * _inverse_trigamma(np.maximum(excess, 1e-6)), _LARGE_DF)
    prior = np.exp(centre + special.digamma(prior_df / 2) - np.log(prior_df / 2))
    posterior = (prior_df * prior + df * np.where(known, variance, 0.0)) / (prior_df + df)
    # The pooled residuals cannot give more degrees of freedom than there are.
    total = np.minimum(prior_df + df, df.sum(axis=-1, keepdims=True))
    enough = np.broadcast_to(count >= _FEW_CELLS, variance.shape)
    return np.where(enough, posterior, own), np.where(enough, total, np.maximum(df, 1.0))


def _mean(values: Floats, known: npt.NDArray[np.bool_], count: npt.NDArray[np.int_]) -> Floats:
    total = np.where(known, values, 0.0).sum(axis=-1, keepdims=True)
    return np.asarray(total / np.maximum(count, 1), dtype=np.float64)


def _inverse_trigamma(values: Floats) -> Floats:
    """Solve ``polygamma(1, x) == values`` by Newton's method (Smyth 2004, appendix)."""
    found = 0.5 + 1.0 / values
    for _ in range(8):
        trigamma = special.polygamma(1, found)
        found = found + trigamma * (1.0 - trigamma / values) / special.polygamma(2, found)
    return np.asarray(np.maximum(found, 1e-3), dtype=np.float64)


def stratified_effects(
    cells: Iterable[tuple[Sequence[CellRecord], Sequence[CellRecord]]],
) -> Effects:
    """Estimate the log ratio of b over a for each (a, b), hosts and cards held constant.

    The model is ``log(rtfx) = host + release``: with one host it is the difference of two means,
    with hosts that ran one release only those say nothing, and where no host ran both, the plain
    difference of the means is left (which compare() refuses to attribute).

    Returns:
        (cells,) effects; the standard error is NaN where no cell has a run to spare.
    """
    rows = np.asarray([_fit(a, b) for a, b in cells], dtype=np.float64).reshape(-1, 4)
    mean, variance, df, factor = rows.T
    moderated, total_df = moderate(variance, df)
    sd = np.sqrt(moderated)
    return Effects(mean=mean, standard_error=sd * np.sqrt(factor), df=total_df, sd=sd)


def _fit(a: Sequence[CellRecord], b: Sequence[CellRecord]) -> tuple[float, float, float, float]:
    """Return the difference, the residual variance, its degrees of freedom and the factor."""
    records = [*a, *b]
    values = np.log([r.rtfx for r in records])
    release = np.asarray([0.0] * len(a) + [1.0] * len(b))
    hosts = [place(r.environment) for r in records]
    both = {place(r.environment) for r in a} & {place(r.environment) for r in b}
    names = sorted(set(hosts)) if both else hosts[:1]
    columns = [[float(h == name) for h in hosts] if both else [1.0] * len(hosts) for name in names]
    design = np.column_stack((*(np.asarray(c) for c in columns), release))
    coefficients, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    residuals = values - design @ coefficients
    df = float(len(values) - rank)
    variance = float(residuals @ residuals) / df if df > 0 else 0.0
    factor = float(np.linalg.pinv(design.T @ design)[-1, -1])
    return float(coefficients[-1]), variance, df, factor
