"""A Gaudi without hardware: asynchronous, strict and deterministic, in pure Python.

``install(Config(...))`` puts it into ``torch.hpu`` and ``habana_frameworks.torch``. Results equal
the CPU's bit for bit; what differs is *when* they exist, and that every missing synchronisation is
found. Nothing of the product knows about it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.hpusim.config import (
        CaptureError,
        Config,
        DeviceLostError,
        HazardError,
        OutOfMemoryError,
        SimError,
        from_environment,
    )
    from tests.hpusim.faults import Faults
    from tests.hpusim.installation import fresh, install, is_installed
    from tests.hpusim.runtime import ACTIVE, Runtime

__all__ = [
    "ACTIVE",
    "CaptureError",
    "Config",
    "DeviceLostError",
    "Faults",
    "HazardError",
    "OutOfMemoryError",
    "Runtime",
    "SimError",
    "fresh",
    "from_environment",
    "install",
    "is_installed",
]

PLACES = {
    "Faults": "faults",
    "fresh": "installation",
    "install": "installation",
    "is_installed": "installation",
    "ACTIVE": "runtime",
    "Runtime": "runtime",
}
"""Where a name is defined; config.py where it is not listed."""


def __getattr__(name: str) -> Any:
    """Look a name up on first use: torch must not be imported before the mode is chosen."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{PLACES.get(name, 'config')}"), name)
