"""The rows of the Gaudi contract sheet, section 7: what the device does, and the bug it hides.

Each test names its row as *semantics / bug to catch*.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests import hpusim
from tests.hpusim import Config, Runtime

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]

INT32_POISON = torch.iinfo(torch.int32).min


def ht() -> Any:
    import habana_frameworks.torch as package

    return package


def pinned(*size: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.zeros(*size, dtype=dtype).pin_memory()


def test_pinned_destination_is_poison_until_its_stream_drains(hpu: Runtime) -> None:
    """Row: work is queued, poison until drained / read before event or query is done."""
    source = torch.arange(4, dtype=torch.int32).to("hpu")
    host = pinned(4)
    host.copy_(source, non_blocking=True)
    event = torch.hpu.Event()
    event.record()
    assert host.tolist() == [INT32_POISON] * 4
    event.synchronize()
    assert host.tolist() == [0, 1, 2, 3]


def test_event_recorded_off_the_current_stream_fires_early(hpu: Runtime) -> None:
    """Row: event recorded off-current fires early / premature completion."""
    source = torch.arange(4, dtype=torch.int32).to("hpu")
    host, copy = pinned(4), torch.hpu.Stream()
    copy.wait_stream(torch.hpu.current_stream())
    with torch.hpu.stream(copy):
        host.copy_(source, non_blocking=True)
    event = torch.hpu.Event()
    event.record(copy)  # outside the context: overtakes the copy that is still to be launched
    event.synchronize()
    assert host.tolist() == [INT32_POISON] * 4
    torch.hpu.synchronize()
    assert host.tolist() == [0, 1, 2, 3]


def test_wait_stream_inside_the_copy_context_orders_nothing() -> None:
    """Row: event recorded off-current / wait_stream must come before entering the context."""
    with hpusim.fresh(Config()):
        x = torch.ones(4).to("hpu") + 1
        compute, copy, host = torch.hpu.current_stream(), torch.hpu.Stream(), pinned(4)
        with torch.hpu.stream(copy):
            copy.wait_stream(compute)
            host.copy_(x.to(torch.int32), non_blocking=True)
            with pytest.raises(hpusim.HazardError, match="read-after-write"):
                torch.hpu.Event().record(copy)


@pytest.mark.parametrize("offset", [pytest.param(None, id="pageable"), 1])
def test_unrecognised_destination_is_written_after_synchronize(
    hpu: Runtime, offset: int | None
) -> None:
    """Row: pageable or offset-sliced D2H ends after synchronize() / torn or stale reads."""
    source = torch.arange(4, dtype=torch.int32).to("hpu")
    host = torch.zeros(4, dtype=torch.int32) if offset is None else pinned(5)[offset:]
    host.copy_(source, non_blocking=True)
    torch.hpu.synchronize()
    assert host.tolist() == [INT32_POISON] * 4
    hpu.clock.advance(1.0)
    torch.hpu.synchronize()
    assert host.tolist() == [0, 1, 2, 3]


def test_int64_copy_to_the_host_blocks(hpu: Runtime) -> None:
    """Row: int64 D2H blocks the host / lost overlap."""
    ids = torch.arange(4).to("hpu")
    host = pinned(4, dtype=torch.int64)
    before = hpu.stats["host_syncs"]
    host.copy_(ids, non_blocking=True)
    assert hpu.stats["host_syncs"] == before + 1
    assert host.tolist() == [0, 1, 2, 3]


def test_casting_copy_to_the_host_blocks(hpu: Runtime) -> None:
    """Row: dtype mismatch D2H blocks as well / cast on the device, not in the copy."""
    host = pinned(4)
    host.copy_(torch.arange(4.0).to("hpu"), non_blocking=True)
    assert hpu.stats["blocking_d2h"] == 1
    assert host.tolist() == [0, 1, 2, 3]


def test_int32_copy_to_the_host_does_not_block(hpu: Runtime) -> None:
    """Row: the counterpart: int32 into pinned int32 returns at once."""
    source = torch.arange(4, dtype=torch.int32).to("hpu")
    before = hpu.stats["host_syncs"]
    pinned(4).copy_(source, non_blocking=True)
    assert hpu.stats["host_syncs"] == before


@pytest.mark.parametrize(
    ("copy", "recipes"),
    [
        pytest.param(lambda flat: flat.copy_(torch.ones(4)), 0, id="h2d"),
        pytest.param(lambda flat: flat[:2].copy_(torch.ones(2)), 1, id="h2d-into-a-view"),
        pytest.param(lambda flat: flat.cpu(), 0, id="d2h"),
        pytest.param(lambda flat: flat[2:].cpu(), 1, id="d2h-from-a-view"),
    ],
)
def test_copy_of_a_view_is_a_recipe(
    hpu: Runtime, copy: Callable[[torch.Tensor], torch.Tensor], recipes: int
) -> None:
    """Section 3; in lazy mode the view's side is an insert or a slice / a recipe a batch more."""
    flat = torch.zeros(4).to("hpu")
    torch.hpu.synchronize()
    before = hpu.metrics.by_name["graph_compilation"].total
    copy(flat)
    torch.hpu.synchronize()
    assert hpu.metrics.by_name["graph_compilation"].total - before == recipes
    assert hpu.stats["view_copies"] == recipes


def test_eager_mode_copies_views_as_they_are() -> None:
    """Section 3; the insert is of lazy mode only."""
    with hpusim.fresh(Config(lazy=False)) as rt:
        torch.zeros(4).to("hpu")[:2].copy_(torch.ones(2))
        assert rt.stats["view_copies"] == 0


