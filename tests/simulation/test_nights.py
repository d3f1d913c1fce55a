"""How often a night is told wrong, by the gate's own code, in the noises that machines have.

Each noise is of a run's log throughput in percent; a baseline and up to eleven runs of a night are
drawn anew for each of the nights. The slow test is the table of docs/measuring.md (1,000 nights a
row, seed 7); the fast one a sample of it. ``python -m tests.simulation.test_nights`` prints it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from w2v_core.config import MOST_RUNS
from w2v_core.verdict.calibrate import judge_runs
from w2v_core.verdict.decide import FAIL, INCONCLUSIVE, PASS, Policy

POLICY = Policy()
RUNS = 1 + MOST_RUNS
SEED = 7


def autoregressive(rng, shape, phi):
    """Return unit noise whose neighbours on the last axis correlate by ``phi``."""
    values = rng.standard_normal(shape)
    for i in range(1, shape[-1]):
        values[..., i] = phi * values[..., i - 1] + np.sqrt(1 - phi * phi) * values[..., i]
    return values


def by_night(values, effect, runs):
    """Add a (nights, ..., runs + 1) effect: each baseline run has its own, tonight's share one."""
    values[..., :runs] += effect[..., :runs]
    values[..., runs:] += effect[..., runs:]
    return values


def student(rng, shape, runs, df):
    return 0.7 * rng.standard_t(df, shape) / np.sqrt(df / (df - 2))


def slow_tail(rng, shape, runs):
    """Lognormal, shape 0.75, standard deviation 0.7 %, towards slower."""
    square = 0.75**2
    deviation = np.sqrt((np.exp(square) - 1) * np.exp(square))
    return -0.7 * (rng.lognormal(0, 0.75, shape) - np.exp(square / 2)) / deviation


def day_effect(rng, shape, runs):
    day = autoregressive(rng, (shape[0], runs + 1), 0.8)
    return by_night(0.5 * rng.standard_normal(shape), day[:, None, :], runs)


def best_of_four(rng, shape, runs):
    weeks = 0.7 * rng.standard_normal((shape[0], 4, shape[1], runs))
    best = weeks.mean(axis=(2, 3)).argmax(axis=1)
    tonight = 0.7 * rng.standard_normal((*shape[:2], shape[2] - runs))
    return np.concatenate((weeks[np.arange(shape[0]), best], tonight), axis=-1)


def cold(rng, shape, runs, where):
    values = 0.7 * rng.standard_normal(shape)
    values[..., 0 if where == "baseline" else runs] -= 5.0
    return values


def uneven_cells(rng, shape, runs):
    deviations = np.exp(rng.uniform(np.log(0.3), np.log(5.0), (*shape[:2], 1)))
    return deviations * rng.standard_normal(shape)


def alike_tonight(rng, shape, runs, phi):
    tonight = autoregressive(rng, (*shape[:2], shape[2] - runs), phi)
    return 0.7 * np.concatenate((rng.standard_normal((*shape[:2], runs)), tonight), axis=-1)


