"""Give device type ``hpu`` a device guard without C++.

``torch._C._acc`` registers a Python DeviceGuard, but only in the PrivateUse1 entry of c10's guard
table; its getDevice() is ``Device(type_(), 0)``, so the same object is a correct HPU guard once
type_() says HPU, and its pointer is copied to the HPU entry. With HPUSIM_KEY=PrivateUse1 the
official route is taken instead: the PrivateUse1 backend renamed to ``hpu``.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from tests.hpusim.config import SimError

__all__ = ["AUTOCAST_KEY", "KEY", "install"]

KEY = os.environ.get("HPUSIM_KEY", "HPU")
AUTOCAST_KEY = f"Autocast{KEY}"
_TABLE = "_ZN3c104impl26device_guard_impl_registryE"  # c10::impl::device_guard_impl_registry
_kept: list[Any] = []

if KEY == "PrivateUse1":
    torch.utils.rename_privateuse1_backend("hpu")  # type: ignore[attr-defined]  # before the first torch.device("hpu")


def install(device_module: ModuleType) -> None:
    """Make ``torch.device("hpu")`` usable.

    Raises:
        SimError: a real bridge is loaded, or this torch has no Python device guard (needs 2.10).
    """
    if _kept:
        return
    if not hasattr(torch._C, "_acc"):
        raise SimError(f"hpusim needs torch 2.10 or later; this is {torch.__version__}")
    if KEY == "PrivateUse1":
        _install_renamed(device_module)
        return
    device_type: Any = torch._C._autograd.DeviceType

    class Guard(torch._C._acc.DeviceGuard):
        def type_(self) -> Any:
            return device_type.HPU

    library = Path(torch.__file__).parent / "lib" / "libc10.so"
    table = (ctypes.c_void_p * 22).in_dll(ctypes.CDLL(str(library)), _TABLE)
    if table[int(device_type.HPU)]:
        raise SimError("hpusim refuses to install: a real HPU bridge is loaded in this process")
    _kept.append(Guard())
    torch._C._acc.register_python_privateuseone_device_guard(_kept[0])
    table[int(device_type.HPU)] = table[int(device_type.PrivateUse1)]


def _install_renamed(device_module: ModuleType) -> None:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    class Hooks(torch._C._acc.PrivateUse1Hooks):
        def is_available(self) -> bool:
            return True

        def has_primary_context(self, _index: int) -> bool:
            return True

        def is_built(self) -> bool:
            return True

    class Guard(torch._C._acc.DeviceGuard):
        def type_(self) -> Any:
            return torch._C._autograd.DeviceType.PrivateUse1

    _kept.extend([Hooks(), Guard()])
    _setup_privateuseone_for_python_backend("hpu", device_module, *_kept)