def test_entering_the_current_stream_ends_no_segment(hpu: Runtime) -> None:
    """Section 3: a stream switch is a mark_step; a context of the current stream is none."""
    before = hpu.metrics.by_name["graph_compilation"].total
    with torch.hpu.stream(torch.hpu.current_stream()):
        _ = torch.ones(2).to("hpu") + 1
    assert hpu.metrics.by_name["graph_compilation"].total == before
    with torch.hpu.stream(torch.hpu.Stream()):
        assert hpu.metrics.by_name["graph_compilation"].total == before + 1


def test_streams_past_the_limit_alias() -> None:
    """Row: >32 streams alias / stream leak."""
    with hpusim.fresh(Config(stream_overflow="alias")):
        streams = [torch.hpu.Stream() for _ in range(34)]
        assert len({s.stream_id for s in streams}) == 32
        assert streams[32] == streams[0]


def test_strict_mode_refuses_streams_past_the_cap() -> None:
    """Row: strict mode raises at a configurable cap / stream exhaustion."""
    with hpusim.fresh(Config(stream_limit=8)):
        _ = [torch.hpu.Stream() for _ in range(8)]
        with pytest.raises(hpusim.SimError, match="stream 9 asked for"):
            torch.hpu.Stream()


def test_pinned_pool_is_best_fit_and_never_shrinks(hpu: Runtime) -> None:
    """Row: pinned pool best-fit, never shrinks / pinned growth per batch."""
    big, small = pinned(1000), pinned(10)
    reserved = hpu.pinned.reserved_bytes
    del big, small
    assert hpu.pinned.reserved_bytes == reserved == 4040
    again = pinned(8)  # takes the block of 40 bytes, not that of 4000
    assert hpu.pinned.in_use_bytes == 40
    other = pinned(1001)
    assert hpu.pinned.reserved_bytes == reserved + 4004
    assert again.is_pinned()
    assert other.is_pinned()


def test_pinned_pool_is_finite() -> None:
    """Row: pinned pool finite / host memory exhausted."""
    with hpusim.fresh(Config(pinned_limit_bytes=100)):
        kept = pinned(20)
        with pytest.raises(hpusim.OutOfMemoryError, match="synHostMalloc"):
            pinned(10)
        assert kept.is_pinned()


def test_cpu_fallback_is_counted_outside_a_capture(hpu: Runtime) -> None:
    """Row: CPU fallback: metric += 1 outside a capture / new-release fallbacks."""
    hpu.faults.fallback_ops.add("relu")
    x = torch.tensor([-1.0, 2.0]).to("hpu")
    assert torch.relu(x).cpu().tolist() == [0.0, 2.0]
    stats = dict(ht().hpu.metrics.metric_global("cpu_fallback").stats())
    assert stats == {"TotalNumber": 1, "FallbackOps": {"relu": 1}}


def test_place_on_cpu_none_makes_a_fallback_an_error() -> None:
    """Row: PT_HPU_PLACE_ON_CPU=none raises."""
    with hpusim.fresh(Config(place_on_cpu="none")) as rt:
        rt.faults.fallback_ops.add("relu")
        x = torch.ones(2).to("hpu")
        with pytest.raises(RuntimeError, match=r"relu is not yet supported on HPU\."):
            torch.relu(x)


def test_float64_falls_back(hpu: Runtime) -> None:
    """Row: CPU fallback; Gaudi has no float64, so an op on it goes to the host."""
    torch.sqrt(torch.ones(2, dtype=torch.float64).to("hpu"))
    assert hpu.metrics.by_name["cpu_fallback"].total == 1


def test_query_off_the_current_stream_flushes(hpu: Runtime) -> None:
    """Row: worker-thread query flushes and mark_steps / cross-thread stream misuse."""
    side = torch.hpu.Stream()
    _ = torch.ones(2).to("hpu") + 1
    before = hpu.metrics.by_name["graph_compilation"].total
    worker = threading.Thread(target=side.query)
    worker.start()
    worker.join()
    assert hpu.metrics.by_name["graph_compilation"].total == before + 1  # the segment was ended


def test_stream_contexts_of_two_threads_restore_the_wrong_stream(hpu: Runtime) -> None:
    """Row: global current stream / cross-thread stream misuse."""
    mine, theirs = torch.hpu.Stream(), torch.hpu.Stream()
    after: list[int] = []

    def worker() -> None:
        with torch.hpu.stream(theirs):
            pass
        after.append(hpu.current.sid)

    with torch.hpu.stream(mine):
        thread = threading.Thread(target=worker)
        thread.start()
        thread.join()
    assert after == [mine.stream_id]  # the worker never entered that stream


def test_query_of_a_never_recorded_event_is_true(hpu: Runtime) -> None:
    """Row: query() True for a never-recorded event / forgotten record."""
    event = torch.hpu.Event()
    assert event.query()
    event.synchronize()


def test_mark_step_with_sync_does_not_wait_for_the_device(hpu: Runtime) -> None:
    """Row: mark_step(sync) is not a device sync / timing without hpu.synchronize()."""
    host = pinned(2)
    host.copy_(torch.ones(2, dtype=torch.int32).to("hpu") * 3, non_blocking=True)
    ht().core.mark_step(sync=True)
    assert host.tolist() == [INT32_POISON] * 2
    torch.hpu.synchronize()
    assert host.tolist() == [3, 3]
