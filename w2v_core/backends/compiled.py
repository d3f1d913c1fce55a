"""``torch.compile`` of a step for one static shape, whatever compiler stands behind it."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch

from w2v_core.backends.base import Replay, Step
from w2v_core.errors import BucketOverflowError, DeviceLostError, GraphError
from w2v_core.printable import shorten

Compiler = str | Callable[[torch.fx.GraphModule, list[Any]], Callable[..., Any]]
"""What ``torch.compile`` takes as its backend: a registered name, or graph and inputs to code."""

_UNCOMPILED = "graphs are on but torch.compile leaves the step uncompiled"
_ERROR_CHARS = 500


def compile_step(
    step: Step,
    waveforms: torch.Tensor,
    num_samples: torch.Tensor,
    *,
    compiler: Compiler,
    rest: Callable[[], None],
) -> Replay:
    """Compile the step for one shape, as one graph, and run it; blocks.

    Raises:
        GraphError: the step does not compile as a whole, or was not compiled at all.
        DeviceLostError: ``rest``, which waits for an idle device, says so.
    """

    def run(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        return step(waveforms, num_samples)

    import torch._dynamo.config  # loads the compilers, so not before they are asked for

    if torch._dynamo.config.disable:
        raise GraphError(f"{_UNCOMPILED}; unset TORCHDYNAMO_DISABLE, or {{use:graphs off}}")
    compiled: Step = torch.compile(_own_code(run), backend=compiler, dynamic=False, fullgraph=True)
    before = graphs_compiled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what compilers say of their own parts
            compiled(waveforms, num_samples)
        rest()
    except DeviceLostError:
        raise
    except Exception as error:
        raise GraphError(capture_failed(waveforms, error)) from error
    if graphs_compiled() == before:
        raise GraphError(f"{_UNCOMPILED} for {tuple(waveforms.shape)}; {{use:graphs off}}")
    shape = waveforms.shape

    def replay(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Enqueue the compiled step; the next replay may overwrite what it returns."""
        check_shape(waveforms, shape)
        return compiled(waveforms, num_samples)

    return replay


def graphs_compiled() -> int:
    """Count the graphs that dynamo has compiled in this process; a recompilation is one more."""
    utils = sys.modules.get("torch._dynamo.utils")  # who has not imported it has compiled nothing
    return 0 if utils is None else int(utils.counters["stats"]["unique_graphs"])


def compile_seconds() -> float:
    """Sum the seconds that dynamo and the compilers behind it have worked in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    metrics = {} if utils is None else utils.compilation_time_metrics
    return sum(sum(s) for name, s in metrics.items() if name.endswith("compile_inner"))


def check_shape(waveforms: torch.Tensor, shape: torch.Size) -> None:
    """Refuse waveforms of another shape than the capture's.

    Raises:
        BucketOverflowError: naming both shapes.
    """
    if waveforms.shape != shape:
        raise BucketOverflowError(
            f"waveforms are {tuple(waveforms.shape)}; this capture is for {tuple(shape)}"
        )


def capture_failed(waveforms: torch.Tensor, error: BaseException) -> str:
    """Say that the capture of this shape failed, with the remedy."""
    inner = getattr(error, "inner_exception", error)  # dynamo wraps what a compiler raises
    why = shorten(" ".join(str(inner).split()), _ERROR_CHARS)
    return (
        f"capture of {tuple(waveforms.shape)} failed: {why}; {{use:graphs off}}, or look for an "
        "operation that needs the host"
    )


def _own_code(function: Step) -> Step:
    """Give a function a code object of its own.

    dynamo caches by code object and goes back to eager, silently, past eight entries of one; a
    capture per bucket would get there.
    """
    original = cast("types.FunctionType", function)
    code = original.__code__.replace(co_name="run_bucket")
    return types.FunctionType(
        code, original.__globals__, "run_bucket", original.__defaults__, original.__closure__
    )
