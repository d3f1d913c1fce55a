"""Slow drift: a cumulative sum of nights against a fixed, signed anchor.

A comparison with last night, or with last week's mean, follows a slow decline down. The anchor is
the baseline in force: it moves by an approval only, and carries its signature.

Source: the one-sided CUSUM of Page, "Continuous inspection schemes" (Biometrika 41, 1954), as in
Montgomery, "Introduction to Statistical Quality Control", section 9.1: with ``z`` the night's loss
in standard deviations, ``S = max(0, S + z - k)``, and an alarm where ``S > h``. The change began on
the night after ``S`` was last zero. The anchor's deviation is an estimate from few runs, so losses
are t distributed and enter as normal scores (Quesenberry, J. Quality Technology 23(3), 1991).

What raises a suspicion, a sum above a part of the limit, is measured again in fresh processes of
the same night. A night of several runs says more, for as well as against: its step counts by as
much as its variance is smaller (the log-likelihood ratio of a step, whose CUSUM Page's is). So a
real drift is found nights earlier, and a chance one is gone by morning. One night counts for at
most ``_MOST_STEP``, and the sum for at most a quarter more than the limit, so that an alarm ends
within a few nights of the level's return. The limit is simulated (cusum.py).

Where a cell was faster for five nights by three deviations, that is the level that it is held to
from then on. An alarm that somebody acknowledged holds the cell to what it had lost by then.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from w2v_core.errors import RecordError
from w2v_core.records.history_table import Night
from w2v_core.verdict.baseline import Acknowledgement, Baseline
from w2v_core.verdict.cusum import (
    LIMIT,
    MOST_FRESH,
    NIGHTLY_SLACK,
    SLACK,
    SUSPICION,
    calibrated_limit,
    cusum,
    normal_scores,
    steps,
)
from w2v_core.verdict.fitness import parse_utc
from w2v_core.verdict.robust import FEWEST_CELLS, LEAST_SD, median
from w2v_core.verdict.series import Value, follow
from w2v_core.verdict.statistics import Floats, moderate

LEAST_MACHINE_LOSS = 0.015
"""Mean loss, a fraction, from which a drift of all cells is an alarm."""
MACHINE = "machine"
"""The name under which its drift is acknowledged; no cell is called so."""
_MOST_SUM = 1.25  # times the limit
_REACHED_NIGHTS = 5  # in a row, by their median
_REACHED_SDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where a cell's throughput was when it was approved, in log RTFx."""

    mean: float
    sd: float
    """Predictive standard deviation of one run: the runs' own, and the anchor's uncertainty."""
    df: float
    """Degrees of freedom of the deviation, those borrowed from other cells included."""
    signature: str
    """The approval that set it."""
    runs: int = 0
    """Of the baseline; 0 is an anchor that is known."""

    def scores(self, log_rtfx: Floats) -> Floats:
        """Return (..., nights) losses against the anchor as normal scores; above 0 is slower."""
        return normal_scores((log_rtfx - self.mean) / self.sd, self.df)


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
    reached: float = 0.0
    """How much above the anchor the level is that it is held to now, a fraction."""
    card: str = ""
    """Whose nights these are, where the history knows several cards."""


def anchors(baseline: Baseline) -> dict[str, Anchor]:
    """Take the anchor of every cell from the baseline in force."""
    cells = list(baseline.cells)
    logs = _separated([np.asarray(baseline.log_rtfx(cell)) for cell in cells])
    counts = np.asarray([float(len(values)) for values in logs])
    variances = np.asarray([values.var(ddof=1) for values in logs])
    moderated, df = moderate(variances, counts - 1)
    sds = np.maximum(np.sqrt(moderated * (1.0 + 1.0 / counts)), LEAST_SD)
    return {
        cell: Anchor(
            mean=float(values.mean()),
            sd=float(sd),
            df=float(d),
            signature=baseline.signature,
            runs=len(values),
        )
        for cell, values, sd, d in zip(cells, logs, sds, df, strict=True)
    }


def _separated(logs: Sequence[Floats]) -> list[Floats]:
    """Take the machine's level out of the baseline's runs, where all cells have the same runs."""
    if len(logs) < FEWEST_CELLS or len({len(values) for values in logs}) > 1:
        return list(logs)
    table = np.stack(logs)
    return list(table - np.median(table - median(table)[:, None], axis=0))


def detect_drift(
    nights: Sequence[str],
    rtfx: Sequence[float],
    anchor: Anchor,
    *,
    slack: float = SLACK,
    limit: float = LIMIT,
    fresh_runs: Sequence[int] | None = None,
    accepted: Sequence[tuple[str, float]] = (),
) -> Drift:
    """Follow one cell over its nights, oldest first.

    Args:
        nights: ISO 8601, UTC.
        rtfx: By night.
        anchor: What they are held to.
        slack: k.
        limit: h.
        fresh_runs: By night, the runs after the first that ``rtfx`` stands for; 0 is one run.
        accepted: (time, loss as a fraction) from when on a loss is acknowledged, oldest first.

    Raises:
        RecordError: a throughput is not a positive number, or nights and values differ in count.
    """
    values = np.asarray(rtfx, dtype=np.float64)
    if len(nights) != len(values) or not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise RecordError(f"{len(nights)} nights with RTFx {list(rtfx)[:5]}: need positive numbers")
    logs = np.log(values)
    restarts = _restarts(nights, accepted)
    levels = _levels(logs, anchor, restarts)
    counts = np.asarray(fresh_runs if fresh_runs is not None else [0] * len(values))
    scores = anchor.scores(logs - levels + anchor.mean)
    added = steps(scores, counts, anchor.runs, slack=slack)
    parts = np.split(added, sorted(restarts)) if restarts else [added]
    sums = np.concatenate([cusum(part, most=_MOST_SUM * limit) for part in parts])
    scaled = tuple(sums * (LIMIT / limit))
    gain = float(np.expm1(levels[-1] - anchor.mean)) if len(levels) else 0.0
    calm = Drift(
        statistic=scaled, alarm_night=None, change_night=None, loss=0.0, reached=max(gain, 0.0)
    )
    return (
        calm
        if not sums.size or sums[-1] <= limit
        else _alarm(calm, nights, sums / limit, levels - logs)
    )


