"""Warm-up runs what a first run would cost, and no more."""

import pytest

from tests.helpers.engines import make_engine
from w2v_core.config import BatchPlan
from w2v_core.engine import engine as engines


@pytest.mark.parametrize(("asynchronous", "runs"), [(False, 1), (True, 3)])
def test_a_host_without_graphs_runs_its_largest_bucket_only(monkeypatch, asynchronous, runs):
    engine = make_engine(plan=BatchPlan(kind="quantile", num_buckets=3, batch_size=2))
    monkeypatch.setattr(engine.backend, "asynchronous", asynchronous, raising=False)
    ran = []
    alone = engines.Engine.run_alone

    def run_alone(self, batch, **options):
        ran.append(batch.bucket)
        return alone(self, batch, **options)

    monkeypatch.setattr(engines.Engine, "run_alone", run_alone)

    engine.warm_up([8_000, 16_000, 32_000])

    assert len(ran) == runs
    assert ran[0] == max(engine.buckets)
