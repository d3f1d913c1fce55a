"""Every aten op on the HPU key becomes a command.

The registration mirrors the bridge: kernels on the device's key plus the boxed fallback.
"""

from __future__ import annotations

from typing import Any

import torch

from tests.hpusim import guard
from tests.hpusim.config import CaptureError, SimError
from tests.hpusim.kernels import SPECIAL, is_pinned, pin_memory, resize_
from tests.hpusim.memory import Ref, Slot
from tests.hpusim.recipes import OpInfo, Plan, compile_plan, signature, walk
from tests.hpusim.runtime import ACTIVE, Runtime
from tests.hpusim.streams import Command
from tests.hpusim.tensors import CPU_KEY, alloc, is_hpu, ref
from w2v_core.model.layers import product

__all__ = ["register", "run_op"]

HOST_INDEX_OPS = {"index", "index_put_", "_index_put_impl_"}
WHOLE_OPS = ("linear", "matmul", "scaled_dot_product_attention")
"""Composite ops taken whole: their CPU and device decompositions differ in rounding."""
PRODUCTS = {
    getattr(torch.ops.aten, name)
    for name in ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "convolution")
}
"""Computed as the engine does on this host, which may have no bfloat16: seven times as fast."""
_CPU = torch.device("cpu")
_infos: dict[Any, OpInfo] = {}
_libraries: list[torch.library.Library] = []


