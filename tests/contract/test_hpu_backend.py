"""What the HPU backend refuses or guards beyond the common contract."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests import hpusim
from tests.contract.backends import passed
from tests.contract.test_hpu_captures import inputs, step
from tests.hpusim import Config, Runtime
from w2v_core.backends import hpu as hpu_module
from w2v_core.backends.hpu import HpuBackend
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.config import MAX_STREAMS
from w2v_core.errors import DeviceError

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


def test_simulated_device_says_so(hpu_backend: HpuBackend) -> None:
    assert hpu_backend.device_name == "simulated"


def test_float16_is_refused_with_its_reason(hpu_backend: HpuBackend) -> None:
    with pytest.raises(DeviceError, match="group norm"):
        hpu_backend.check_dtype("float16")  # type: ignore[arg-type]


def test_device_with_too_few_streams_is_refused(simulator: None) -> None:
    few = hpusim.fresh(Config(stream_limit=MAX_STREAMS - 1))
    with few, pytest.raises(DeviceError, match=f"one of {MAX_STREAMS} copy streams.*open the back"):
        HpuBackend(load_bridge())


def test_streams_are_bounded_whatever_the_lanes(hpu: Runtime, hpu_backend: HpuBackend) -> None:
    source = torch.zeros(4, dtype=torch.int32).to("hpu")
    for lane in range(50):
        hpu_backend.download(source, hpu_backend.host_buffer(4, torch.int32), lane=lane)
    hpu_backend.synchronize()
    assert hpu.num_streams_made == MAX_STREAMS


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        pytest.param(torch.int64, torch.int64, "64", id="int64"),
        pytest.param(torch.float32, torch.int32, "casts", id="cast"),
    ],
)
def test_download_that_would_block_is_refused(
    hpu_backend: HpuBackend, source: torch.dtype, destination: torch.dtype, message: str
) -> None:
    ids = torch.zeros(4, dtype=source).to("hpu")
    host = torch.zeros(4, dtype=destination).pin_memory()
    with pytest.raises(DeviceError, match=message):
        hpu_backend.download(ids, host, lane=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: torch.zeros(4, dtype=torch.int32), "not pinned", id="pageable"),
        pytest.param(
            lambda: torch.zeros(5, dtype=torch.int32).pin_memory()[1:], "beginning", id="sliced"
        ),
        pytest.param(
            lambda: torch.zeros(4, 4, dtype=torch.int32).pin_memory()[:, 0],
            "beginning",
            id="strided",
        ),
    ],
)
def test_download_that_would_outlive_its_event_is_refused(
    hpu_backend: HpuBackend, make: Callable[[], torch.Tensor], message: str
) -> None:
    ids = torch.zeros(4, dtype=torch.int32).to("hpu")
    with pytest.raises(DeviceError, match=message):
        hpu_backend.download(ids, make(), lane=0)


def test_download_returns_before_the_copy_is_done(hpu: Runtime, hpu_backend: HpuBackend) -> None:
    host = hpu_backend.host_buffer(4, torch.int32)
    ids = torch.ones(4, dtype=torch.int32).to("hpu")
    syncs = hpu.stats["host_syncs"]
    event = hpu_backend.download(ids, host, lane=0)
    assert hpu.stats["host_syncs"] == syncs
    assert host.tolist() != [1] * 4
    passed(event)
    assert host.tolist() == [1] * 4


@pytest.mark.parametrize("call", ["synchronize", "upload", "download", "capture", "compute"])
def test_other_threads_are_refused(hpu_backend: HpuBackend, call: str) -> None:
    host, device = hpu_backend.host_buffer(4, torch.int32), torch.zeros(4, dtype=torch.int32)
    calls: dict[str, Callable[[], Any]] = {
        "synchronize": hpu_backend.synchronize,
        "upload": lambda: hpu_backend.upload(host),
        "download": lambda: hpu_backend.download(device, host, lane=0),
        "capture": lambda: hpu_backend.capture(step, *inputs()),
        "compute": lambda: hpu_backend.compute().__enter__(),
    }
    errors: list[BaseException] = []

    def worker() -> None:
        try:
            calls[call]()
        except DeviceError as error:
            errors.append(error)

    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()
    assert "thread" in str(errors[0])


def test_second_backend_on_the_same_card_is_refused(
    hpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hpu_module, "_open", [])
    first = hpu_module.open_backend()
    with pytest.raises(DeviceError, match="opened the Gaudi card already"):
        hpu_module.open_backend()
    first.close()
    hpu_module.open_backend().close()


def test_card_of_another_process_is_an_error_that_says_so(hpu: Runtime) -> None:
    hpu.faults.device_lost = True
    with pytest.raises(DeviceError, match="one process owns a card"):
        HpuBackend(load_bridge())


def test_asynchronous_error_surfaces_at_the_event(hpu: Runtime, hpu_backend: HpuBackend) -> None:
    host = hpu_backend.host_buffer(4, torch.int32)
    hpu.faults.fail_at["add"] = (1, RuntimeError("ECC"))
    with hpu_backend.compute():
        ids = (torch.ones(4).to("hpu") + 1).to(torch.int32)
        event = hpu_backend.download(ids, host, lane=0)
    with pytest.raises(RuntimeError, match="ECC"):
        passed(event)


def test_peak_memory_restarts(hpu_backend: HpuBackend) -> None:
    big = torch.zeros(1 << 20, device="hpu")
    del big
    hpu_backend.reset_peak_memory()
    assert hpu_backend.peak_memory_bytes() < 1 << 20


def test_recipe_cache_metric_is_read_where_it_exists(simulator: None) -> None:
    with hpusim.fresh(Config(cache_metrics=True)):
        backend = HpuBackend(load_bridge())
        for _ in range(2):
            _ = torch.ones(2).to("hpu") + 1
            backend.mark_step()
        assert backend.metric("recipe_cache") == {"RecipeHit": 1, "RecipeMiss": 1}


def test_torch_that_must_be_told_the_device_pins_as_well(
    hpu_backend: HpuBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch before 2.6 pins, and looks for pinned memory, for CUDA unless told otherwise."""
    pin, is_pinned = torch.Tensor.pin_memory, torch.Tensor.is_pinned

    def pin_for(tensor: torch.Tensor, device: str | None = None) -> torch.Tensor:
        if device is None:
            raise RuntimeError("Cannot access accelerator device when none is available")
        return pin(tensor)

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_for)
    monkeypatch.setattr(
        torch.Tensor, "is_pinned", lambda tensor, device=None: device == "hpu" and is_pinned(tensor)
    )
    host, ids = hpu_backend.host_buffer(4, torch.int32), torch.ones(4, dtype=torch.int32).to("hpu")
    passed(hpu_backend.download(ids, host, lane=0))
    assert host.tolist() == [1] * 4


def test_exhausted_pinned_memory_says_what_to_raise(simulator: None) -> None:
    small = hpusim.fresh(Config(pinned_limit_bytes=16))
    with small, pytest.raises(DeviceError, match="ulimit -l"):
        HpuBackend(load_bridge()).host_buffer(5, torch.int32)


def test_unknown_metric_is_empty(hpu_backend: HpuBackend) -> None:
    assert hpu_backend.metric("recipe_cache") == {}


@pytest.mark.parametrize("name", ["graph_compilation", "cpu_fallback"])
def test_bridge_without_a_counter_cannot_show_steady_state(
    hpu: Runtime, hpu_backend: HpuBackend, name: str
) -> None:
    """None must not read as zero."""
    del hpu.metrics.by_name[name]
    with pytest.raises(DeviceError, match=f"no metric '{name}'"):
        hpu_backend.counters()
