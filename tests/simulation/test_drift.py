"""Drift over quarters of 90 nights: false alarms, and how soon a planted one is found.

By judge's own sums, limits and gate, suspicions measured again in up to eight fresh runs of the
night. Normal noise of 0.7 %; a day effect of 0.3 % (AR(1), 0.8) with cells of 0.5 %; and Student's
t of 3 degrees, 0.7 %. 24 cells against 8 runs of a baseline; seed 7.
``python -m tests.simulation.test_drift`` prints the rates.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from tests.simulation.drift_limits import follow_quarters, simulated_limit
from w2v_core.verdict.calibrate import judge_runs
from w2v_core.verdict.cusum import (
    LIMIT,
    MOST_FRESH,
    NIGHTLY_SLACK,
    calibrated_limit,
)
from w2v_core.verdict.decide import FAIL, Policy
from w2v_core.verdict.drift import LEAST_MACHINE_LOSS, Anchor, detect_drift

NIGHTS = 90
CONTROLS = 8
NOISES = {"normal": 0.7, "day effect": 0.5, "t3": 0.7}


@dataclass(frozen=True)
class Quarters:
    """Percent, in logs; what a night's runs share is in ``day``."""

    base: np.ndarray
    nights: np.ndarray
    fresh: np.ndarray
    day: np.ndarray
    loss: np.ndarray


def drawn(noise, *, quarters, nights=NIGHTS, loss=0.0, step=0.0, cells=24, runs=8, seed=7):
    """Draw quarters; cell 0 loses from the first night."""
    rng = np.random.default_rng(seed)
    deviation = NOISES[noise]

    def draw(*shape):
        if noise == "t3":
            return deviation * rng.standard_t(3, shape) / np.sqrt(3)
        return deviation * rng.standard_normal(shape)

    day = 0.3 * rng.standard_normal((quarters, runs + nights)) if noise == "day effect" else None
    if day is not None:
        for i in range(1, day.shape[1]):
            day[:, i] = 0.8 * day[:, i - 1] + 0.6 * day[:, i]
    return Quarters(
        base=draw(quarters, cells, runs),
        nights=draw(quarters, cells, nights),
        fresh=draw(quarters, cells, nights, MOST_FRESH),
        day=np.zeros((quarters, runs + nights)) if day is None else day,
        loss=step + loss * np.minimum(np.arange(1, nights + 1), 40),
    )


def drift(q):
    """Return (quarters, cells, nights) whether drift raises an alarm, and fresh runs by night."""
    base = q.base - np.median(q.base, axis=1, keepdims=True)
    nights = q.nights.copy()
    nights[:, 0] -= q.loss
    nights -= np.median(nights, axis=1, keepdims=True)

    def fresh(night, where):
        found = q.fresh[:, :, night].copy()
        found[:, 0] -= q.loss[night]
        found -= np.median(found[:, -CONTROLS:], axis=1, keepdims=True)  # of the controls
        return found[where]

    sums, asked = follow_quarters(base / 100, nights / 100, lambda n, w: fresh(n, w) / 100)
    return sums > calibrated_limit(base.shape[2], base.shape[1]), asked


def gate(q):
    """Return (quarters, cells + 1, nights) whether the gate fails a cell, or the machine."""
    runs, failed = q.base.shape[2], []
    base = (q.base + q.day[:, None, :runs]) / 100
    for night in range(q.nights.shape[2]):
        tonight = np.concatenate((q.nights[:, :, night, None], q.fresh[:, :, night]), axis=-1)
        tonight[:, 0] -= q.loss[night]
        tonight += q.day[:, runs + night, None, None]
        codes, _ = judge_runs(base, tonight / 100, policy=Policy())
        failed.append(codes == FAIL)
    return np.stack(failed, axis=-1)


