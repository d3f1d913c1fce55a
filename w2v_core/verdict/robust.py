"""What odd runs do not move: levels, shifts and variances of runs, thousands of nights at once.

Arrays are (nights, cells, runs) of log throughputs; NaN is a run that lacks the cell.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from w2v_core.verdict.statistics import Floats, moderate, t_quantile

FEWEST_CELLS = 5
"""Fewer cells cannot tell the machine's level from their own."""
LEAST_SD = 5e-4
"""Log ratio; machines quieter than 0.05 % are a coincidence of few runs."""
_FAR_LEVEL = 0.05  # log ratio; a level farther from the others is a disturbed run, no mode
_PRIOR, _PRIOR_TOGETHER = 20.0, 8.0  # degrees of freedom of "runs vary as the baseline's"
_FAR = 9.0  # median absolute deviations (6 standard deviations): a cold or stuck run
_FEWEST_WINSORISED = 5
_DOUBT = 2.0
_FEWEST_COMMON = 3  # cells that move together
_ALIKE = 0.5  # of a loss
_TOGETHER = 5e-4  # error rate at which a group's loss has to show in its mean
_BEYOND = 1.2  # times what chance gives
_TAILS = {1: 3.0, 2: 6.0}  # degrees of freedom that one or two runs deserve, for their tails
_TAILS_EACH = 12.0


def polish(baseline: Floats, *, separates: bool) -> tuple[Floats, Floats]:
    """Split log throughputs into (nights, cells) centres and (nights, runs) levels.

    Tukey's median polish (Exploratory Data Analysis, 1977, chapter 11), two sweeps.
    """
    levels: Floats = np.zeros((baseline.shape[0], baseline.shape[2]))
    centre = median(baseline)
    if not separates:
        return centre, levels
    for _ in range(2):
        levels = median(np.swapaxes(baseline - centre[..., None], 1, 2))
        centre = median(baseline - levels[:, None, :])
    return centre, levels


def without_far(base: Floats, *, separates: bool) -> Floats:
    """Return runs with NaN in place of those that lie far out of their cell's: cold or stuck."""
    if not separates or base.shape[-1] < _FEWEST_WINSORISED:
        return base
    distance = np.abs(base - median(base)[..., None])
    own = median(distance)
    usual = np.maximum(np.maximum(own, np.median(own, axis=-1, keepdims=True)), LEAST_SD)
    return np.where(distance > _FAR * usual[..., None], np.nan, base)


def run_variance(base: Floats, runs: Floats, *, separates: bool) -> tuple[Floats, Floats]:
    """Return the moderated variance of one run, and its degrees of freedom."""
    variance, df = np.empty(runs.shape), np.empty(runs.shape)
    ordered = np.sort(base, axis=-1)  # NaN goes last
    for count in np.unique(runs.astype(int)):
        chosen = runs == count
        if not separates or count < _FEWEST_WINSORISED:
            variance[chosen] = (
                np.var(ordered[chosen][:, :count], axis=-1, ddof=1) if count > 1 else 0
            )
            df[chosen] = count - 1
            continue
        scale, freedom = _winsorised(int(count))
        variance[chosen] = scale * _winsorised_variance(ordered[chosen][:, :count])
        df[chosen] = freedom
    cells = base.shape[1]
    kept = 1 - 1 / cells if separates else 1.0  # taking the level out takes some noise with it
    variance, df = moderate(variance / kept, df, doubt=_DOUBT)
    return np.maximum(variance, LEAST_SD**2), df


def common_share(base: Floats, variance: Floats, runs: Floats) -> Floats:
    """Return (nights, cells): the share of a cell's variance that it has in common with others.

    Cells that move together from run to run, as all of one dtype may, do so on the night as well,
    and are not told apart from a loss by measuring again. The first principal component of the
    standardised runs counts where it exceeds what chance gives (Marchenko and Pastur, Math. USSR
    Sbornik 1, 1967) and at least three cells are in it.
    """
    cells, most = base.shape[1:]
    if cells < FEWEST_CELLS or most < _FEWEST_WINSORISED:
        return np.zeros(variance.shape)
    scaled = np.nan_to_num(base / np.sqrt(variance)[..., None])
    left, values, _ = np.linalg.svd(np.clip(scaled, -3, 3), full_matrices=False)
    loading, largest = np.square(left[..., 0]), np.square(values[..., :1])
    chance = np.square(np.sqrt(cells) + np.sqrt(most - 1))
    is_common = (largest > _BEYOND * chance) & (
        1 / np.square(loading).sum(axis=-1, keepdims=True) >= _FEWEST_COMMON
    )
    return np.where(is_common, np.minimum(loading * largest / np.maximum(runs - 1, 1), 1.0), 0.0)


