"""Two releases on one or more hosts: the difference within hosts, by least squares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from w2v_core.records.fingerprint import place
from w2v_core.records.record import CellRecord
from w2v_core.verdict.statistics import Effects, moderate

__all__ = ["stratified_effects"]


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
