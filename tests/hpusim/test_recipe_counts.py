"""The record tells what the recipe cache gave: the bridge's metric of it, where that is on."""

from __future__ import annotations

import pytest

from tests import hpusim
from w2v_core.backends.hpu_probe import load_bridge

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


def test_hits_and_misses_are_counted_apart_and_by_difference() -> None:
    from w2v_core.backends.hpu import HpuBackend

    with hpusim.fresh(hpusim.Config(cache_metrics=True)) as device:
        backend = HpuBackend(load_bridge())
        device.metrics.recipe(hit=False)
        before = backend.counters()
        for hit in (True, True, False):
            device.metrics.recipe(hit=hit)
        since = backend.counters() - before

    assert (since.recipe_hits, since.recipe_misses) == (2, 1)


def test_without_the_vendors_switch_nothing_is_claimed() -> None:
    from w2v_core.backends.hpu import HpuBackend

    with hpusim.fresh(hpusim.Config(cache_metrics=False)):
        counters = HpuBackend(load_bridge()).counters()

    assert (counters.recipe_hits, counters.recipe_misses) == (None, None)
