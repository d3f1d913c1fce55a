"""Plain ``torch.Tensor`` objects on device ``hpu`` without a C++ allocator.

TensorImpl's constructor strips the Python key, so an alias of a wrapper subclass made below the
Python dispatcher is a *plain* HPU tensor; ``set_`` with the CPU kernel (metadata only) then gives
it a storage whose address is unique and never dereferenceable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet

from tests.hpusim.config import SimError
from tests.hpusim.memory import Ref, Slot, Token, extent
from tests.hpusim.runtime import ACTIVE

__all__ = ["CPU_KEY", "DEVICE", "alloc", "contiguous_strides", "is_hpu", "ref", "set_storage"]

DEVICE = torch.device("hpu", 0)
CPU_KEY = DispatchKeySet(DispatchKey.CPU)
_ALIAS = torch.ops.aten.alias.default
_SET = torch.ops.aten.set_.source_Storage_storage_offset
_addresses = itertools.count(1 << 56, 1 << 8)  # non-canonical: dereferencing one always faults
_prototypes: dict[torch.dtype, torch.Tensor] = {}


class _Prototype(torch.Tensor):
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def,override]
        raise SimError("hpusim: a prototype tensor was used")


def _prototype(dtype: torch.dtype) -> torch.Tensor:
    found = _prototypes.get(dtype)
    if found is None:
        wrapper = torch.Tensor._make_wrapper_subclass(_Prototype, (0,), dtype=dtype, device=DEVICE)
        with torch._C._DisableTorchDispatch():
            found = _prototypes[dtype] = _ALIAS.redispatch(CPU_KEY, wrapper)
    return found


def contiguous_strides(size: Sequence[int]) -> tuple[int, ...]:
    """Return row-major strides."""
    strides, step = [], 1
    for length in reversed(size):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def set_storage(
    tensor: torch.Tensor,
    storage: torch.UntypedStorage,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
) -> torch.Tensor:
    """Point the tensor's metadata at a storage."""
    result: torch.Tensor = _SET.redispatch(CPU_KEY, tensor, storage, offset, size, stride)
    return result


def blank(dtype: torch.dtype) -> torch.Tensor:
    """Return an empty plain HPU tensor to be given a storage."""
    result: torch.Tensor = _ALIAS.redispatch(CPU_KEY, _prototype(dtype))
    return result


def alloc(
    size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype
) -> tuple[torch.Tensor, Slot]:
    """Allocate a device tensor.

    Raises:
        OutOfMemoryError: the device's memory is exhausted.
    """
    nbytes = extent(size, stride) * dtype.itemsize
    slot = Slot(ACTIVE.rt, nbytes=nbytes, size=size, stride=stride, dtype=dtype)
    token = Token(slot)
    address = next(_addresses)
    storage: Any = torch._C._construct_storage_from_data_pointer(address, DEVICE, nbytes)
    # PyObject preservation keeps these attributes for the life of the StorageImpl.
    storage._hpusim_slot, storage._hpusim_token = slot, token
    tensor = blank(dtype)
    _SET.redispatch(CPU_KEY, tensor, storage, 0, size, stride)
    return tensor, slot


def ref(tensor: torch.Tensor) -> Ref:
    """Return what the tensor means at this point of the program."""
    slot: Slot = tensor.untyped_storage()._hpusim_slot  # type: ignore[attr-defined]
    return Ref(
        slot, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.dtype
    )


def is_hpu(tensor: torch.Tensor) -> bool:
    """Return whether the tensor lives on the device."""
    return tensor.device.type == "hpu"
