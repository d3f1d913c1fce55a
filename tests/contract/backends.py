"""Every backend that this session can open, as one parametrised fixture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import pytest

from tests import hpusim
from w2v_core.backends.base import Backend, Event
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.backends.watchdog import wait
from w2v_core.config import DeviceChoice
from w2v_core.engine.devices import available_devices, open_backend

if TYPE_CHECKING:
    from w2v_core.backends.hpu import HpuBackend

__all__ = ["backend", "passed"]


@pytest.fixture(
    params=[
        pytest.param("cpu", marks=pytest.mark.cpu),
        pytest.param("cpu-openvino", marks=pytest.mark.cpu),
        pytest.param("cpu-inductor", marks=[pytest.mark.cpu, pytest.mark.slow]),
        pytest.param("cuda", marks=pytest.mark.cuda),
        pytest.param("hpu-lazy", marks=pytest.mark.hpu),
        pytest.param("hpu-eager", marks=pytest.mark.hpu),
    ]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A backend; a simulated Gaudi is fresh for each test and checked for hazards after it."""
    name, _, execution = request.param.partition("-")
    if name == "hpu":
        yield from open_gaudi(execution)
        return
    if name == "cpu":
        with pytest.MonkeyPatch.context() as patch:
            from tests.helpers import compilers  # torch: not before options are read

            compilers.choose(patch, execution)
            yield open_backend("cpu")
        return
    device = cast("DeviceChoice", name)
    missing = available_devices()[device]
    if missing is not None:
        pytest.skip(missing)
    opened = open_backend(device)
    yield opened
    opened.synchronize()


def passed(event: Event) -> None:
    """Wait for the event, as the engine does."""
    assert wait(event, timeout_s=60)


@lru_cache(maxsize=1)
def _card() -> HpuBackend:
    """The session's card: streams are never freed, so that a backend a test would run out."""
    from w2v_core.backends.hpu import HpuBackend

    return HpuBackend(load_bridge())


def open_gaudi(execution: str) -> Iterator[Backend]:
    """Yield the session's card, or a fresh simulated one; skip the mode that is not the card's."""
    from w2v_core.backends.hpu import HpuBackend

    if hpusim.is_installed():
        with hpusim.fresh(hpusim.Config(lazy=execution == "lazy")) as runtime:
            yield HpuBackend(load_bridge())
            assert runtime.hazards == []
        return
    card = _card()
    if card.execution != execution:
        pytest.skip(f"this process runs the card in {card.execution} mode")
    yield card
