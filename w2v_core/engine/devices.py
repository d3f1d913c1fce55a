"""Opens backends by name; the only place that knows which files hold them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import cast

from w2v_core.backends.base import Backend
from w2v_core.backends.hpu_environment import vendor_warnings
from w2v_core.config import DeviceChoice

AUTO_ORDER: tuple[DeviceChoice, ...] = ("hpu", "cuda", "cpu")


def open_backend(choice: DeviceChoice) -> Backend:
    """Open a device; ``auto`` takes the first of hpu, cuda, cpu that is there.

    Raises:
        DeviceError: the device that was asked for is missing, with what to install.
    """
    if choice == "auto":
        missing = available_devices()
        choice = next(name for name in AUTO_ORDER if missing[name] is None)
    return cast("Backend", _module(choice).open_backend())


def available_devices() -> dict[DeviceChoice, str | None]:
    """Say for each device why it is missing; None where it is there. Acquires no card."""
    return {name: why_missing(name) for name in AUTO_ORDER}


def why_missing(name: DeviceChoice) -> str | None:
    """Say why one device is missing; None where it is there. Loads no other device's software."""
    return cast("str | None", _module(name).unavailable())


def _module(name: DeviceChoice) -> ModuleType:
    """Import a backend, and torch with it, which may load a vendor's bridge by itself."""
    with vendor_warnings():
        return importlib.import_module(f"w2v_core.backends.{name}")
