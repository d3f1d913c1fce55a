"""How much of the time the device waits for the host, in virtual time: exact, not measured."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests import hpusim
from tests.hpusim.steady import cheap_engine, repeated, short_utterances
from w2v_core.backends.hpu import HpuBackend
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.engine import pipeline

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]

REPLAY_S = 2e-3
IDLE_LIMIT = 0.02  # fraction of the virtual time between the first and the last replay counted
HOST_S = {"replay": 450e-6, "op": 45e-6, "copy": 200e-6, "event": 5e-6}
"""Host seconds of a call: a replay and an op as measured for this simulator's host side, a copy
with room for filling the pinned buffer."""
WARM_UP_BATCHES = 8


def device() -> hpusim.Config:
    return hpusim.Config(
        latency=lambda op, nbytes: nbytes / 20e9 if op == "copy" else 2e-6,
        replay_s=REPLAY_S,
        host_cost=HOST_S.__getitem__,
    )


def idle_fraction(monkeypatch: pytest.MonkeyPatch, rt: hpusim.Runtime) -> float:
    """Run one long pass; return the idle fraction of the compute stream in steady state."""
    seen: list[tuple[float, float]] = []
    launch = pipeline.Pipeline._launch

    def launch_and_look(self: pipeline.Pipeline, *args: Any) -> None:
        launch(self, *args)
        seen.append((rt.streams[0].time, rt.streams[0].busy_s))

    monkeypatch.setattr(pipeline.Pipeline, "_launch", launch_and_look)
    engine = cheap_engine(HpuBackend(load_bridge()), monkeypatch, graphs=True)
    engine.transcribe(repeated(short_utterances(), 6))
    (start, busy_before), (end, busy_after) = seen[WARM_UP_BATCHES], seen[-1]
    return max(0.0, 1.0 - (busy_after - busy_before) / (end - start))


def test_host_leaves_the_device_idle_at_most_two_percent(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hpusim.fresh(device()) as rt:
        idle = benchmark.pedantic(idle_fraction, args=(monkeypatch, rt), rounds=1)
    benchmark.extra_info["device_idle"] = idle
    with capsys.disabled():
        sys.stdout.write(f"\ndevice idle {idle:.2%} of virtual time, replay of 2 ms\n")
    assert idle <= IDLE_LIMIT


def test_waiting_for_each_batch_leaves_it_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model can see what it is there to see: a host that waits after every batch."""
    launch = pipeline.Pipeline._launch

    def launch_and_wait(self: pipeline.Pipeline, *args: Any) -> None:
        launch(self, *args)
        self._runner.backend.synchronize()

    with hpusim.fresh(device()) as rt:
        monkeypatch.setattr(pipeline.Pipeline, "_launch", launch_and_wait)
        assert idle_fraction(monkeypatch, rt) > 10 * IDLE_LIMIT
