"""The simulated ``habana_frameworks.torch.hpu.graphs``.

In eager mode the module can still be imported; a capture then records nothing, and every later
call of a shape returns the first call's output. That is the trap, and it is reproduced.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from tests.hpusim import torch_hpu
from tests.hpusim.config import SimError
from tests.hpusim.graphs import CoreGraph
from tests.hpusim.runtime import ACTIVE
from tests.hpusim.tensors import is_hpu, ref

__all__ = ["HPUGraph", "ModuleCacher", "graph", "make_graphed_callables", "wrap_in_hpu_graph"]

Forward = Callable[..., Any]


class HPUGraph:
    """The raw recording. A capture left open stays open until some HPUGraph is destroyed."""

    def __init__(self) -> None:
        self._core = CoreGraph(ACTIVE.rt)
        self._lazy = torch_hpu.is_lazy()
        self._user_inputs: list[torch.Tensor] = []

    def capture_begin(self, dry_run: bool = False) -> None:
        if self._lazy:
            self._core.begin(dry_run=dry_run)

    def capture_end(self) -> None:
        if self._lazy:
            self._core.end()

    def replay(self, asynchronous: bool = False) -> None:
        if self._lazy:
            self._core.replay(asynchronous=asynchronous)

    def mark_user_inputs(self, static_tlist: Sequence[torch.Tensor]) -> None:
        """Name the tensors that replayV3 will be given others for; while capturing only."""
        if not self._lazy:
            return
        if ACTIVE.rt.capture is not self._core:
            raise SimError("GRAPH:: mark_user_inputs must be while capturing in progress")
        self._user_inputs = list(static_tlist)

    def mark_user_outputs(self, static_tlist: Sequence[torch.Tensor]) -> None:
        """Name what is read after a replay; everything else is freed between replays anyway."""

    def replayV2(  # noqa: N802 - the bridge's name
        self,
        static_tlist: Sequence[torch.Tensor],
        tlist: Sequence[torch.Tensor],
        asynchronous: bool = False,
    ) -> None:
        """Replay with other buffers in place of those named."""
        if not self._lazy:
            return
        swap = {}
        for old, new in zip(static_tlist, tlist, strict=True):
            if old.shape != new.shape:
                raise SimError("HPU GRAPH:: Mark User Input Sizes is not same Replay Input Sizes")
            recorded, given = ref(old), ref(new)
            if old.dtype is not new.dtype or not (recorded.whole and given.whole):
                raise SimError(
                    f"hpusim: a replay of {old.dtype} was given {new.dtype}, or a view; give it "
                    "tensors of their own of the capture's dtype"
                )
            swap[recorded.slot] = given.slot
        self._core.replay(asynchronous=asynchronous, inputs=swap)

    def replayV3(  # noqa: N802 - the bridge's name
        self,
        tlistI: Sequence[torch.Tensor],  # noqa: N803
        asynchronous: bool = False,
    ) -> None:
        """Replay with the caller's buffers in place of the inputs marked in the capture."""
        self.replayV2(self._user_inputs, tlistI, asynchronous)

    def clear_inputs(self) -> None:
        """Free inputs that an update in place made outputs; here they are the caller's anyway."""

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
        try:
            yield
        finally:
            recorded.capture_end()


def _freeze(value: Any, autocast: bool) -> Any:
    """Return the cache key: no dtype, device, autocast dtype, training or grad mode in it.

    The view chain is in it: a view has another key than a tensor of its own of the same shape.
    """
    if isinstance(value, torch.Tensor):
        view = ref(value) if is_hpu(value) else None
        chain = None if view is None or view.whole else (view.stride, view.offset, view.slot.size)
        return (tuple(value.shape), chain, autocast)
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
            if self._swap_inputs:
                recorded.mark_user_inputs(inputs)
            outputs = self._forward(*args, **kwargs)
            recorded.capture_end()
            cached = self._cache[key] = _Cached(recorded, inputs, outputs)
            if self._swap_inputs:
                recorded.replayV3(inputs, self._asynchronous)
            elif self._dry_run:
                recorded.replay(self._asynchronous)
        return cached.outputs

    def _replay(self, cached: _Cached, given: list[torch.Tensor]) -> None:
        """Replay on the caller's current stream, whichever it is: only a capture changes it."""
        if self._swap_inputs:
            cached.recorded.replayV3(given, self._asynchronous)
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


def make_graphed_callables(*_args: Any, **_kwargs: Any) -> Any:
    """Refuse: it captures a backward pass, and this device has none."""
    raise SimError(
        "hpusim: make_graphed_callables is not simulated: it captures a backward pass, and there "
        "is none here; use wrap_in_hpu_graph"
    )


class ModuleCacher:
    """Caches a module's graphs while it trains; in eval mode it runs the plain forward."""

    def __init__(self, max_graphs: int = 10) -> None:
        self.max_graphs = max_graphs

    def __call__(
        self, model: torch.nn.Module, inplace: bool = True, **_options: Any
    ) -> torch.nn.Module:
        module = model if inplace else copy.deepcopy(model)
        plain = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if module.training:
                raise SimError("hpusim: training is not simulated; call eval() on the module")
            return plain(*args, **kwargs)

        module.forward = forward  # type: ignore[method-assign]
        return module
