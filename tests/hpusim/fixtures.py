"""Fixtures of the simulated device, for the conftest of every directory that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests import hpusim
from w2v_core.backends.hpu_probe import load_bridge

if TYPE_CHECKING:
    from w2v_core.backends.hpu import HpuBackend

__all__ = ["hpu", "hpu_backend", "simulator"]


@pytest.fixture(scope="session")
def simulator() -> None:
    """Skip what is about the simulator where the device is real."""
    if not hpusim.is_installed():
        pytest.skip("tests of the simulated Gaudi; run with --simulate-hpu")


@pytest.fixture
def hpu(simulator: None) -> Iterator[hpusim.Runtime]:
    """A fresh device in lazy mode; afterwards no access may have been unordered."""
    with hpusim.fresh(hpusim.Config()) as runtime:
        yield runtime
        assert runtime.hazards == []


@pytest.fixture
def hpu_backend(hpu: hpusim.Runtime) -> HpuBackend:
    """The product's backend on the fresh device."""
    from w2v_core.backends.hpu import HpuBackend

    return HpuBackend(load_bridge())
