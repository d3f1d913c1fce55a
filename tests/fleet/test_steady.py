"""When a level of a soak leaks, and when a speed has left its interval, on series of their shape.

The noise is that of soaks that ran (``host_bytes``): a floor that is constant to the byte, buffers
that are in use at the end of some passes, and a rise to the level of a process that has warmed up.
"""

import numpy as np
import pytest

from w2v_core.fleet.steady import LEAST_PASSES, LIMITS, slope_of, slowest_block
from w2v_core.verdict.decide import Policy

BUFFER = 7_200_000
ALPHA = Policy().family_alpha / 16
LIMIT = LIMITS["host_bytes"]


def level_of(passes, *, seed, batches=10):
    """A clean process: steps while it warms up, then buffers that come and go."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.integers(0, 3, passes) * (rng.random(passes) < 0.3) * BUFFER)
    warm = np.minimum(np.arange(passes), passes // 8)
    busy = rng.choice([0, 1, 2], passes, p=[0.8, 0.15, 0.05]) * BUFFER
    return np.arange(1, passes + 1) * batches, 430e6 + steps[warm] + busy


def leaks(x, y, limit=LIMIT):
    return slope_of(x, y, limit=limit, alpha=ALPHA).is_leak


def test_a_leak_of_one_kilobyte_a_batch_is_found_within_2000_batches():
    series = [level_of(200, seed=seed) for seed in range(100)]

    assert sum(leaks(x, y + 1000 * x) for x, y in series) >= 99


def test_clean_soaks_of_5000_batches_are_clean():
    assert not any(leaks(*level_of(500, seed=seed)) for seed in range(100))


def test_one_step_at_any_place_is_no_leak():
    x = np.arange(1, 401) * 10.0

    assert not any(leaks(x, 1e8 + 5e7 * (x > at)) for at in range(0, 4000, 50))


def test_a_level_that_flattens_is_no_leak():
    x = np.arange(1, 401) * 10.0

    assert not leaks(x, 1e8 + 4000 * np.minimum(x, 2800))


def test_what_the_first_fifth_of_the_passes_holds_says_nothing():
    x, y = level_of(200, seed=1)
    wild = np.concatenate([np.random.default_rng(2).uniform(0, 1e9, 40), y[40:]])

    assert slope_of(x, wild, limit=0.0, alpha=ALPHA) == slope_of(x, y, limit=0.0, alpha=ALPHA)


def test_caches_that_fill_slower_and_slower_are_no_leak():
    """Python's blocks over the first 20 passes of 3 batches, as a soak had them."""
    grown = [84, 63, 71, 61, 49, 44, 35, 44, 39, 37, 26, 29, 20, 17, 20, 26, 20, 23, 22, 10]
    x = np.arange(1, len(grown) + 1) * 3.0

    assert not leaks(x, 1.5e6 + np.cumsum(grown), LIMITS["python_blocks"])


def test_growth_below_the_limit_is_no_leak_and_above_it_is():
    x = np.arange(1, 401) * 10.0

    assert not leaks(x, 1e8 + 0.9 * LIMIT * x)
    assert leaks(x, 1e8 + 1.1 * LIMIT * x)


@pytest.mark.parametrize("level", ["descriptors", "threads", "graphs"])
def test_one_descriptor_in_ten_passes_is_a_leak(level):
    x = np.arange(1, 401) * 10.0

    assert leaks(x, 5 + np.arange(400) // 10, LIMITS[level])
    assert not leaks(x, 5 + (np.arange(400) > 200), LIMITS[level])


def test_fewer_passes_than_say_anything_are_not_judged():
    x = np.arange(1, LEAST_PASSES) * 10.0

    assert slope_of(x, x, limit=0.0, alpha=ALPHA) is None
    assert slowest_block(list(x), alpha=ALPHA, policy=Policy()) is None


def slowest(rtfx):
    return slowest_block(list(rtfx), alpha=ALPHA, policy=Policy())


def speeds(passes, *, seed, sd=0.02):
    return 1000 * np.exp(np.random.default_rng(seed).normal(0.0, sd, passes))


def test_an_even_speed_stays_within_its_interval():
    assert not any(slowest(speeds(500, seed=seed)) for seed in range(100))


def test_a_few_slow_passes_are_no_throttling():
    rtfx = speeds(500, seed=1)
    rtfx[::40] *= 0.3

    assert slowest(rtfx) is None


def test_a_clock_that_is_lowered_for_a_tenth_of_the_passes_is_located():
    rtfx = speeds(500, seed=1)
    rtfx[300:350] *= 0.85
    found = slowest(rtfx)

    assert 285 <= found.first <= found.last <= 365
    assert found.ratio == pytest.approx(0.85, abs=0.02)
    assert found.upper < 0.97


def test_a_loss_within_the_margin_is_none():
    rtfx = speeds(2000, seed=1)
    rtfx[1000:] *= 0.98

    assert slowest(rtfx) is None
