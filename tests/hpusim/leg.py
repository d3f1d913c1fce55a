"""A small pipeline on the simulated Gaudi, and every check that the suite makes of it.

The schedule is the worst one that the device permits: nothing runs before it is waited for, and
decode workers start when their result is asked for.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import pytest
import torch

from tests import hpusim
from tests.helpers.engines import make_checkpoint, make_utterances
from w2v_core.backends.cpu import CpuBackend
from w2v_core.backends.hpu import HpuBackend
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.config import MAX_STREAMS, BatchPlan, EngineConfig
from w2v_core.engine import pipeline
from w2v_core.engine.engine import Engine
from w2v_core.errors import GraphError
from w2v_core.types import Transcription

__all__ = ["CHECKS", "Leg"]

CHECKS = {
    "hazard": "the vector-clock detector found no unordered access",
    "transcripts": "frame ids equal the CPU's",
    "failure": "no stage raised",
    "compilations": "nothing was compiled after warm-up",
    "captures": "one capture per bucket",
    "replays": "every batch was a replay, launched without waiting for it",
    "warm-up": "each bucket was run twice after its capture: the first replay still pays",
    "in flight": "as many batches were in flight as there are slots",
    "whole": "a step that does not compile as a whole is refused",
    "host syncs": "no call blocked the host in a pass, besides waits for events",
    "views": "no copy from, to or on the device had a view of a larger tensor for its side there",
    "streams": "no stream was made after warm-up, and at most 8 in all",
    "pinned bytes": "no host memory was pinned after warm-up",
    "inputs": "a capture leaves its caller's tensors alone",
    "recapture": "a capture works after one that failed",
}
LENGTHS = tuple(shortest + 41 * i for shortest in (4_000, 8_500) for i in range(10))
"""Five batches for each bucket, one after another: more than slots, twice over."""
PLAN = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)
SLOTS = 2


class LateExecutor:
    """Starts a job when its result is asked for: the latest that a pool of threads may."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

    def __enter__(self) -> LateExecutor:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(self, *_exc: object) -> None: ...

    def submit(self, job: Callable[..., Any], *args: Any) -> Any:
        return _LateFuture(job, args)


