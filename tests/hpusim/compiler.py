"""``torch.compile(backend="hpu_backend")``: runs the traced graph op by op, counted as a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.hpusim.config import SimError
from tests.hpusim.runtime import ACTIVE

__all__ = ["register"]

_registered: list[bool] = []


def _hpu_backend(module: torch.fx.GraphModule, _inputs: list[Any]) -> Callable[..., Any]:
    rt = ACTIVE.rt
    if rt.config.lazy:
        raise SimError("hpu_backend needs PT_HPU_LAZY_MODE=0")
    rt.metrics.compiled("torch.compile", rt.config.compile_s)
    rt.clock.advance(rt.config.compile_s)
    return module.forward


def register() -> None:
    """Register the backend; imports torch._dynamo, so only where eager mode is asked for."""
    if _registered:
        return
    import torch._dynamo

    torch._dynamo.register_backend(_hpu_backend, name="hpu_backend")
    _registered.append(True)
