"""What makes a copy to the host asynchronous on Gaudi: pinned memory, and no cast on the way."""

from __future__ import annotations

import contextlib
import warnings

import torch

from w2v_core.errors import DeviceError


def check_asynchronous(source: torch.Tensor, destination: torch.Tensor) -> None:
    """Refuse copies that the bridge would quietly make blocking, or finish after their event."""
    problem = None
    if source.dtype != destination.dtype:
        problem = f"it casts {source.dtype} to {destination.dtype}"
    elif source.dtype in (torch.int64, torch.float64):
        problem = f"{source.dtype} goes through a blocking intermediate; use 32 bits"
    elif destination.storage_offset() != 0 or not destination.is_contiguous():
        problem = "its destination is not the beginning of a pinned block"
    elif not _is_pinned(destination):
        problem = "its destination is not pinned; use host_buffer()"
    if problem is not None:
        raise DeviceError(f"a D2H copy cannot be asynchronous: {problem}")


def pin(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return a pinned copy; None where the host has no more memory to pin.

    Older torch pins for CUDA unless told the device; newer torch deprecates telling it.
    """
    for device in ((), ("hpu",)):
        with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
            warnings.simplefilter("ignore", DeprecationWarning)
            pinned = tensor.pin_memory(*device)
            if _is_pinned(pinned):
                return pinned
    return None


def _is_pinned(tensor: torch.Tensor) -> bool:
    for device in ((), ("hpu",)):
        with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
            warnings.simplefilter("ignore", DeprecationWarning)
            if tensor.is_pinned(*device):
                return True
    return False
