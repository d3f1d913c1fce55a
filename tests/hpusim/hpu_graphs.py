"""The simulated ``habana_frameworks.torch.hpu.graphs``.

In eager mode the module can still be imported; a capture then records nothing, and every later
call of a shape returns the first call's output. That is the trap, and it is reproduced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tests.hpusim import torch_hpu
from tests.hpusim.config import SimError
from tests.hpusim.graphs import CoreGraph
from tests.hpusim.runtime import ACTIVE
from tests.hpusim.tensors import is_hpu, ref

__all__ = ["HPUGraph", "graph", "wrap_in_hpu_graph"]

Forward = Callable[..., Any]


class HPUGraph:
    """The raw recording. A capture left open stays open until some HPUGraph is destroyed."""

    def __init__(self) -> None:
        self._core = CoreGraph(ACTIVE.rt)
        self._lazy = torch_hpu.is_lazy()

    def capture_begin(self, dry_run: bool = False) -> None:
        if self._lazy:
            self._core.begin(dry_run=dry_run)

    def capture_end(self) -> None:
        if self._lazy:
            self._core.end()

    def replay(self, asynchronous: bool = False) -> None:
        if self._lazy:
            self._core.replay(asynchronous=asynchronous)

    def replayV3(  # noqa: N802 - the bridge's name
        self,
        recorded: list[torch.Tensor],
        given: list[torch.Tensor],
        asynchronous: bool = False,
    ) -> None:
        """Replay with the caller's input buffers in place of the recorded ones."""
        if not self._lazy:
            return
        swap = {}
        for old, new in zip(recorded, given, strict=True):
            if old.shape != new.shape or old.dtype != new.dtype:
                raise SimError("HPU GRAPH:: Mark User Input Sizes is not same Replay Input Sizes")
            swap[ref(old).slot] = ref(new).slot
        self._core.replay(asynchronous=asynchronous, inputs=swap)

    def reset(self) -> None:
        self._core.destroy()

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None:
            core.destroy()


@contextlib.contextmanager
def graph(
    recorded: HPUGraph, stream: torch_hpu.Stream | None = None, dry_run: bool = False
) -> Iterator[None]:
    """Capture on a side stream of its own, after a full synchronisation."""
    torch_hpu.synchronize()
    with torch_hpu.stream(stream or torch_hpu.Stream()):
        recorded.capture_begin(dry_run)
        yield
        recorded.capture_end()


def _freeze(value: Any, autocast: bool) -> Any:
    """Return the cache key: no dtype, device, autocast dtype, training or grad mode in it."""
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.stride(), int(value.storage_offset()), autocast)
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item, autocast) for item in value)
    if isinstance(value, dict):
        return tuple((key, _freeze(item, autocast)) for key, item in value.items())
    return hash(value)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value] if is_hpu(value) else []
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


class _Cached:
    """One captured key: the first call's own inputs and its output object."""

    def __init__(self, recorded: HPUGraph, inputs: list[torch.Tensor], outputs: Any) -> None:
        self.recorded, self.inputs, self.outputs = recorded, inputs, outputs


class _GraphedForward:
    """Captures per key and replays; past ``max_graphs`` it silently runs the plain forward."""

    def __init__(
        self,
        forward: Forward,
        *,
        asynchronous: bool,
        disable_tensor_cache: bool,
        dry_run: bool,
        max_graphs: int | None,
    ) -> None:
        override = ACTIVE.rt.config.disable_tensor_cache
        self._forward = forward
        self._asynchronous = asynchronous
        self._swap_inputs = disable_tensor_cache if override is None else override
        self._dry_run = dry_run
        self._max_graphs = max_graphs
        self._stream = torch_hpu.default_stream()
        self._cache: dict[Any, _Cached] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("cache_tensors_list", None)
        warmup = kwargs.pop("warmup_mode", False)
        if kwargs.pop("bypass_hpu_graphs", False):
            return self._forward(*args, **kwargs)
        key = _freeze((args, kwargs), torch.is_autocast_enabled("hpu"))
        cached = self._cache.get(key)
        if cached is None:
            if self._max_graphs is not None and len(self._cache) == self._max_graphs:
                return self._forward(*args, **kwargs)
            return self._capture(key, args, kwargs)
        if not warmup:
            self._replay(cached, _tensors((args, kwargs)))
        return cached.outputs

    def _capture(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # No try/finally: a failure leaves the device's capture flag set, as in the bridge.
        inputs = _tensors((args, kwargs))
        with torch_hpu.stream(self._stream):
            recorded = HPUGraph()
            recorded.capture_begin(self._dry_run or self._swap_inputs)
            outputs = self._forward(*args, **kwargs)
            recorded.capture_end()
            cached = self._cache[key] = _Cached(recorded, inputs, outputs)
            if self._swap_inputs:
                recorded.replayV3(inputs, inputs, self._asynchronous)
        return cached.outputs

    def _replay(self, cached: _Cached, given: list[torch.Tensor]) -> None:
        with torch_hpu.stream(self._stream):
            if self._swap_inputs:
                cached.recorded.replayV3(cached.inputs, given, self._asynchronous)
                return
            for static, tensor in zip(cached.inputs, given, strict=True):
                static.copy_(tensor, non_blocking=True)
            cached.recorded.replay(self._asynchronous)

    def clear_cache(self) -> None:
        self._cache.clear()

    def clear_inputs(self) -> None:
        for cached in self._cache.values():
            cached.inputs = []


def wrap_in_hpu_graph(
    module: torch.nn.Module,
    asynchronous: bool = False,
    disable_tensor_cache: bool = False,
    dry_run: bool = False,
    max_graphs: int | None = None,
) -> torch.nn.Module:
    """Replace the module's forward by a capturing one; returns the same module."""
    graphed = _GraphedForward(
        module.forward,
        asynchronous=asynchronous,
        disable_tensor_cache=disable_tensor_cache,
        dry_run=dry_run,
        max_graphs=max_graphs,
    )
    module.forward = graphed  # type: ignore[method-assign]
    module.clear_cache = graphed.clear_cache  # type: ignore[assignment]
    module.clear_inputs = graphed.clear_inputs  # type: ignore[assignment]
    return module