class _LateFuture:
    def __init__(self, job: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._job, self._args = job, args
        self._future: Future[Any] = Future()

    def done(self) -> bool:
        return self._future.done()

    def _run(self) -> Future[Any]:
        if not self._future.done():
            try:
                self._future.set_result(self._job(*self._args))
            except Exception as error:  # noqa: BLE001 - as a pool's thread would
                self._future.set_exception(error)
        return self._future

    def exception(self) -> BaseException | None:
        return self._run().exception()

    def result(self) -> Any:
        return self._run().result()


@lru_cache(maxsize=2)
def reference(family: str = "group") -> dict[str, list[int]]:
    """Frame ids by utterance id, from the CPU backend."""
    found = _warm(CpuBackend(), family, graphs=False).transcribe(
        make_utterances(LENGTHS), keep_frame_ids=True
    )
    ids = _frame_ids(found)
    assert len({tuple(i[:10]) for i in ids.values()}) == len(ids)  # a stale output must differ
    return ids


def _frame_ids(found: Transcription) -> dict[str, list[int]]:
    return {
        h.utterance_id: [] if h.frame_ids is None else h.frame_ids.tolist()
        for h in found.hypotheses
    }


@lru_cache(maxsize=2)
def checkpoint(family: str = "group") -> Any:
    """A tiny checkpoint whose arg-max ids vary: random weights alone emit one token."""
    made = make_checkpoint(family=family)
    with torch.no_grad():
        made.module.lm_head.bias.zero_()
        made.module.lm_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    return made


def _warm(
    backend: Any, family: str, *, graphs: bool, config: dict[str, Any] | None = None
) -> Engine:
    settings = {"plan": PLAN, "num_slots": SLOTS, "graphs": graphs, **(config or {})}
    engine = Engine(checkpoint(family), backend, EngineConfig(**settings))
    engine.warm_up(LENGTHS)
    return engine


class _Watched(deque[Any]):
    """The slots in flight, and how many there were at most."""

    most = 0

    def append(self, slot: Any) -> None:
        super().append(slot)
        self.most = max(self.most, len(self))


@dataclass
class Leg:
    """One run. ``found`` holds the checks that it did not pass, with what they saw."""

    lazy: bool = True
    graphs: bool = True
    family: Literal["group", "layer"] = "group"
    execution: Literal["deferred", "threads", "eager"] = "deferred"
    config: dict[str, Any] = field(default_factory=dict)
    """Settings of the engine."""
    device: dict[str, Any] = field(default_factory=dict)
    """Settings of the simulated device."""
    found: dict[str, str] = field(default_factory=dict)

    def run(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """Warm up, transcribe once, and check; blocks."""
        gc.freeze()  # a capture collects garbage; what the libraries hold is none
        try:
            return self._run(monkeypatch)
        finally:
            gc.unfreeze()

    def _run(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        monkeypatch.setattr(pipeline, "ThreadPoolExecutor", LateExecutor)
        # Without polls that finish work by chance: every op takes longer than a query.
        device = hpusim.Config(
            execution=self.execution,
            lazy=self.lazy,
            place_on_cpu="none",
            latency=lambda _op, _bytes: 1e-3,
            hazards="record",
            **self.device,
        )
        with hpusim.fresh(device) as rt:
            try:
                self._pipeline(rt)
                if self.graphs:
                    self._graph_rules() if self.lazy else self._compile_rules()
            except Exception as error:  # noqa: BLE001 - any error is a finding
                self.found["failure"] = f"{type(error).__name__}: {error}"
            if rt.hazards:
                self.found["hazard"] = rt.hazards[0]
        return self.found

    def _note(self, check: str, ok: bool, seen: object) -> None:
        if not ok:
            self.found.setdefault(check, str(seen))

    def _pipeline(self, rt: hpusim.Runtime) -> None:
        backend = HpuBackend(load_bridge())
        engine = _warm(backend, self.family, graphs=self.graphs, config=self.config)
        before, stats = backend.counters(), rt.stats.copy()
        in_flight = _Watched(engine.ring.in_flight)
        engine.ring.in_flight = in_flight
        streams, pinned = rt.num_streams_made, rt.pinned.reserved_bytes
        transcription = engine.transcribe(
            make_utterances(LENGTHS), record_failures=True, keep_frame_ids=True
        )
        grown = rt.stats - stats
        grown_counters = backend.counters() - before
        self._note("in flight", in_flight.most == SLOTS, in_flight.most)
        self._note("failure", not transcription.failures, transcription.failures[:1])
        self._note("transcripts", _frame_ids(transcription) == reference(self.family), "ids differ")
        self._note("compilations", grown_counters.compilations == 0, grown_counters)
        self._note("host syncs", grown["host_syncs"] == 0, grown["host_syncs"])
        self._note("views", rt.stats["view_copies"] == 0, rt.stats["view_copies"])
        self._note("streams", rt.num_streams_made == streams <= MAX_STREAMS, rt.num_streams_made)
        self._note("pinned bytes", rt.pinned.reserved_bytes == pinned, rt.pinned.reserved_bytes)
        if self.graphs and self.lazy:
            batches = len(LENGTHS) // PLAN.batch_size
            self._note("captures", rt.stats["captures"] == PLAN.num_buckets, rt.stats["captures"])
            launched = (grown["replays"], grown["asynchronous_replays"])
            self._note("replays", launched == (batches, batches), launched)
            warm = stats["replays"] - PLAN.num_buckets * (rt.config.disable_tensor_cache is None)
            self._note("warm-up", warm >= 2 * PLAN.num_buckets, warm)

    def _compile_rules(self) -> None:
        backend = HpuBackend(load_bridge())

        def breaks(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
            torch._dynamo.graph_break()
            return (waveforms + num_samples[:, None]).to(torch.int32)

        with backend.compute():
            counts = torch.ones(1, dtype=torch.int32).to("hpu")
            try:
                backend.capture(breaks, torch.ones(1, 2).to("hpu"), counts)
            except GraphError:
                return
        self._note("whole", False, "a step in two parts was taken")

    def _graph_rules(self) -> None:
        backend = HpuBackend(load_bridge())

        def step(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
            return (waveforms + num_samples[:, None]).to(torch.int32)

        def fails(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("an op that the device does not have")

        def inputs(value: float) -> tuple[torch.Tensor, torch.Tensor]:
            counts = torch.ones(1, dtype=torch.int32).to("hpu")
            return torch.full((1, 2), value).to("hpu"), counts

        with backend.compute():
            mine = inputs(1.0)
            replay = backend.capture(step, *mine)
            replay(*inputs(7.0))
            self._note("inputs", mine[0].cpu().tolist() == [[1.0, 1.0]], mine[0].cpu())
            with pytest.raises(GraphError):
                backend.capture(fails, *inputs(1.0))
            try:
                backend.capture(step, *inputs(1.0))
            except RuntimeError as error:  # DeviceError included
                self._note("recapture", False, error)