def subset(rng, shape, runs, phi):
    effect = autoregressive(rng, (shape[0], runs + 1), phi)
    values = 0.5 * rng.standard_normal(shape)
    by_night(values[:, : max(1, shape[1] // 3)], effect[:, None, :], runs)
    return values


def stuck(rng, shape, runs, per_cell):
    where = shape if per_cell else (shape[0], 1, shape[2])
    return 0.7 * rng.standard_normal(shape) - 10.0 * (rng.random(where) < 0.1)


def night_of_each_cell(rng, shape, runs, own, night):
    effect = night * rng.standard_normal((*shape[:2], runs + 1))
    return by_night(own * rng.standard_normal(shape), effect, runs)


def half_as_fast(rng, shape, runs, per_cell):
    where = shape if per_cell else (shape[0], 1, shape[2])
    return 0.7 * rng.standard_normal(shape) + 100 * np.log(0.5) * (rng.random(where) < 0.05)


def machine_in_two_modes(rng, shape, runs):
    return 0.5 * rng.standard_normal(shape) + 3.0 * (rng.random((shape[0], 1, shape[2])) < 0.5)


def warming(rng, shape, runs):
    values = 0.7 * rng.standard_normal(shape)
    values[..., runs:] -= 0.15 * np.arange(shape[2] - runs)
    return values


def drifted(rng, shape, runs):
    values = 0.7 * rng.standard_normal(shape)
    return values - 0.2 * np.minimum(np.arange(shape[2]), runs)


NOISES = {
    "normal 0.7 %": lambda rng, shape, runs: 0.7 * rng.standard_normal(shape),
    "normal 1.4 %": lambda rng, shape, runs: 1.4 * rng.standard_normal(shape),
    "Student t, 3 degrees, 0.7 %": lambda *a: student(*a, 3),
    "Student t, 2.5 degrees, 0.7 %": lambda *a: student(*a, 2.5),
    "lognormal slow tail, 0.7 %": slow_tail,
    "day effect 1 %, AR(1) 0.8, cells 0.5 %": day_effect,
    "best week of four as baseline": best_of_four,
    "first baseline run cold by 5 %": lambda *a: cold(*a, "baseline"),
    "tonight's first run cold by 5 %": lambda *a: cold(*a, "tonight"),
    "two modes 2 % apart": lambda rng, shape, runs: (
        0.4 * rng.standard_normal(shape) + 2.0 * (rng.random(shape) < 0.5)
    ),
    "cells of 0.3 to 5 %": uneven_cells,
    "runs of a night correlated by 0.5": lambda *a: alike_tonight(*a, 0.5),
    "runs of a night correlated by 0.8": lambda *a: alike_tonight(*a, 0.8),
    "night effect of each cell 0.5 %": lambda *a: night_of_each_cell(*a, 0.5, 0.5),
    "night effect of each cell 0.9 %, runs 0.5 %": lambda *a: night_of_each_cell(*a, 0.5, 0.9),
    "machine in two modes 3 % apart": machine_in_two_modes,
    "one run in twenty half as fast": lambda *a: half_as_fast(*a, False),
    "one run in twenty half as fast, cell by cell": lambda *a: half_as_fast(*a, True),
    "tonight's runs warm by 0.15 % each": warming,
    "Student t, 2 degrees, scale 0.5 %": lambda rng, shape, runs: 0.5 * rng.standard_t(2, shape),
    "a third of cells shares 1 %, AR(1) 0.8": lambda *a: subset(*a, 0.8),
    "a third of cells shares 1 %": lambda *a: subset(*a, 0.0),
    "one run in ten stuck by 10 %": lambda *a: stuck(*a, False),
    "one run in ten stuck, cell by cell": lambda *a: stuck(*a, True),
    "baseline drifts 0.2 % a night": drifted,
    "one run in ten five times as noisy": lambda rng, shape, runs: (
        np.where(rng.random(shape) < 0.1, 2.5, 0.5) * rng.standard_normal(shape)
    ),
}
"""(generator, (nights, cells, baseline runs + RUNS), baseline runs) to percent."""


@dataclass(frozen=True)
class Rates:
    """Percent of nights."""

    false_fail: float
    found: float
    missed: float
    undecided: float
    machine_found: float
    further_runs: float
    """A null night, on average."""


def by_night_of_runs(values, runs):
    return values[..., :runs] / 100, values[..., runs:] / 100


def simulate(noise, *, nights, cells, runs, planted=0.03, seed=SEED):
    """Judge null nights, nights that lost in one cell, and nights that lost in all."""
    rng = np.random.default_rng(seed)
    loss, counts, done = np.log1p(-planted), np.zeros(6), 0
    while done < nights:
        size = min(nights - done, 500)
        for kind in ("null", "cell", "all"):
            shape = (size, cells, runs + RUNS)
            baseline, tonight = by_night_of_runs(NOISES[noise](rng, shape, runs), runs)
            tonight[:, slice(0, {"null": 0, "cell": 1, "all": cells}[kind])] += loss
            codes, extra = judge_runs(baseline, tonight, policy=POLICY)
            if kind == "null":
                fails = (codes == FAIL).any(axis=-1)
                counts[0] += fails.sum()
                counts[3] += ((codes == INCONCLUSIVE).any(axis=-1) & ~fails).sum()
                counts[5] += extra.sum()
            elif kind == "cell":
                counts[1] += (codes[:, 0] == FAIL).sum()
                counts[2] += (codes[:, 0] == PASS).sum()
            else:
                counts[4] += (codes[:, -1] == FAIL).sum()
        done += size
    return Rates(*(float(c) for c in counts[:5] / nights * 100), float(counts[5] / nights))


def planted_in(noise):
    return 0.05 if noise == "normal 1.4 %" else 0.03


ISSUE_ROWS = tuple(NOISES)[:2] + tuple(NOISES)[2:3] + tuple(NOISES)[4:8]


@pytest.mark.parametrize("noise", ["normal 0.7 %", "lognormal slow tail, 0.7 %"])
def test_a_sample_of_nights_keeps_the_promise(noise):
    """200 nights of 24 cells against 8 runs: no more than 2 false FAIL, and -3 % is found."""
    found = simulate(noise, nights=200, cells=24, runs=8)

    assert found.false_fail <= 1.0
    assert found.found >= 88.0


@pytest.mark.slow
@pytest.mark.parametrize("cells", [24, 96])
@pytest.mark.parametrize("noise", ISSUE_ROWS)
def test_the_promise_holds_for_eight_baseline_runs(noise, cells):
    """At most 1 % of nights with a false FAIL; -3 % at 0.7 % found in 90 %, -5 % at 1.4 % in 95 %.

    Bounds are two standard errors wider than the promise, for the number of nights.
    """
    nights = 1000 if cells == 24 else 400
    found = simulate(noise, nights=nights, cells=cells, runs=8, planted=planted_in(noise))

    assert found.false_fail <= 1.0 + 200 * np.sqrt(0.01 * 0.99 / nights)
    assert found.found >= (95.0 if noise == "normal 1.4 %" else 90.0) - 2.0
    if noise == "normal 0.7 %":
        assert found.undecided <= 10.0
        assert found.machine_found >= 95.0


@pytest.mark.slow
@pytest.mark.parametrize("runs", [5, 8, 15])
@pytest.mark.parametrize("cells", [1, 3, 24])
@pytest.mark.parametrize("noise", NOISES)
def test_no_noise_makes_false_failures_common(noise, cells, runs):
    """Whatever the noise, at most 1 % of nights have a false FAIL; what cannot be told stays open.

    Against 5 runs at most 2 %: so few say little of what cells share (docs/measuring.md).
    """
    found = simulate(noise, nights=300, cells=cells, runs=runs, planted=planted_in(noise))
    promise = 2.0 if runs == 5 else 1.0

    assert found.false_fail <= promise + 200 * np.sqrt(promise / 100 / 300)


def row(noise, *, nights, cells, runs):
    """Return a row of docs/measuring.md."""
    found = [
        simulate(noise, nights=nights, cells=cells, runs=n, planted=planted_in(noise)) for n in runs
    ]
    names = ("false_fail", "found", "undecided", "machine_found", "further_runs")
    columns = [" / ".join(f"{getattr(one, name):.3g}" for one in found) for name in names]
    return f"| {cells} | {noise} | {' / '.join(map(str, runs))} | {' | '.join(columns)} |\n"


def main(nights=500):
    """Print the tables as Markdown."""
    for noise in ISSUE_ROWS:
        sys.stdout.write(row(noise, nights=nights, cells=24, runs=(5, 8, 15)))
    for noise in ISSUE_ROWS:
        sys.stdout.write(row(noise, nights=nights, cells=96, runs=(8,)))
    for noise in NOISES:
        if noise not in ISSUE_ROWS:
            sys.stdout.write(row(noise, nights=2 * nights, cells=24, runs=(8,)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
