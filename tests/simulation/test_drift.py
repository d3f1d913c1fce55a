"""Drift over quarters of 90 nights: false alarms, and how soon a planted one is found.

By judge's own sums and limits; normal noise of 0.7 %, and a day effect of 0.3 % (AR(1), 0.8) with
cells of 0.5 %. 24 cells against 8 runs; seed 7. Without fresh runs: history alone.
"""

from __future__ import annotations

import numpy as np
import pytest

from w2v_core.verdict.drift import NIGHTLY_SLACK, Anchor, calibrated_limit, cusum
from w2v_core.verdict.statistics import moderate

NIGHTS = 90


def sums(noise, *, quarters, loss=0.0, step=0.0, cells=24, runs=8, seed=7):
    """Return (quarters, cells, nights) sums over their limit; cell 0 loses from the first night."""
    rng = np.random.default_rng(seed)
    sd = 0.7 if noise == "normal" else 0.5
    values = sd * rng.standard_normal((quarters, cells, runs + NIGHTS))
    if noise == "day effect":
        day = rng.standard_normal((quarters, runs + NIGHTS))
        for i in range(1, day.shape[1]):
            day[:, i] = 0.8 * day[:, i - 1] + 0.6 * day[:, i]
        values += 0.3 * day[:, None, :]
    values[:, 0, runs:] -= step + loss * np.minimum(np.arange(1, NIGHTS + 1), 20)
    values -= np.median(values, axis=1, keepdims=True)
    base, nights = values[..., :runs], values[..., runs:]
    variance, df = moderate(base.var(axis=-1, ddof=1), np.full(base.shape[:2], runs - 1.0))
    anchor = Anchor(
        mean=base.mean(axis=-1)[..., None],
        sd=np.sqrt(variance * (1 + 1 / runs))[..., None],
        df=df[..., None],
        signature="",
    )
    scores = np.minimum(anchor.scores(nights), 4.0)
    return cusum(scores, slack=NIGHTLY_SLACK) / calibrated_limit(runs, cells)


@pytest.mark.parametrize("noise", ["normal", "day effect"])
def test_few_quarters_without_a_drift_have_an_alarm(noise):
    """At most 5 % of quarters, over all 24 cells and 90 nights, with room for 300 of them."""
    alarms = (sums(noise, quarters=300) > 1).any(axis=(1, 2)).mean()

    assert alarms <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_a_slow_drift_is_found():
    """0.3 % a night at 0.7 %: by night 12 in 95 %, by the history alone."""
    found = sums("normal", quarters=300, loss=0.3)[:, 0] > 1

    assert found[:, :12].any(axis=1).mean() >= 0.95
