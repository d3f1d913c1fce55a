"""A Gaudi without hardware: asynchronous, strict and deterministic, in pure Python.

``install(Config(...))`` puts it into ``torch.hpu`` and ``habana_frameworks.torch``. Results equal
the CPU's bit for bit; what differs is *when* they exist, and that every missing synchronisation is
found. Nothing of the product knows about it.
"""

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
from tests.hpusim.install import fresh, install, is_installed
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
