"""Seeded faults, alone and together: no wrong text, no unordered access, no id lost, no hang."""

from __future__ import annotations

import faulthandler
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from tests import hpusim
from tests.hpusim.installation import install
from tests.hpusim.steady import cheap_engine, short_utterances
from w2v_core.backends import watchdog
from w2v_core.backends.hpu import HpuBackend
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.engine import slots
from w2v_core.engine.engine import Engine
from w2v_core.types import Utterance

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]

EVENT_TIMEOUT_S = 0.2
PASS_TIMEOUT_S = 60  # of a pass of milliseconds: where it is reached, something hangs
OPS = ("abs", "amax", "max", "clone", "copy_d2h", "copy_h2d", "masked_fill", "graph_replay")
MODES: list[tuple[bool, Literal["deferred", "threads"]]] = [
    (True, "deferred"),
    (True, "threads"),
    (False, "deferred"),
    (False, "threads"),
]
SAMPLE, WHOLE = 5, 250  # seeds a mode: 20 and 1,000 runs


@dataclass
class Bench:
    """A warm engine on a device of its own; made anew where a fault took the device along."""

    lazy: bool
    execution: Literal["deferred", "threads"]
    monkeypatch: pytest.MonkeyPatch
    seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = hpusim.Config(
            lazy=self.lazy,
            execution=self.execution,
            hazards="record",
            latency=lambda _op, _bytes: 1e-3,
            replay_s=2e-3,
        )
        self.rt = install(config)
        self.engine: Engine = cheap_engine(
            HpuBackend(load_bridge()),
            self.monkeypatch,
            graphs=self.lazy,
            event_timeout_s=EVENT_TIMEOUT_S,
        )
        self.expected = self.engine.transcribe(utterances()).texts

    def run(self, seed: int) -> list[str]:
        """Transcribe once under the seed's faults; return what must not be."""
        rng = np.random.default_rng(seed)
        for _ in range(rng.integers(1, 4)):
            self._plant(rng)
        faulthandler.dump_traceback_later(PASS_TIMEOUT_S, exit=True, file=sys.__stderr__)
        found = self.engine.transcribe(utterances(), record_failures=True)
        faulthandler.cancel_dump_traceback_later()
        ids = [*found.texts, *(f.utterance_id for f in found.failures)]
        wrong = [i for i, text in found.texts.items() if text != self.expected[i]]
        problems = [f"seed {seed}: wrong text of {i}" for i in wrong]
        if sorted(ids) != sorted(self.expected):
            problems.append(f"seed {seed}: {len(ids)} ids of {len(self.expected)}")
        problems += [f"seed {seed}: {hazard}" for hazard in self.rt.hazards]
        self.seen["failed"] = self.seen.get("failed", 0) + bool(found.failures)
        self.seen["lost"] = self.seen.get("lost", 0) + (self.engine.lost is not None)
        self._mend()
        return problems

    def _plant(self, rng: np.random.Generator) -> None:
        faults, rt = self.rt.faults, self.rt
        kind = rng.choice(["op", "op", "launch", "event", "memory", "slow", "driver"])
        nth = int(rng.integers(1, 12))
        if kind == "op":
            name = str(rng.choice(OPS))
            faults.fail_at[name] = (rt._runs[name] + nth, RuntimeError(f"{name} broke"))
        elif kind == "launch":
            number = rt._runs["launched_replays"] + nth
            faults.failing_replays[number] = RuntimeError("recipe")
        elif kind == "event":
            faults.lost_events.add(rt.stats["events"] + 2 * nth)
        elif kind == "memory":
            faults.memory_limit_bytes = rt.in_use_bytes + int(rng.integers(1, 400_000))
        elif kind == "slow":
            faults.slow_streams[int(rng.integers(0, 9))] = float(rng.choice([3.0, 100.0]))
        else:
            faults.device_lost = bool(rng.integers(0, 4) == 0)

    def _mend(self) -> None:
        if self.engine.lost is not None or self.rt.hazards:
            self.rt.close()
            self.__post_init__()
            return
        self.rt.faults = hpusim.Faults()
        again = self.engine.transcribe(utterances(), record_failures=True)
        assert not again.failures, again.failures[0]  # it said that it could go on
        assert again.texts == self.expected


def utterances() -> list[Utterance]:
    return list(short_utterances()[:40])


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stacks of lost devices would fill the screen; their slots must not fill the memory."""
    for module in (slots, watchdog):
        monkeypatch.setattr(module, "write_stacks", lambda: "")
    before = hpusim.ACTIVE.rt
    gc.freeze()
    yield
    gc.unfreeze()
    hpusim.ACTIVE.rt.close()
    hpusim.ACTIVE.rt = before
    slots._kept.clear()


def check(mode: tuple[bool, Any], seeds: range, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    bench = Bench(*mode, monkeypatch)
    problems = [problem for seed in seeds for problem in bench.run(seed)]
    assert problems == []
    return bench.seen


@pytest.mark.parametrize("mode", MODES, ids=lambda m: f"{'lazy' if m[0] else 'eager'}-{m[1]}")
def test_faults_give_failures_by_id_and_nothing_wrong(
    mode: tuple[bool, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = check(mode, range(SAMPLE), monkeypatch)
    assert seen["failed"] > 0  # the faults reach the engine


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=lambda m: f"{'lazy' if m[0] else 'eager'}-{m[1]}")
def test_a_thousand_fault_runs(
    mode: tuple[bool, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if "slow" not in request.config.option.markexpr:  # `-m hpu` is every night's and every commit's
        pytest.skip('minutes of seeded faults; ask for them with -m "hpu and slow"')
    seen = check(mode, range(SAMPLE, SAMPLE + WHOLE), monkeypatch)
    with capsys.disabled():
        print(f"\n{mode}: {WHOLE} runs, {seen}")  # noqa: T201 - the report of a long test
    assert seen["failed"] > WHOLE // 4
