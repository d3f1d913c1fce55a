"""Device allocations, views of them, and pinned host blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tests.hpusim.config import OutOfMemoryError

if TYPE_CHECKING:
    from tests.hpusim.runtime import Runtime

__all__ = ["PinnedBlock", "PinnedHandle", "PinnedPool", "Ref", "Slot", "Token", "extent", "poison_"]

Ints = tuple[int, ...]


def poison_(tensor: torch.Tensor) -> torch.Tensor:
    """Fill with a value that no correct program reads: NaN, True or the smallest integer."""
    if tensor.numel() == 0:
        return tensor
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.fill_(float("nan"))
    if tensor.dtype is torch.bool:
        return tensor.fill_(True)
    limits = torch.iinfo(tensor.dtype)
    return tensor.fill_(limits.min if tensor.dtype.is_signed else limits.max)


def extent(size: Ints, stride: Ints) -> int:
    """Count the elements from the first to the last one that the layout reaches."""
    reach = 1
    for length, step in zip(size, stride, strict=True):
        if length == 0:
            return 0
        reach += (length - 1) * step
    return reach


class Tracked:
    """Memory whose accesses the hazard detector follows."""

    __slots__ = ("reads", "write")

    def __init__(self) -> None:
        self.write: tuple[int, int] | None = None
        self.reads: dict[int, int] | None = {}


class Slot(Tracked):
    """One device allocation. ``data`` is the CPU tensor behind it, bound when an op has run."""

    __slots__ = (
        "__weakref__",
        "data",
        "dtype",
        "live",
        "nbytes",
        "recorded",
        "rt",
        "size",
        "stream",
        "stride",
    )

    def __init__(
        self, rt: Runtime, *, nbytes: int, size: Ints, stride: Ints, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.rt, self.nbytes, self.size, self.stride, self.dtype = rt, nbytes, size, stride, dtype
        self.data: torch.Tensor | None = None
        self.stream = rt.current.sid
        self.live = False
        self.recorded: frozenset[int] = frozenset()

    def base(self) -> torch.Tensor:
        """Return the backing tensor; uninitialised memory is poisoned."""
        if self.data is None:
            data = torch.empty_strided(self.size, self.stride, dtype=self.dtype)
            self.data = poison_(data) if self.rt.config.poison else data
        return self.data


class Token:
    """Lives as long as the storage that the program holds: what the allocator counts.

    The queue keeps the Slot itself alive, as stream-ordered freeing would.
    """

    __slots__ = ("slot",)

    def __init__(self, slot: Slot) -> None:
        slot.rt.allocate(slot.nbytes)
        self.slot = slot
        slot.live = True

    def __del__(self) -> None:
        slot = getattr(self, "slot", None)
        if slot is not None:
            slot.live = False
            slot.rt.free(slot)


class Ref:
    """A view of a slot, resolved to a CPU tensor when its command runs."""

    __slots__ = ("dtype", "offset", "size", "slot", "stride", "whole")

    def __init__(
        self, slot: Slot, size: Ints, stride: Ints, offset: int, dtype: torch.dtype
    ) -> None:
        self.slot, self.size, self.stride, self.offset = slot, size, stride, offset
        self.dtype = dtype
        self.whole = (
            offset == 0 and size == slot.size and stride == slot.stride and dtype == slot.dtype
        )

    def cpu(self) -> torch.Tensor:
        """Return the memory that the view means now."""
        base = self.slot.data
        if base is None:
            base = self.slot.base()
        if self.whole:
            return base
        if self.dtype is base.dtype and base.storage_offset() == 0:
            return torch.as_strided(base, self.size, self.stride, self.offset)
        view = torch.empty(0, dtype=self.dtype)
        return view.set_(base.untyped_storage(), self.offset, self.size, self.stride)


class PinnedBlock(Tracked):
    """A page-locked host block; once made it is reused, never given back."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes: int) -> None:
        super().__init__()
        self.nbytes = nbytes


class PinnedHandle:
    """Ties a block to the storage that uses it."""

    __slots__ = ("block", "pool")

    def __init__(self, pool: PinnedPool, nbytes: int) -> None:
        self.pool = pool
        self.block = pool.take(nbytes)

    def __del__(self) -> None:
        block = getattr(self, "block", None)
        if block is not None:
            self.pool.give_back(block)


class PinnedPool:
    """Best fit over freed blocks; grows otherwise, and shrinks only when the host is exhausted."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.reserved_bytes = 0
        self.in_use_bytes = 0
        self._free: list[PinnedBlock] = []

    def take(self, nbytes: int) -> PinnedBlock:
        """Return the smallest fitting free block or a new one.

        Raises:
            OutOfMemoryError: the limit is reached with the cache already dropped.
        """
        fitting = [block for block in self._free if block.nbytes >= nbytes]
        if fitting:
            block = min(fitting, key=lambda b: b.nbytes)
            self._free.remove(block)
        else:
            block = self._new(nbytes)
        self.in_use_bytes += block.nbytes
        return block

    def _new(self, nbytes: int) -> PinnedBlock:
        if self.reserved_bytes + nbytes > self.limit_bytes:
            self.reserved_bytes -= sum(block.nbytes for block in self._free)
            self._free.clear()
        if self.reserved_bytes + nbytes > self.limit_bytes:
            raise OutOfMemoryError(
                f"synHostMalloc failed to allocate {nbytes} bytes "
                f"({self.reserved_bytes} of {self.limit_bytes} bytes pinned)"
            )
        self.reserved_bytes += nbytes
        return PinnedBlock(nbytes)

    def give_back(self, block: PinnedBlock) -> None:
        """Cache a freed block."""
        self.in_use_bytes -= block.nbytes
        block.write, block.reads = None, {}
        self._free.append(block)