def machine(q):
    """Return (quarters,) whether the machine's drift raises an alarm on any night."""
    runs, alarms = q.base.shape[2], []
    values = np.concatenate((q.base, q.nights), axis=2) + q.day[:, None, :]
    for levels in np.median(values, axis=1) / 100:
        sd = levels[:runs].std(ddof=1) * np.sqrt(1 + 1 / runs)
        anchor = Anchor(mean=np.median(levels[:runs]), sd=sd, df=runs - 1.0, signature="")

        def follow(nights, anchor=anchor, levels=levels):
            return detect_drift(
                [f"{n:03}" for n in range(nights)],
                np.exp(levels[runs : runs + nights]),
                anchor,
                slack=NIGHTLY_SLACK,
            )

        above = np.flatnonzero(np.asarray(follow(q.nights.shape[2]).statistic) > LIMIT)
        alarms.append(any(follow(n + 1).loss >= LEAST_MACHINE_LOSS for n in above))
    return np.asarray(alarms)


def most(share, count):
    """Return what a rate of ``share`` stays below in so many quarters, two standard errors on."""
    return share + 2 * np.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize("noise", ["normal", "day effect"])
def test_few_quarters_without_a_drift_have_an_alarm(noise):
    """At most 5 % of quarters, over all 24 cells, the machine and 90 nights."""
    q = drawn(noise, quarters=100)
    alarms = drift(q)[0].any(axis=(1, 2)) | machine(q)

    assert alarms.mean() <= most(0.05, 100)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["normal", "day effect"])
def test_few_quarters_are_red_by_gate_or_drift(noise):
    """At most 10 % of quarters with any false alarm or false FAIL; drift alone 5 %."""
    q = drawn(noise, quarters=400)
    alarms = drift(q)[0].any(axis=(1, 2)) | machine(q)

    assert alarms.mean() <= most(0.05, 400)
    assert (alarms | gate(q).any(axis=(1, 2))).mean() <= most(0.10, 400)


@pytest.mark.parametrize(
    ("planted", "night"), [({"loss": 0.3}, 8), ({"step": 2.0}, 6)], ids=["0.3%-a-night", "2%-step"]
)
def test_a_planted_drift_is_found_soon(planted, night):
    """0.3 % a night by night 8, a step of 2 % by night 6: by gate or drift in 95 %, sd 0.7 %."""
    q = drawn("normal", quarters=200, nights=night, **planted)
    found = (drift(q)[0][:, 0] | gate(q)[:, 0]).any(axis=1)

    assert found.mean() >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(
    ("runs", "cells"),
    [
        (10, 1),
        (8, 4),
        *(pytest.param(r, c, marks=pytest.mark.slow) for r, c in ((8, 24), (15, 96))),
    ],
)
def test_the_limits_that_ship_are_those_that_are_simulated(runs, cells):
    """With another seed than the table's; a quantile of few quarters varies by a quarter."""
    again = simulated_limit(runs, cells, quarters=1_000, seed=1)

    assert calibrated_limit(runs, cells) == pytest.approx(again, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "cells"), [(7, 24), (9, 60)])
def test_between_its_entries_the_table_is_no_lower_than_what_is_simulated(runs, cells):
    assert calibrated_limit(runs, cells) >= 0.8 * simulated_limit(runs, cells, seed=1)


@pytest.mark.slow
def test_a_suspicion_costs_little():
    """Less than one fresh process a night, of a few cells and their controls."""
    assert drift(drawn("normal", quarters=100))[1].mean() <= 1.0


def main(quarters=400):
    """Print the rates."""
    for noise in NOISES:
        q = drawn(noise, quarters=quarters)
        found, asked = drift(q)
        cells, level, failed = found.any(axis=(1, 2)), machine(q), gate(q).any(axis=(1, 2))
        rates = [cells, cells | level, failed, cells | level | failed]
        told = " | ".join(f"{rate.mean() * 100:.3g}" for rate in rates)
        sys.stdout.write(f"| {noise} | {told} | {asked.mean():.2f} |\n")
        for planted, last in (({"loss": 0.3}, 8), ({"step": 2.0}, 6)):
            q = drawn(noise, quarters=quarters, nights=10, **planted)
            alone, both = drift(q)[0][:, 0], gate(q)[:, 0]
            by = [
                f"{(x[:, :last].any(axis=1)).mean() * 100:.3g}" for x in (alone, both, alone | both)
            ]
            sys.stdout.write(f"{noise}, {planted}: by night {last}: {' / '.join(by)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
