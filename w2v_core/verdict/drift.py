"""Slow drift: a cumulative sum of nights against a fixed, signed anchor.

A comparison with last night, or with last week's mean, follows a slow decline down. The anchor is
the baseline in force: it moves by an approval only, and carries its signature.

Source: the one-sided CUSUM of Page, "Continuous inspection schemes" (Biometrika 41, 1954), as in
Montgomery, "Introduction to Statistical Quality Control", section 9.1: with ``z`` the night's loss
in standard deviations, ``S = max(0, S + z - k)``, and an alarm where ``S > h``. The change began on
the night after ``S`` was last zero. The anchor's deviation is an estimate from few runs, so losses
are t distributed and enter as normal scores (Quesenberry, J. Quality Technology 23(3), 1991).

With k = 1, h = 7, 24 cells and 5 runs each, simulated (tests/unit/test_verdict_drift.py): 0.3 % a
night at a deviation of 0.5 % is found within 10 nights in 99.9 %; false alarms 0.6 % of the cells
per 30 nights. A baseline of a single cell needs 7 runs to stay under 1 % (0.9 %; 1.5 % with 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from w2v_core.errors import RecordError
from w2v_core.records.history_table import Night
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.statistics import Floats, moderate

SLACK = 1.0
"""k: losses below one standard deviation are noise."""
LIMIT = 7.0
"""h: the sum that raises the alarm, in standard deviations."""
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
    """What a series of nights did against its anchor; a pass where no alarm was raised."""

    statistic: tuple[float, ...]
    """The cumulative sum by night."""
    alarm_night: str | None
    """The first night above the limit."""
    change_night: str | None
    """The night on which the drift began that raised the alarm."""
    loss: float
    """Mean loss against the anchor since the change night, a fraction; 0 without an alarm."""


def anchors(baseline: Baseline) -> dict[str, Anchor]:
    """Take the anchor of every cell from the baseline in force."""
    cells = list(baseline.cells)
    logs = [np.asarray(baseline.log_rtfx(cell)) for cell in cells]
    counts = np.asarray([float(len(values)) for values in logs])
    variances = np.asarray([values.var(ddof=1) for values in logs])
    moderated, df = moderate(variances, counts - 1)
    sds = np.maximum(np.sqrt(moderated * (1.0 + 1.0 / counts)), _LEAST_SD)
    return {
        cell: Anchor(mean=float(v.mean()), sd=float(sd), df=float(d), signature=baseline.signature)
        for cell, v, sd, d in zip(cells, logs, sds, df, strict=True)
    }


def cusum(scores: Floats, *, slack: float = SLACK) -> Floats:
    """Accumulate (..., nights) scores into the sums by night, same shape; the last axis is time."""
    sums = np.zeros_like(scores)
    current = np.zeros(scores.shape[:-1])
    for night in range(scores.shape[-1]):
        current = np.maximum(0.0, current + scores[..., night] - slack)
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
    sums = cusum(anchor.scores(np.log(values)), slack=slack)
    over = np.flatnonzero(sums > limit)
    if over.size == 0:
        return Drift(statistic=tuple(sums), alarm_night=None, change_night=None, loss=0.0)
    alarm = int(over[0])
    zeros = np.flatnonzero(sums[:alarm] == 0.0)
    change = int(zeros[-1]) + 1 if zeros.size else 0
    since = anchor.mean - float(np.log(values[change:]).mean())
    return Drift(
        statistic=tuple(sums),
        alarm_night=nights[alarm],
        change_night=nights[change],
        loss=float(-np.expm1(-since)),
    )


def judge_drift(history: Mapping[str, Sequence[Night]], baseline: Baseline) -> dict[str, Drift]:
    """Follow every cell of the baseline through its records since the approval.

    Records made before the newest run of the baseline, and of its own runs, are left out: the
    anchor was set after them.
    """
    own = {r.run_id for runs in baseline.cells.values() for r in runs}
    newest = max(r.created_utc for runs in baseline.cells.values() for r in runs)
    found = {}
    for cell, anchor in anchors(baseline).items():
        nights = sorted(
            (r for r in history.get(cell, ()) if r.run_id not in own and r.created_utc > newest),
            key=lambda r: (r.created_utc, r.run_id),
        )
        if nights:
            found[cell] = detect_drift(
                [r.created_utc for r in nights], [r.rtfx for r in nights], anchor
            )
    return found
