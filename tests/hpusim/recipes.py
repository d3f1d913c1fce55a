"""What one op does, worked out once per signature: output layouts and virtual seconds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch

from tests.hpusim.memory import extent

if TYPE_CHECKING:
    from tests.hpusim.runtime import Runtime

__all__ = ["OpInfo", "Plan", "compile_plan", "signature", "walk"]

Layout = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]
_uids = itertools.count()


class OpInfo:
    """What the schema says about one overload."""

    __slots__ = ("mutated", "name", "num_returns", "op", "view")

    def __init__(self, op: Any) -> None:
        schema = op._schema
        self.op = op
        self.name: str = schema.name.split("::")[1]
        self.mutated: list[tuple[int, str, bool]] = [
            (index, argument.name, argument.kwarg_only)
            for index, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        self.view = any(
            result.alias_info is not None and not result.alias_info.is_write
            for result in schema.returns
        )
        self.num_returns = len(schema.returns)


class Plan:
    """One signature of one op. ``outputs`` is None where the shape depends on the data."""

    __slots__ = ("is_list", "is_new", "out_sizes", "outputs", "seconds", "single", "uid")

    def __init__(self) -> None:
        self.uid = next(_uids)
        self.is_new = True
        self.outputs: list[Layout | None] | None = []
        self.out_sizes: list[tuple[int, ...]] | None = None
        self.single = True
        self.is_list = False
        self.seconds = 0.0


def walk(value: Any, function: Any) -> Any:
    """Apply ``function`` to every tensor in nested lists."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):
        return [walk(item, function) for item in value]
    return value


def signature(value: Any) -> Any:
    """Return a hashable key: layouts of tensors, values of everything else."""
    if isinstance(value, torch.Tensor):
        return (value.device.type, tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, (list, tuple)):
        return tuple(map(signature, value))
    return (value.__class__, value)


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.device.type == "hpu":
            return torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device="meta"
            )
        return value if value.dim() == 0 else value.to("meta")
    if isinstance(value, torch.device):
        return torch.device("meta")
    if isinstance(value, (list, tuple)):
        return [_to_meta(item) for item in value]
    return value


def _layout(output: Any) -> Layout | None:
    if not isinstance(output, torch.Tensor):
        return None
    return tuple(output.shape), output.stride(), output.dtype


def _run_on_meta(info: OpInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with torch._C._AutoDispatchBelowAutograd():
        return info.op(*_to_meta(args), **{name: _to_meta(v) for name, v in kwargs.items()})


def compile_plan(rt: Runtime, info: OpInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
    """Run the op on meta tensors and keep the layouts of its outputs."""
    plan = Plan()
    if info.mutated:
        if info.mutated[0][2]:  # an out= variant; its result may have to be resized
            out = _run_on_meta(info, args, kwargs)
            outs = (out,) if isinstance(out, torch.Tensor) else out
            plan.out_sizes = [tuple(o.shape) for o in outs]
    else:
        try:
            out = _run_on_meta(info, args, kwargs)
        except RuntimeError:  # NotImplementedError included: the shape depends on the data
            plan.outputs = None
        else:
            plan.single, plan.is_list = isinstance(out, torch.Tensor), isinstance(out, list)
            plan.outputs = [_layout(o) for o in ((out,) if plan.single else out)]
    if rt.config.latency is not None:
        nbytes = sum(extent(o[0], o[1]) * o[2].itemsize for o in plan.outputs or [] if o)
        plan.seconds = rt.config.latency(info.name, nbytes)
    return plan
