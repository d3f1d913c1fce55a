"""Put the simulated device into this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from tests.hpusim import autocast, compiler, dispatch, guard, packages, torch_hpu
from tests.hpusim.config import Config, SimError
from tests.hpusim.memory import extent
from tests.hpusim.runtime import ACTIVE, Runtime
from tests.hpusim.tensors import DEVICE, alloc, blank, ref, set_storage

__all__ = ["fresh", "install", "is_installed"]


def is_installed() -> bool:
    """Return whether this process has the simulated device."""
    return hasattr(ACTIVE, "rt")


def install(config: Config | None = None) -> Runtime:
    """Install once per process, or start a fresh device where it is installed already.

    Raises:
        SimError: a real bridge is loaded.
    """
    first = not is_installed()
    if first and hasattr(torch, "hpu"):
        raise SimError("hpusim refuses to install: torch.hpu exists, a real bridge is loaded")
    runtime = Runtime(config)
    if first:
        guard.install(torch_hpu)
        ACTIVE.rt = runtime
        dispatch.register()
        autocast.register()
        _patch_torch()
        packages.install()
    ACTIVE.rt = runtime
    if not runtime.config.lazy:
        compiler.register()
    return runtime


@contextlib.contextmanager
def fresh(config: Config | None = None) -> Iterator[Runtime]:
    """A device of its own for one test; the one before is active again afterwards."""
    before = ACTIVE.rt
    runtime = install(config)
    try:
        yield runtime
    finally:
        runtime.close()
        ACTIVE.rt = before


def _patch_torch() -> None:
    """Fill the gaps that stock PyTorch leaves for a device without C++."""
    if not hasattr(torch, "hpu"):
        torch._register_device_module("hpu", torch_hpu)
    torch.Tensor.is_hpu = property(  # type: ignore[attr-defined]
        lambda tensor: tensor.device.type == "hpu"
    )
    torch.Tensor.hpu = (  # type: ignore[attr-defined]
        lambda tensor, device=None, non_blocking=False: tensor.to(DEVICE, non_blocking=non_blocking)
    )
    record_stream = torch.Tensor.record_stream

    def record(self: torch.Tensor, stream: Any) -> None:
        if self.device.type == "hpu":
            ref(self).slot.recorded |= {stream.stream_id}
        else:
            record_stream(self, stream)

    torch.Tensor.record_stream = record  # type: ignore[assignment,method-assign]
    torch.serialization.register_package(5, lambda _storage: None, _deserialise)
    clone = torch.UntypedStorage.clone

    def clone_storage(self: torch.UntypedStorage) -> torch.UntypedStorage:
        return _clone_on_device(self) if self.device.type == "hpu" else clone(self)

    torch.UntypedStorage.clone = clone_storage  # type: ignore[assignment,method-assign]


def _deserialise(storage: Any, location: str) -> Any:
    """Load a checkpoint saved from the device; the stock path needs a C++ allocator."""
    if not location.startswith("hpu"):
        return None
    host = torch.empty(0, dtype=torch.uint8).set_(storage)
    size = (host.numel(),)
    return alloc(size, (1,), torch.uint8)[0].copy_(host).untyped_storage()


def _clone_on_device(storage: torch.UntypedStorage) -> torch.UntypedStorage:
    size = (storage.nbytes(),)
    source = set_storage(blank(torch.uint8), storage, 0, size, (1,))
    target, _ = alloc(size, (1,), torch.uint8)
    assert extent(size, (1,)) == storage.nbytes()
    return target.copy_(source).untyped_storage()
