"""The rules of warm-up, captures and replays, each with a way to remove it."""

from __future__ import annotations

import gc
import traceback
from itertools import count
from typing import Any

import pytest
import torch

from tests.hpusim import hpu_graphs as simulated_graphs
from tests.hpusim.rules import Patch, nothing
from w2v_core.backends import hpu as hpu_module
from w2v_core.backends import hpu_graphs
from w2v_core.backends.hpu import HpuBackend
from w2v_core.engine import engine, slots
from w2v_core.engine.engine import Engine
from w2v_core.engine.slots import Slot


def warm_up_without_waiting(patch: Patch) -> None:
    warm_up = Engine.warm_up

    def warm_up_only(self: Engine, lengths: Any) -> float:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(slots, "wait", lambda _event, *, timeout_s: True)
            inner.setattr(engine, "settle", lambda backend, *, timeout_s: backend.mark_step())
            return warm_up(self, lengths)

    patch.setattr(Engine, "warm_up", warm_up_only)


def compiled_in_parts(patch: Patch) -> None:
    compile_ = torch.compile
    patch.setattr(
        torch, "compile", lambda step, *, fullgraph, **kw: compile_(step, fullgraph=False, **kw)
    )


def replays_that_wait(patch: Patch) -> None:
    patch.setattr(hpu_graphs, "WANTED", {**hpu_graphs.WANTED, "asynchronous": False})


def backend_not_asynchronous(patch: Patch) -> None:
    patch.setattr(HpuBackend, "asynchronous", False)


def capture_over_the_slots_inputs(patch: Patch) -> None:
    capture = hpu_graphs.capture_graph

    def capture_without_clone(*args: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(torch.Tensor, "clone", lambda tensor, **_kwargs: tensor)
            return capture(*args, **options)

    patch.setattr(hpu_module, "capture_graph", capture_without_clone)


def one_wrapper_for_all_buckets(patch: Patch) -> None:
    """With ``max_graphs=1`` the second bucket silently runs un-graphed."""
    wrapped: list[Any] = []

    def capture(hpu: Any, step: Any, waveforms: Any, num_samples: Any, **_rest: Any) -> Any:
        if not wrapped:
            module = hpu_graphs._Counted(step)
            wrapped.append(hpu.wrap_in_hpu_graph(module, asynchronous=True, max_graphs=1))
        wrapped[0](waveforms.clone(), num_samples.clone())
        return wrapped[0]

    patch.setattr(hpu_module, "capture_graph", capture)


def keywords_at_replay(patch: Patch) -> None:
    """A keyword call has another key than the positional capture: un-graphed, silently."""
    wrap = simulated_graphs.wrap_in_hpu_graph

    def wrap_and_rename(module: Any, **kwargs: Any) -> Any:
        whole = wrap(module, **kwargs)
        calls = count()

        def call(waveforms: torch.Tensor, num_samples: torch.Tensor) -> Any:
            if next(calls):
                return whole(waveforms=waveforms, num_samples=num_samples)
            return whole(waveforms, num_samples)

        return call

    patch.setattr(simulated_graphs, "wrap_in_hpu_graph", wrap_and_rename)


def hpu_graphs_in_eager_mode(patch: Patch) -> None:
    def capture(step: Any, waveforms: Any, num_samples: Any, **_rest: Any) -> Any:
        module = hpu_graphs._Counted(step)
        wrapped = simulated_graphs.wrap_in_hpu_graph(module, max_graphs=1)
        wrapped(waveforms.clone(), num_samples.clone())
        return wrapped

    patch.setattr(hpu_module, "capture_compiled", capture)


def failed_capture_not_cleaned_up(patch: Patch) -> None:
    patch.setattr(traceback, "clear_frames", nothing)
    patch.setattr(gc, "collect", nothing)


def statistics_in_float64(patch: Patch) -> None:
    patch.setattr(HpuBackend, "supports_float64", True)


def warm_up_without_collecting(patch: Patch) -> None:
    warm_up = Engine.warm_up

    def warm_up_only(self: Engine, lengths: Any) -> float:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Slot, "download", nothing)
            inner.setattr(Slot, "finish", nothing)
            return warm_up(self, lengths)

    patch.setattr(Engine, "warm_up", warm_up_only)


def warm_up_of_one_bucket_only(patch: Patch) -> None:
    warm_up = Engine.warm_up

    def warm_up_one(self: Engine, lengths: Any) -> float:
        runner_warm_up = self.runner.warm_up
        done: list[Any] = []

        def once(bucket: Any, waveforms: Any, counts: Any) -> Any:
            if done:
                ids = torch.zeros(bucket.batch_size, bucket.num_frames, dtype=torch.int32)
                return ids.to("hpu")
            done.append(bucket)
            return runner_warm_up(bucket, waveforms, counts)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self.runner, "warm_up", once)
            return warm_up(self, lengths)

    patch.setattr(Engine, "warm_up", warm_up_one)