def run_op(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Enqueue one op on the current stream and return its output tensors, not yet computed.

    Raises:
        SimError: the op is not supported on the device.
        CaptureError: the op would need the host while a graph is being captured.
    """
    info = _infos.get(op)
    if info is None:
        info = _infos[op] = OpInfo(op)
    rt = ACTIVE.rt
    if info.name in rt.config.forbidden_ops:
        raise SimError(f"{info.name} is not supported on HPU")
    rt.op_counts[info.name] += 1
    if info.view:
        return op.redispatch(CPU_KEY, *args, **kwargs)  # metadata only, backend agnostic
    if _falls_back(rt, info, args):
        return _fall_back(rt, info, args, kwargs)
    plan = _plan(rt, info, args, kwargs)
    if plan.outputs is None:
        return _run_on_host(rt, info, args, kwargs, why="data-dependent shape")
    rt.note_op(plan)
    return _enqueue(rt, info, plan, args, kwargs)


def _plan(rt: Runtime, info: OpInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
    key: Any = (
        info.op,
        signature(args),
        signature(tuple(kwargs.items())) if kwargs else (),
    )
    try:
        plan = rt.plans.get(key)
    except TypeError:  # an unhashable scalar: never cached
        return compile_plan(rt, info, args, kwargs)
    if plan is None:
        plan = rt.plans[key] = compile_plan(rt, info, args, kwargs)
    return plan


def _falls_back(rt: Runtime, info: OpInfo, args: tuple[Any, ...]) -> bool:
    if info.name in rt.config.fallback_ops or info.name in rt.faults.fallback_ops:
        return True
    if rt.config.float64:
        return False
    return any(isinstance(a, torch.Tensor) and a.dtype is torch.float64 and is_hpu(a) for a in args)


def _fall_back(rt: Runtime, info: OpInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if rt.config.place_on_cpu == "none":
        raise SimError(f"{info.name} is not yet supported on HPU.")
    if rt.capture is not None:
        raise CaptureError("cpu fallback is not supported during hpu graph capturing")
    rt.metrics.fell_back(info.name)
    return _run_on_host(rt, info, args, kwargs, why="cpu fallback")


def _run_on_host(
    rt: Runtime, info: OpInfo, args: tuple[Any, ...], kwargs: dict[str, Any], *, why: str
) -> Any:
    """Wait for the operands, compute on the host, and put the result on the device."""
    rt.host_sync(f"{info.name} ({why})")

    def to_host(tensor: torch.Tensor) -> torch.Tensor:
        return ref(tensor).cpu() if is_hpu(tensor) else tensor

    host_kwargs = {
        name: _CPU if isinstance(value, torch.device) else walk(value, to_host)
        for name, value in kwargs.items()
    }
    with torch._C._InferenceMode(True):
        out = info.op(*walk(args, to_host), **host_kwargs)
    if info.mutated:
        index, name, _ = info.mutated[0]
        return kwargs[name] if name in kwargs else args[index]

    def to_device(result: torch.Tensor) -> torch.Tensor:
        tensor, slot = alloc(tuple(result.shape), result.stride(), result.dtype)
        slot.data = result
        return tensor

    if isinstance(out, tuple):
        return tuple(walk(item, to_device) for item in out)
    return walk(out, to_device)


def _enqueue(
    rt: Runtime, info: OpInfo, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if plan.out_sizes is not None:
        for (_, name, _), size in zip(info.mutated, plan.out_sizes, strict=True):
            if tuple(kwargs[name].shape) != size:
                resize_(kwargs[name], size)
    call = _Call(info, args, kwargs)
    if info.mutated:
        return _enqueue_in_place(rt, info, plan, call, args, kwargs)
    made = [(None, None) if layout is None else alloc(*layout) for layout in plan.outputs or ()]
    slots = [slot for _, slot in made]

    def run() -> None:
        out = call()
        for slot, result in zip(slots, (out,) if plan.single else out, strict=True):
            if slot is not None:
                _bind(rt, slot, result, call.reads)

    written = [slot for slot in slots if slot is not None]
    rt.submit(Command(info.name, run, reads=call.reads, writes=written, seconds=plan.seconds))
    outs = [tensor for tensor, _ in made]
    if plan.single:
        return outs[0]
    return outs if plan.is_list else tuple(outs)


class _Call:
    """An op with its operands as they are meant now; calling it computes on the CPU."""

    __slots__ = ("named", "op", "operands", "reads")

    def __init__(self, info: OpInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.op = info.op
        self.reads: list[Slot] = []

        def operand(tensor: torch.Tensor) -> Any:
            if is_hpu(tensor):
                view = ref(tensor)
                self.reads.append(view.slot)
                return view
            if tensor.dim() and info.name not in HOST_INDEX_OPS:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, hpu:0 and {tensor.device}! (argument of {info.name})"
                )
            return tensor.clone()  # host scalars and indices are captured by value

        self.operands = [walk(value, operand) for value in args]
        self.named = {
            name: _CPU if isinstance(value, torch.device) else walk(value, operand)
            for name, value in kwargs.items()
        }

    def __call__(self) -> Any:
        operands = _resolve(self.operands)
        named = {name: _resolve(value) for name, value in self.named.items()}
        if self.op.overloadpacket in PRODUCTS and not named:
            return product(self.op, *operands)
        return self.op(*operands, **named)


def _enqueue_in_place(
    rt: Runtime,
    info: OpInfo,
    plan: Plan,
    call: _Call,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    written: list[Slot] = []
    results = []
    for index, name, _ in info.mutated:
        target = call.named[name] if name in call.named else call.operands[index]
        results.append(kwargs[name] if name in kwargs else args[index])
        views = target if isinstance(target, list) else [target]
        for view in views:
            if isinstance(view, Ref):
                rt.note_view(view)
                written.append(view.slot)

    def run() -> None:
        call()

    rt.submit(Command(info.name, run, reads=call.reads, writes=written, seconds=plan.seconds))
    if info.num_returns == 1:
        return results[0]
    return tuple(results) if info.num_returns else None


def _resolve(value: Any) -> Any:
    if value.__class__ is Ref:
        return value.cpu()
    if isinstance(value, (list, tuple)):
        return [_resolve(item) for item in value]
    return value


def _bind(rt: Runtime, slot: Slot, result: torch.Tensor, reads: list[Slot]) -> None:
    """Let the result be the slot's memory; copy where its layout or storage cannot be."""
    storage = result.untyped_storage()
    if (
        result.stride() != slot.stride
        or result.dtype is not slot.dtype
        or result.storage_offset()
        or storage.nbytes() != slot.nbytes
        or any(
            read.data is not None and read.data.untyped_storage().data_ptr() == storage.data_ptr()
            for read in reads
        )
    ):
        if tuple(result.shape) != slot.size:
            raise SimError(f"hpusim: shape {slot.size} expected, {tuple(result.shape)} computed")
        rt.stats["bind_copies"] += 1
        copy = torch.empty_strided(slot.size, slot.stride, dtype=slot.dtype)
        result = copy.copy_(result)
    slot.data = result


def register() -> None:
    """Register kernels for every op that the device could run; once per process."""
    if _libraries:
        return
    library = torch.library.Library("aten", "IMPL")
    _libraries.append(library)
    for qualified in torch._C._dispatch_get_all_op_names():
        if qualified.startswith("aten::") and qualified[6:] not in SPECIAL:
            _register_one(library, qualified)
    for name, kernel in SPECIAL.items():
        library.impl(name, kernel, guard.KEY)
    library.impl("is_pinned", is_pinned, "CPU")
    library.impl("_pin_memory", pin_memory, "CPU")
    boxed = torch.library.Library("_", "IMPL")
    _libraries.append(boxed)
    boxed.fallback(run_op, guard.KEY)


def _register_one(library: torch.library.Library, qualified: str) -> None:
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    name, _, overload = qualified[6:].partition(".")
    on_cpu = has_kernel(qualified, "CPU")
    composite = has_kernel(qualified, "CompositeExplicitAutogradNonFunctional") or has_kernel(
        qualified, "CompositeExplicitAutograd"
    )
    op = getattr(getattr(torch.ops.aten, name, None), overload or "default", None)
    if op is None or not (on_cpu or composite or name in WHOLE_OPS):
        return
    arguments = op._schema.arguments
    if not any("Tensor" in str(argument.type) for argument in arguments):
        return  # factories stay composite: empty and fill_
    if any(argument.name == "device" for argument in arguments):
        return  # *_like and _to_copy stay composite: empty_strided and copy_
    if OpInfo(op).view and not on_cpu:
        return  # composite views decompose to as_strided

    def kernel(*args: Any, **kwargs: Any) -> Any:
        return run_op(op, *args, **kwargs)

    library.impl(qualified[6:], kernel, guard.KEY)
