"""Kernels that do more than run the CPU op later: allocation, metadata, copies, host reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tests.hpusim.config import CaptureError
from tests.hpusim.memory import PinnedBlock, PinnedHandle, extent, poison_
from tests.hpusim.runtime import ACTIVE, Runtime
from tests.hpusim.streams import Command
from tests.hpusim.tensors import alloc, contiguous_strides, is_hpu, ref, set_storage

__all__ = ["SPECIAL", "is_pinned", "pin_memory", "resize_"]

aten = torch.ops.aten


def _run_op(op: Any, *args: Any, **kwargs: Any) -> Any:
    from tests.hpusim.dispatch import run_op  # dispatch registers what is defined here

    return run_op(op, *args, **kwargs)


# ---------------------------------------------------------------- allocation and metadata
def _strides(size: Sequence[int], memory_format: torch.memory_format | None) -> tuple[int, ...]:
    if memory_format in (None, torch.contiguous_format, torch.preserve_format):
        return contiguous_strides(size)
    return torch.empty(size, device="meta", memory_format=memory_format).stride()


def empty(
    size: Sequence[int],
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: torch.memory_format | None = None,
) -> torch.Tensor:
    """aten::empty.memory_format."""
    dtype = dtype or torch.get_default_dtype()
    return alloc(tuple(size), _strides(size, memory_format), dtype)[0]


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
) -> torch.Tensor:
    """aten::empty_strided."""
    return alloc(tuple(size), tuple(stride), dtype or torch.get_default_dtype())[0]


def set_whole(self: torch.Tensor, storage: torch.UntypedStorage) -> torch.Tensor:
    """aten::set_.source_Storage."""
    return set_storage(self, storage, 0, [storage.nbytes() // self.element_size()], [1])


def set_offset(
    self: torch.Tensor,
    storage: torch.UntypedStorage,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int] = (),
) -> torch.Tensor:
    """aten::set_.source_Storage_storage_offset."""
    return set_storage(self, storage, offset, size, stride or contiguous_strides(size))


def resize_(self: torch.Tensor, size: Sequence[int], memory_format: Any = None) -> torch.Tensor:
    """aten::resize_."""
    stride = contiguous_strides(size)
    storage, offset = self.untyped_storage(), int(self.storage_offset())
    if extent(tuple(size), stride) * self.element_size() > storage.nbytes():
        storage, offset = alloc(tuple(size), stride, self.dtype)[0].untyped_storage(), 0
    return set_storage(self, storage, offset, size, stride)


def record_stream(self: torch.Tensor, stream: Any) -> None:
    """aten::record_stream: the allocation may be freed while other streams still read it."""
    self.untyped_storage()._hpusim_slot.reads = None  # type: ignore[attr-defined]


# ---------------------------------------------------------------- pinned host memory
def _pin(tensor: torch.Tensor) -> None:
    storage = tensor.untyped_storage()
    handle = PinnedHandle(ACTIVE.rt.pinned, storage.nbytes())
    storage._hpusim_pin = handle  # type: ignore[attr-defined]


def is_pinned(tensor: torch.Tensor, device: Any = None) -> bool:
    """aten::is_pinned; True for views at any offset, as on the device."""
    return tensor.device.type == "cpu" and hasattr(tensor.untyped_storage(), "_hpusim_pin")


def pin_memory(self: torch.Tensor, device: Any = None) -> torch.Tensor:
    """aten::_pin_memory: a pinned copy."""
    out = torch.empty_like(self, memory_format=torch.preserve_format)
    _pin(out)
    return out.copy_(self)


def _block(tensor: torch.Tensor) -> PinnedBlock | None:
    """Return the pinned block that a copy engine recognises: its base pointer, and no other."""
    handle = getattr(tensor.untyped_storage(), "_hpusim_pin", None)
    if handle is None or tensor.storage_offset() != 0 or not tensor.is_contiguous():
        return None
    block: PinnedBlock = handle.block
    return block


# ---------------------------------------------------------------- copies
def copy_(dst: torch.Tensor, src: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """aten::copy_ in all directions."""
    if is_hpu(dst) and is_hpu(src):
        result: torch.Tensor = _run_op(aten.copy_.default, dst, src, non_blocking)
        return result
    rt = ACTIVE.rt
    if rt.capture is not None and (is_hpu(dst) or rt.config.capture_host_sync == "raise"):
        raise CaptureError(
            "copy between host and device is not supported during HPU Graph capturing"
        )
    if is_hpu(dst):
        _copy_to_device(rt, dst, src, asynchronous=non_blocking)
    else:
        _copy_to_host(rt, dst, src, asynchronous=non_blocking)
    return dst


def _seconds(rt: Runtime, tensor: torch.Tensor) -> float:
    if rt.config.latency is None:
        return 0.0
    return rt.config.latency("copy", tensor.numel() * tensor.element_size())


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _copy_to_device(
    rt: Runtime, dst: torch.Tensor, src: torch.Tensor, *, asynchronous: bool
) -> None:
    """Pageable memory is staged at once; a pinned source is read when the copy runs."""
    rt.stats["h2d"] += 1
    view = ref(dst)
    rt.note_view(view)
    late = asynchronous and is_pinned(src)
    source = src.detach() if late else src.detach().clone()
    snapshot = _bytes(source).clone() if late and rt.config.hazards != "off" else None

    def run() -> None:
        if snapshot is not None and not torch.equal(_bytes(source), snapshot):
            line = (
                "hpusim: host-write-before-read hazard: a pinned source of "
                f"{snapshot.numel()} bytes changed while its H2D copy was in flight"
            )
            rt.detector.report([line])
        view.cpu().copy_(source)

    command = Command("copy_h2d", run, writes=(view.slot,), seconds=_seconds(rt, source))
    rt.submit(command, cost="copy")
    if not asynchronous:
        rt.host_sync("blocking H2D copy")


def _copy_to_host(rt: Runtime, dst: torch.Tensor, src: torch.Tensor, *, asynchronous: bool) -> None:
    """Asynchronous into pinned memory of the same dtype only.

    int64 (INT64 support off) and any cast go through a blocking intermediate. A pageable
    destination is written by a host thread that no synchronisation waits for.
    """
    rt.stats["d2h"] += 1
    view = ref(src)
    rt.note_view(view)
    narrowed = src.dtype is torch.int64 and not rt.config.int64
    if asynchronous and (narrowed or dst.dtype is not src.dtype):
        rt.stats["blocking_d2h"] += 1
        asynchronous = False
    block = _block(dst) if asynchronous else None
    target = dst.detach()
    if asynchronous and rt.config.poison:
        poison_(target)

    def run() -> None:
        if not asynchronous or block is not None:
            target.copy_(view.cpu())
        else:
            staged = view.cpu().clone()
            rt.copy_late(command.t_done, lambda: target.copy_(staged))

    seconds = _seconds(rt, dst)
    command = Command("copy_d2h", run, reads=(view.slot,), host_write=block, seconds=seconds)
    if rt.capture is not None:
        _run_baked(rt, command)
        return
    rt.submit(command, cost="copy")
    if not asynchronous:
        rt.host_sync("blocking D2H copy")


def _run_baked(rt: Runtime, command: Command) -> None:
    """Do a D2H copy inside a capture once: it is not recorded, its value is frozen."""
    rt.host_sync("D2H copy")
    rt.run(command)


def to_copy(
    self: torch.Tensor,
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format | None = None,
) -> torch.Tensor:
    """aten::_to_copy; BackendSelect brings host tensors here as well."""
    if not is_hpu(self):
        like = torch.empty_like(
            self, device="meta", memory_format=memory_format or torch.preserve_format
        )
        out = alloc(tuple(self.shape), like.stride(), dtype or self.dtype)[0]
        return copy_(out, self, non_blocking)
    if device is None or device.type == "hpu":
        result: torch.Tensor = _run_op(
            aten._to_copy.default, self, dtype=dtype or self.dtype, memory_format=memory_format
        )
        return result
    if dtype is not None and dtype is not self.dtype:
        self = _run_op(aten._to_copy.default, self, dtype=dtype)
    like = torch.empty_like(
        self, device="meta", memory_format=memory_format or torch.preserve_format
    )
    host = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)
    if pin_memory or non_blocking:
        _pin(host)  # stock `_to_copy` pins asynchronous device-to-host results
    return copy_(host, self, non_blocking)


# ---------------------------------------------------------------- host reads
def item(self: torch.Tensor) -> Any:
    """aten::_local_scalar_dense."""
    ACTIVE.rt.host_sync("item()")
    return ref(self).cpu().item()


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """aten::equal."""
    ACTIVE.rt.host_sync("equal()")
    return torch.equal(*(ref(t).cpu() if is_hpu(t) else t for t in (a, b)))


def fused_sdp_choice(*_args: Any, **_kwargs: Any) -> int:
    """aten::_fused_sdp_choice: math, for torch.compile, which decomposes attention on its own."""
    return 0


SPECIAL: dict[str, Callable[..., Any]] = {
    "_fused_sdp_choice": fused_sdp_choice,
    "_local_scalar_dense": item,
    "_to_copy": to_copy,
    "copy_": copy_,
    "empty.memory_format": empty,
    "empty_strided": empty_strided,
    "equal": equal,
    "record_stream": record_stream,
    "resize_": resize_,
    "set_.source_Storage": set_whole,
    "set_.source_Storage_storage_offset": set_offset,
}
