"""The two graph mechanisms of the bridge: HPU graphs (lazy) and torch.compile (eager)."""

from __future__ import annotations

import gc
import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch

from w2v_core.backends.base import Replay, Step
from w2v_core.backends.compiled import capture_failed, check_shape, compile_step
from w2v_core.backends.hpu_environment import vendor_warnings
from w2v_core.errors import DeviceLostError, GraphError

_kept: list[tuple[object, ...]] = []
"""Captures of lost devices: a queued command may still read what they hold."""


class _Counted(torch.nn.Module):
    """The step, and how often Python ran it; a replay does not."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step
        self.runs = 0

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return self._step(waveforms, num_samples)


def capture_graph(
    hpu: Any,  # noqa: ANN401 - the bridge has no types
    step: Step,
    waveforms: torch.Tensor,
    num_samples: torch.Tensor,
    *,
    rest: Callable[[], None],
) -> Replay:
    """Capture an HPU graph for one shape; blocks.

    The graph gets tensors of its own as inputs, made before the capture begins: with the tensor
    cache on, the bridge keeps the first call's tensors and overwrites them at every replay, and
    those of a slot must not be overwritten.

    Raises:
        GraphError: the capture failed. The bridge leaves the device in capture state until the
            failed graph is destroyed, so its references are dropped before this is raised.
        DeviceLostError: ``rest``, which waits for an idle device, says so; nothing is freed then.
    """
    gc.collect()  # destroying any graph clears the capture flag, so none may die in a capture
    module = _Counted(step)
    wrapped = hpu.wrap_in_hpu_graph(module, **graph_arguments(hpu.wrap_in_hpu_graph))
    failure = _first_run(wrapped, waveforms, num_samples, rest=rest)
    if failure is not None:
        traceback.clear_frames(failure.__traceback__)
        del module, wrapped
        gc.collect()
        raise GraphError(capture_failed(waveforms, failure)) from failure
    return _replay_of(wrapped, module, waveforms.shape)


def _first_run(
    wrapped: Step,
    waveforms: torch.Tensor,
    num_samples: torch.Tensor,
    *,
    rest: Callable[[], None],
) -> Exception | None:
    """Run the graph once, which captures it, on inputs of its own; returns what failed."""
    inputs = waveforms.clone(), num_samples.clone()
    rest()
    try:
        wrapped(*inputs)
        rest()
    except DeviceLostError:
        _kept.append((wrapped, *inputs))
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the device is left in capture
        return error
    return None


def _replay_of(wrapped: Step, module: _Counted, shape: torch.Size) -> Replay:
    def replay(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Enqueue a replay; the returned ids are overwritten by the next one."""
        check_shape(waveforms, shape)
        runs = module.runs
        ids = wrapped(waveforms, num_samples)
        if module.runs != runs:
            raise GraphError(
                f"the graph of {tuple(shape)} was not replayed: the bridge ran the step itself, "
                "because its key differs from the capture's (autocast, argument form, views)"
            )
        return ids

    return replay


WANTED: Mapping[str, Any] = {
    "asynchronous": True,
    # A replay then reads its caller's tensors instead of copying them into inputs of its own, and
    # intermediates are freed. PT_HPUGRAPH_DISABLE_TENSOR_CACHE=0 goes back to the copies.
    "disable_tensor_cache": True,
    "max_graphs": 1,  # one wrapper holds one bucket; a second key would be an error of ours
}


def graph_arguments(wrap: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the wanted arguments that the installed signature knows; releases differ."""
    known = inspect.signature(wrap).parameters
    return {name: value for name, value in WANTED.items() if name in known}


def named_arguments(hpu: Any) -> str | None:  # noqa: ANN401
    """Return the arguments that captures are made with, for the record; None without captures."""
    if (wrap := getattr(hpu, "wrap_in_hpu_graph", None)) is None:
        return None
    return ", ".join(f"{name}={value}" for name, value in graph_arguments(wrap).items())


def capture_compiled(
    step: Step,
    waveforms: torch.Tensor,
    num_samples: torch.Tensor,
    *,
    rest: Callable[[], None],
) -> Replay:
    """Compile the step for one shape with ``hpu_backend``; blocks; see ``compile_step``."""
    with vendor_warnings():  # the first call imports the compilers
        return compile_step(step, waveforms, num_samples, compiler="hpu_backend", rest=rest)