def level_variance(levels: Floats) -> Floats:
    """Return (nights,) the variance of the baseline's levels, one that is far out left out."""
    middle = median(levels)[:, None]
    distance = np.abs(levels - middle)
    far = distance > _FAR * np.maximum(median(distance), LEAST_SD)[:, None]
    kept = np.where(far, np.nan, levels)
    count = np.maximum(np.isfinite(kept).sum(axis=-1), 2.0)
    return np.asarray(np.nanvar(kept, axis=-1) * count / (count - 1))


def lowest_mode(levels: Floats) -> Floats:
    """Return (nights, 1) the lowest level of the baseline's runs, against their median.

    A machine that was as slow before, in a mode of its own, is not slower tonight. The first run
    may have been cold, and a disturbed one is no mode.
    """
    distance = levels - median(levels)[:, None]
    is_mode = np.abs(distance) < _FAR_LEVEL
    is_mode[:, 0] = False
    return np.asarray(np.where(is_mode, distance, 0.0).min(axis=-1, keepdims=True))


def pooled_ratio(ratio: Floats, df: Floats, *, separates: bool = True) -> Floats:
    """Return (nights,) the ratio of tonight's variance to the baseline's, shrunk to 1.

    Less so for few cells, whose runs alone have to show it.
    """
    prior = _PRIOR if separates else _PRIOR_TOGETHER
    return np.asarray((prior + (df * ratio).sum(axis=-1)) / (prior + df.sum(axis=-1)))


@cache
def _winsorised(runs: int) -> tuple[float, float]:
    """Return the factor that makes a winsorised variance unbiased for normal runs, and its df.

    The degrees of freedom are Satterthwaite's: twice its squared mean over its variance.
    """
    drawn = np.random.default_rng(0).standard_normal((40_000, runs))
    variance = _winsorised_variance(np.sort(drawn, axis=-1))
    mean = float(variance.mean())
    return 1 / mean, 2 * mean * mean / float(variance.var())


def _winsorised_variance(ordered: Floats) -> Floats:
    """Return the variance over sorted runs, the lowest and highest taken as their neighbours."""
    kept = np.clip(ordered, ordered[..., 1:2], ordered[..., -2:-1])
    return np.asarray(kept.var(axis=-1, ddof=1))


def hodges_lehmann(tonight: Floats, baseline: Floats) -> Floats:
    """Return the median of all differences over the last axes; NaN is no run."""
    return median(_differences(tonight, baseline))


def _differences(tonight: Floats, baseline: Floats) -> Floats:
    found = tonight[..., :, None] - baseline[..., None, :]
    return found.reshape(*found.shape[:-2], -1)


def median(values: Floats) -> Floats:
    """Return the median over the last axis, NaN left out; NaN where nothing is there."""
    ordered = np.sort(values, axis=-1)  # NaN goes last
    count = np.isfinite(values).sum(axis=-1)
    lower = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[..., None], axis=-1)
    upper = np.take_along_axis(ordered, (count // 2).clip(max=values.shape[-1] - 1)[..., None], -1)
    found = (lower + upper)[..., 0] / 2
    return np.where(count > 0, found, np.nan)


def stands_together(
    base: Floats, shift: Floats, lost: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return (nights,) whether a loss stands where several cells have it alike.

    Cells that share an effect of the night are one sample of it, however many they are and however
    often they are measured: their mean is held against its own baseline runs. Alike is what lost
    half as much as the least of those that ``lost``; two cells are no group.
    """
    least = np.where(lost, shift, -np.inf).max(axis=-1, keepdims=True)
    alike = lost.any(axis=-1, keepdims=True) & (shift < _ALIKE * least)
    count = np.maximum(alike.sum(axis=-1), 1)
    runs = np.where(alike[..., None], np.nan_to_num(base), 0.0).sum(axis=1) / count[:, None]
    number = base.shape[-1]
    variance = runs.var(axis=-1, ddof=1) if number > 1 else np.zeros(len(base))
    error = np.sqrt(np.maximum(variance, LEAST_SD**2) * (1 + 1 / number))
    mean = np.where(alike, shift, 0.0).sum(axis=-1) / count
    reach = t_quantile(_TOGETHER, np.full(len(base), max(number - 1.0, 1.0))) * error
    return np.asarray((count < _FEWEST_COMMON) | (mean + reach < 0), dtype=np.bool_)


def tail_df(count: Floats) -> Floats:
    """Return the most degrees of freedom that ``count`` runs of a night deserve."""
    found = _TAILS_EACH * count
    for runs, df in _TAILS.items():
        found = np.where(count <= runs, np.minimum(found, df), found)
    return np.asarray(found, dtype=np.float64)
