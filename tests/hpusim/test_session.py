"""The simulated device of a whole session: its work takes time, so that batches overlap."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests import hpusim
from tests.hpusim.plugin import session_config
from tests.hpusim.steady import cheap_engine, short_utterances
from w2v_core.backends.hpu import HpuBackend
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.config import BatchPlan, EngineConfig

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]

ROOT = Path(__file__).resolve().parents[2]
LEG = re.compile(r"--simulate-hpu --limit (\d+) .*--buckets (\d+) --batch-size (\d+)")


@pytest.mark.parametrize("graphs", [True, False])
def test_every_slot_is_in_flight_at_once(monkeypatch: pytest.MonkeyPatch, graphs: bool) -> None:
    with hpusim.fresh(session_config({"PT_HPU_LAZY_MODE": "1"})):
        plan = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)
        engine = cheap_engine(HpuBackend(load_bridge()), monkeypatch, graphs=graphs, plan=plan)
        launch, in_flight = engine.runner.launch, []

        def launch_and_count(*args: Any, **kwargs: Any) -> None:
            launch(*args, **kwargs)
            in_flight.append(1 + len(engine.ring.in_flight))

        monkeypatch.setattr(engine.runner, "launch", launch_and_count)
        engine.transcribe(short_utterances())
    assert max(in_flight) == engine.config.num_slots > 1


@pytest.mark.parametrize("path", [".ci/run", "README.md", "CONTRIBUTING.md", "docs/gaudi.md"])
def test_the_leg_has_more_batches_than_slots_twice_over_in_every_bucket(path: str) -> None:
    found = LEG.search((ROOT / path).read_text())
    assert found is not None
    limit, buckets, batch_size = map(int, found.groups())
    assert buckets == 1  # with more, how the corpus falls on them would count
    assert limit // batch_size > 2 * EngineConfig().num_slots