def _alarm(calm: Drift, nights: Sequence[str], sums: Floats, losses: Floats) -> Drift:
    """Say since when the last night's sum is above 1, and what was lost since it began."""
    quiet = np.flatnonzero(sums <= 1)
    alarm = int(quiet[-1]) + 1 if quiet.size else 0
    zeros = np.flatnonzero(sums[:alarm] == 0.0)
    change = int(zeros[-1]) + 1 if zeros.size else 0
    return replace(
        calm,
        alarm_night=nights[alarm],
        change_night=nights[change],
        loss=float(-np.expm1(-losses[change:].mean())),
    )


def _restarts(nights: Sequence[str], accepted: Sequence[tuple[str, float]]) -> dict[int, float]:
    """Return the losses that are acknowledged, by the first night that they hold for."""
    found: dict[int, float] = {}
    for when, loss in accepted:
        later = [i for i, night in enumerate(nights) if is_after(night, when)]
        if later:
            found[later[0]] = loss
    return found


def is_after(night: str, moment: str) -> bool:
    """Whether a night began after a moment; both ISO 8601."""
    one, other = parse_utc(night), parse_utc(moment)
    return one is not None and other is not None and one > other


def _levels(logs: Floats, anchor: Anchor, restarts: Mapping[int, float]) -> Floats:
    """Return (nights,) the level that each night is held to.

    It is the anchor's, a better one that was reached, or a worse one that was acknowledged. A level
    is reached when the median of five nights is three deviations above the last one.
    """
    levels, level, since = np.empty_like(logs), anchor.mean, 0
    for night in range(len(logs)):
        if night in restarts:
            level, since = anchor.mean + float(np.log1p(-restarts[night])), night
        levels[night] = level
        if night + 1 - since >= _REACHED_NIGHTS:
            recent = statistics.median(logs[night + 1 - _REACHED_NIGHTS : night + 1].tolist())
            if recent > level + _REACHED_SDS * anchor.sd:
                level, since = recent, night + 1
    return levels


def judge_drift(history: Mapping[str, Sequence[Night]], baseline: Baseline) -> dict[str, Drift]:
    """Follow every cell of the baseline through its records since the approval.

    The nights are those of the newest run's card. Records made before the newest run of the
    baseline, and of its own runs, are left out: the anchor was set after them.
    """
    series = follow(history, baseline)
    limit = calibrated_limit(min(map(len, baseline.cells.values())), len(baseline.cells))
    card = series.card if series.cards > 1 else ""
    return {
        cell: replace(_followed(nights, anchor, baseline, name=cell, limit=limit), card=card)
        for cell, anchor in anchors(baseline).items()
        if (nights := series.cells.get(cell))
    }


def judge_machine_drift(history: Mapping[str, Sequence[Night]], baseline: Baseline) -> Drift | None:
    """Follow what all cells share over the nights; None where there are too few cells or nights.

    Days differ for reasons of their own, and the ones after resemble them: an alarm needs a mean
    loss of half the margin besides (``LEAST_MACHINE_LOSS``).
    """
    series = follow(history, baseline)
    logs = [np.asarray(baseline.log_rtfx(cell)) for cell in baseline.cells]
    if not series.machine or len({len(values) for values in logs}) > 1:
        return None
    table = np.stack(logs)
    levels = np.median(table - median(table)[:, None], axis=0)
    anchor = Anchor(
        mean=float(np.median(levels)),
        sd=max(float(levels.std(ddof=1)) * np.sqrt(1 + 1 / len(levels)), LEAST_SD),
        df=len(levels) - 1.0,
        signature=baseline.signature,
    )
    found = _followed(series.machine, anchor, baseline, name=MACHINE, limit=LIMIT)
    card = series.card if series.cards > 1 else ""
    return replace(found, card=card) if found.loss >= LEAST_MACHINE_LOSS else None


def suspects(history: Mapping[str, Sequence[Night]], baseline: Baseline) -> tuple[str, ...]:
    """Return the cells whose last night has to be measured again before drift is judged.

    Their sum is above a part of the limit, and the night has few fresh runs of them.
    """
    nights = follow(history, baseline).cells
    limit = calibrated_limit(min(map(len, baseline.cells.values())), len(baseline.cells))
    return tuple(
        cell
        for cell, drift in judge_drift(history, baseline).items()
        if drift.statistic[-1] * (limit / LIMIT) > SUSPICION
        and nights[cell][-1].fresh_runs < MOST_FRESH
    )


def _followed(
    nights: Sequence[Value], anchor: Anchor, baseline: Baseline, *, name: str, limit: float
) -> Drift:
    return detect_drift(
        [value.night for value in nights],
        [float(np.exp(value.log_rtfx)) for value in nights],
        anchor,
        slack=NIGHTLY_SLACK,
        limit=limit,
        fresh_runs=[value.fresh_runs for value in nights],
        accepted=_accepted(baseline.acknowledged, name),
    )


def _accepted(acknowledged: Sequence[Acknowledgement], name: str) -> list[tuple[str, float]]:
    return [(a.acknowledged_utc, a.losses[name]) for a in acknowledged if name in a.losses]
