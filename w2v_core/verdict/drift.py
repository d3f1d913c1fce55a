"""Slow drift: a cumulative sum of nights against a fixed, signed anchor.

A comparison with last night, or with last week's mean, follows a slow decline down. The anchor is
the baseline in force: it moves by an approval only, and carries its signature.

Source: the one-sided CUSUM of Page, "Continuous inspection schemes" (Biometrika 41, 1954), as in
Montgomery, "Introduction to Statistical Quality Control", section 9.1: with ``z`` the night's loss
in standard deviations, ``S = max(0, S + z - k)``, and an alarm where ``S > h``. The change began on
the night after ``S`` was last zero. The anchor's deviation is an estimate from few runs, so losses
are t distributed and enter as normal scores (Quesenberry, J. Quality Technology 23(3), 1991).

A night counts once, by the median of its runs. What all cells of a night share is taken out where
at least five tell it, as in night.py: it is the machine's. One night counts for at most four
deviations, and the sum for at most a quarter more than the limit, so that an alarm ends within a
few nights of the level's return. The limit is simulated for the baseline's runs and cells: 3 % of
quarters of 90 nights without a drift have any alarm (normal noise; tests/simulation/test_drift.py
holds it, and other noise). Where a cell was faster for five nights by three deviations, that is the
level that it is held to from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import numpy as np
from scipy import special

from w2v_core.errors import RecordError
from w2v_core.records.history_table import Night
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.fitness import parse_utc
from w2v_core.verdict.robust import FEWEST_CELLS, median
from w2v_core.verdict.statistics import Floats, moderate

SLACK = 1.0
"""k: losses below one standard deviation are noise."""
LIMIT = 7.0
"""h: the sum that raises the alarm, in standard deviations."""
NIGHTLY_SLACK = 1.5
"""k of judge_drift(): with the limit that is simulated for it, it finds 0.3 % a night best."""
LEAST_MACHINE_LOSS = 0.015
"""Mean loss, a fraction, from which a drift of all cells is an alarm."""
_MOST_SCORE = 4.0  # what one night counts for at most
_MOST_SUM = 1.25  # times the limit
_QUARTER = 90  # nights
_QUARTERS = 400  # simulated for a limit
_FALSE_QUARTERS = 0.03
_REACHED_NIGHTS = 5  # in a row, by their median
_REACHED_SDS = 3.0
_NIGHT = timedelta(hours=12)
_LEAST_SD = 5e-4  # log ratio; anchors quieter than 0.05 % are a coincidence of five runs

_LEAST_TAIL = 1e-16  # a score of 8 standard deviations; one such night is an alarm by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where a cell's throughput was when it was approved, in log RTFx."""

    mean: float
    sd: float
    """Predictive standard deviation of one night: the runs' own, and the anchor's uncertainty."""
    df: float
    """Degrees of freedom of the deviation, those borrowed from other cells included."""
    signature: str
    """The approval that set it."""

    def scores(self, log_rtfx: Floats) -> Floats:
        """Return (..., nights) losses against the anchor as normal scores; above 0 is slower."""
        tails = special.stdtr(self.df, (log_rtfx - self.mean) / self.sd)
        return -np.asarray(special.ndtri(np.maximum(tails, _LEAST_TAIL)), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What a series of nights did against its anchor; a pass where the last raises no alarm."""

    statistic: tuple[float, ...]
    """The cumulative sum by night, in units in which LIMIT is the alarm."""
    alarm_night: str | None
    """The first night above the limit of those up to the last one; None where it is not above."""
    change_night: str | None
    """The night on which the drift began that raised the alarm."""
    loss: float
    """Mean loss against the anchor since the change night, a fraction; 0 without an alarm."""


def anchors(baseline: Baseline) -> dict[str, Anchor]:
    """Take the anchor of every cell from the baseline in force."""
    cells = list(baseline.cells)
    logs = _separated([np.asarray(baseline.log_rtfx(cell)) for cell in cells])
    counts = np.asarray([float(len(values)) for values in logs])
    variances = np.asarray([values.var(ddof=1) for values in logs])
    moderated, df = moderate(variances, counts - 1)
    sds = np.maximum(np.sqrt(moderated * (1.0 + 1.0 / counts)), _LEAST_SD)
    return {
        cell: Anchor(mean=float(v.mean()), sd=float(sd), df=float(d), signature=baseline.signature)
        for cell, v, sd, d in zip(cells, logs, sds, df, strict=True)
    }


def _separated(logs: Sequence[Floats]) -> list[Floats]:
    """Take the machine's level out of the baseline's runs, where all cells have the same runs."""
    if len(logs) < FEWEST_CELLS or len({len(values) for values in logs}) > 1:
        return list(logs)
    table = np.stack(logs)
    centres = median(table)[:, None]
    return list(table - np.median(table - centres, axis=0))


def cusum(scores: Floats, *, slack: float = SLACK, most: float = np.inf) -> Floats:
    """Accumulate (..., nights) scores into the sums by night, same shape; the last axis is time.

    ``most`` is what a sum is cut to.
    """
    sums = np.zeros_like(scores)
    current = np.zeros(scores.shape[:-1])
    for night in range(scores.shape[-1]):
        current = np.clip(current + scores[..., night] - slack, 0.0, most)
        sums[..., night] = current
    return sums


def detect_drift(
    nights: Sequence[str],
    rtfx: Sequence[float],
    anchor: Anchor,
    *,
    slack: float = SLACK,
    limit: float = LIMIT,
) -> Drift:
    """Follow one cell over its nights, oldest first.

    Raises:
        RecordError: a throughput is not a positive number, or nights and values differ in count.
    """
    values = np.asarray(rtfx, dtype=np.float64)
    if len(nights) != len(values) or not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise RecordError(f"{len(nights)} nights with RTFx {list(rtfx)[:5]}: need positive numbers")
    logs = np.log(values)
    reached = _reached(logs, anchor)
    scores = np.minimum(anchor.scores(logs - reached + anchor.mean), _MOST_SCORE)
    sums = cusum(scores, slack=slack, most=_MOST_SUM * limit)
    scaled = tuple(sums * (LIMIT / limit))
    if not sums.size or sums[-1] <= limit:
        return Drift(statistic=scaled, alarm_night=None, change_night=None, loss=0.0)
    calm = np.flatnonzero(sums <= limit)
    alarm = int(calm[-1]) + 1 if calm.size else 0
    zeros = np.flatnonzero(sums[:alarm] == 0.0)
    change = int(zeros[-1]) + 1 if zeros.size else 0
    since = float((reached - logs)[change:].mean())
    return Drift(
        statistic=scaled,
        alarm_night=nights[alarm],
        change_night=nights[change],
        loss=float(-np.expm1(-since)),
    )


def _reached(logs: Floats, anchor: Anchor) -> Floats:
    """Return (nights,) the level that each night is held to: the anchor's, or a better one reached.

    A level is reached when the median of five nights is three deviations above the last one.
    """
    levels, level, since = np.empty_like(logs), anchor.mean, 0
    for night in range(len(logs)):
        levels[night] = level
        if night + 1 - since >= _REACHED_NIGHTS:
            recent = float(np.median(logs[night + 1 - _REACHED_NIGHTS : night + 1]))
            if recent > level + _REACHED_SDS * anchor.sd:
                level, since = recent, night + 1
    return levels


@cache
def calibrated_limit(runs: int, cells: int) -> float:
    """Return the limit above which 3 % of quarters without a drift rise in any cell; simulated."""
    generator = np.random.default_rng(0)
    highest = np.empty(_QUARTERS)
    for quarter in range(_QUARTERS):
        base = generator.standard_normal((cells, runs))
        nights = generator.standard_normal((cells, _QUARTER))
        if cells >= FEWEST_CELLS:
            base -= np.median(base, axis=0)
            nights -= np.median(nights, axis=0)
        variance, df = moderate(base.var(axis=-1, ddof=1), np.full(cells, runs - 1.0))
        anchor = Anchor(
            mean=base.mean(axis=-1)[:, None],
            sd=np.sqrt(variance * (1 + 1 / runs))[:, None],  # type: ignore[arg-type]
            df=df[:, None],  # type: ignore[arg-type]
            signature="",
        )
        scores = np.minimum(anchor.scores(nights), _MOST_SCORE)
        highest[quarter] = cusum(scores, slack=NIGHTLY_SLACK).max()
    return float(np.quantile(highest, 1 - _FALSE_QUARTERS))


def judge_drift(history: Mapping[str, Sequence[Night]], baseline: Baseline) -> dict[str, Drift]:
    """Follow every cell of the baseline through its records since the approval.

    Records made before the newest run of the baseline, and of its own runs, are left out: the
    anchor was set after them.
    """
    series = _since_approval(history, baseline)
    levels = _levels(series, baseline)
    limit = calibrated_limit(min(map(len, baseline.cells.values())), len(baseline.cells))
    return {
        cell: detect_drift(
            [n.created_utc for n in nights],
            [n.rtfx / np.exp(levels.get(_date(n), 0.0)) for n in nights],
            anchor,
            slack=NIGHTLY_SLACK,
            limit=limit,
        )
        for cell, anchor in anchors(baseline).items()
        if (nights := series.get(cell))
    }


def judge_machine_drift(history: Mapping[str, Sequence[Night]], baseline: Baseline) -> Drift | None:
    """Follow what all cells share over the nights; None where there are too few cells or nights.

    Days differ for reasons of their own, and the ones after resemble them: an alarm needs a mean
    loss of half the margin besides (``LEAST_MACHINE_LOSS``).
    """
    series = _since_approval(history, baseline)
    shifts, dates = _levels(series, baseline), {}
    for nights in series.values():
        dates.update({_date(n): n.created_utc for n in nights})
    logs = [np.asarray(baseline.log_rtfx(cell)) for cell in baseline.cells]
    if not shifts or len({len(values) for values in logs}) > 1:
        return None
    table = np.stack(logs)
    levels = np.median(table - median(table)[:, None], axis=0)
    sd = max(float(levels.std(ddof=1)) * np.sqrt(1 + 1 / len(levels)), _LEAST_SD)
    anchor = Anchor(
        mean=float(np.median(levels)), sd=sd, df=len(levels) - 1.0, signature=baseline.signature
    )
    order = sorted(shifts, key=lambda n: (dates[n], n))
    found = detect_drift(
        [dates[n] for n in order],
        [float(np.exp(shifts[n])) for n in order],
        anchor,
        slack=NIGHTLY_SLACK,
    )
    return found if found.loss >= LEAST_MACHINE_LOSS else None


def _since_approval(
    history: Mapping[str, Sequence[Night]], baseline: Baseline
) -> dict[str, list[Night]]:
    own = {r.run_id for runs in baseline.cells.values() for r in runs}
    newest = max(r.created_utc for runs in baseline.cells.values() for r in runs)
    series = {}
    for cell in baseline.cells:
        since = [r for r in history.get(cell, ()) if r.run_id not in own and r.created_utc > newest]
        if since:
            series[cell] = _nightly(since)
    return series


def _nightly(runs: Sequence[Night]) -> list[Night]:
    """Return one entry a night, the median of its runs, under the name of its first."""
    nights: list[list[Night]] = []
    for run in sorted(runs, key=lambda r: (r.created_utc, r.run_id)):
        first = parse_utc(nights[-1][0].created_utc) if nights else None
        created = parse_utc(run.created_utc)
        if first is not None and created is not None and created - first < _NIGHT:
            nights[-1].append(run)
        else:
            nights.append([run])
    return [n[0]._replace(rtfx=float(np.median([r.rtfx for r in n]))) for n in nights]


def _date(night: Night) -> str:
    """Return what the cells of one night have in common: the run that it began with."""
    return night.run_id


def _levels(series: Mapping[str, Sequence[Night]], baseline: Baseline) -> dict[str, float]:
    """Return the machine's level by night, in log; none of nights with too few cells to tell."""
    centres = {cell: float(np.median(baseline.log_rtfx(cell))) for cell in series}
    shifts: dict[str, list[float]] = {}
    for cell, nights in series.items():
        for night in nights:
            if np.isfinite(night.rtfx) and night.rtfx > 0:
                shift = float(np.log(night.rtfx)) - centres[cell]
                shifts.setdefault(_date(night), []).append(shift)
    return {n: float(np.median(v)) for n, v in shifts.items() if len(v) >= FEWEST_CELLS}
