"""Order, time and memory of the simulated device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.hpusim import Config, HazardError, OutOfMemoryError, Runtime, SimError, fresh

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


@pytest.fixture
def timed(simulator: None) -> Iterator[Runtime]:
    """Every op takes a virtual second, in eager mode so that ops launch at once."""
    with fresh(Config(lazy=False, latency=lambda _op, _bytes: 1.0)) as runtime:
        yield runtime


def test_query_turns_true_at_the_modelled_moment(timed: Runtime) -> None:
    _ = torch.empty(2, device="hpu").add(1)
    event = torch.hpu.Event()
    event.record()
    timed.clock.advance(0.999)
    assert not event.query()
    timed.clock.until(1.0)
    assert event.query()


def test_synchronize_takes_until_the_work_is_done(timed: Runtime) -> None:
    _ = torch.empty(2, device="hpu").add(1).add(1)
    torch.hpu.synchronize()
    assert timed.clock.now == 2.0


def test_polling_makes_time_pass(timed: Runtime) -> None:
    _ = torch.empty(2, device="hpu").add(1)
    event = torch.hpu.Event()
    event.record()
    polls = 0
    while not event.query():
        polls += 1
    assert 1.0 <= timed.clock.now < 1.1
    assert 1 < polls < 1.0 / timed.config.poll_s  # a poll in vain sleeps longer than the last


def test_elapsed_time_is_device_milliseconds(timed: Runtime) -> None:
    start, end = torch.hpu.Event(enable_timing=True), torch.hpu.Event(enable_timing=True)
    start.record()
    _ = torch.empty(2, device="hpu").add(1)
    end.record()
    assert start.elapsed_time(end) == 1000.0


def test_elapsed_time_needs_both_records(timed: Runtime) -> None:
    start = torch.hpu.Event(enable_timing=True)
    start.record()
    with pytest.raises(SimError, match="Both events must be recorded"):
        start.elapsed_time(torch.hpu.Event(enable_timing=True))


def test_elapsed_time_needs_timing_on_both(timed: Runtime) -> None:
    start, end = torch.hpu.Event(enable_timing=True), torch.hpu.Event()
    start.record()
    end.record()
    with pytest.raises(SimError, match="synEventElapsedTime failed"):
        start.elapsed_time(end)


def test_two_streams_overlap_in_time(timed: Runtime) -> None:
    side = torch.hpu.Stream()
    a, b = torch.empty(2, device="hpu"), torch.empty(2, device="hpu")
    a.add(1)
    with torch.hpu.stream(side):
        b.add(1)
    torch.hpu.synchronize()
    assert timed.clock.now == 1.0


def test_waiting_stream_starts_after_the_other(timed: Runtime) -> None:
    side = torch.hpu.Stream()
    x = torch.empty(2, device="hpu").add(1)
    side.wait_stream(torch.hpu.current_stream())
    with torch.hpu.stream(side):
        x.add(1)
    side.synchronize()
    assert timed.clock.now == 2.0


def test_slow_stream_takes_longer(timed: Runtime) -> None:
    timed.faults.slow_streams[0] = 10.0
    _ = torch.empty(2, device="hpu").add(1)
    torch.hpu.synchronize()
    assert timed.clock.now == 10.0


# ------------------------------------------------------------------ hazards


def test_read_before_write_across_streams_is_found() -> None:
    with fresh(Config(lazy=False)):
        x, side = torch.ones(2).to("hpu") + 1, torch.hpu.Stream()
        with torch.hpu.stream(side), pytest.raises(HazardError, match="read-after-write"):
            x.add(1)


def test_write_before_read_across_streams_is_found() -> None:
    with fresh(Config(lazy=False)):
        x, side = torch.ones(2).to("hpu"), torch.hpu.Stream()
        side.wait_stream(torch.hpu.current_stream())
        with torch.hpu.stream(side):
            x.add(1)
        with pytest.raises(HazardError, match="write-after-read"):
            x.zero_()


def test_write_before_write_across_streams_is_found() -> None:
    with fresh(Config(lazy=False)):
        x, side = torch.ones(2).to("hpu"), torch.hpu.Stream()
        side.wait_stream(torch.hpu.current_stream())
        x.zero_()
        with torch.hpu.stream(side), pytest.raises(HazardError, match="write-after-write"):
            x.zero_()


def test_order_through_the_host_is_order(hpu: Runtime) -> None:
    x, side = torch.ones(2).to("hpu") + 1, torch.hpu.Stream()
    event = torch.hpu.Event()
    event.record()
    event.synchronize()
    with torch.hpu.stream(side):
        assert x.add(1).cpu().tolist() == [3.0, 3.0]


def test_order_through_a_third_stream_is_order(hpu: Runtime) -> None:
    x, first, second = torch.ones(2).to("hpu") + 1, torch.hpu.Stream(), torch.hpu.Stream()
    first.wait_stream(torch.hpu.current_stream())
    event = first.record_event()
    second.wait_event(event)
    with torch.hpu.stream(second):
        assert x.add(1).cpu().tolist() == [3.0, 3.0]


def test_host_write_under_an_h2d_copy_is_found(simulator: None) -> None:
    with fresh(Config()):
        source = torch.zeros(4).pin_memory()
        target = torch.empty(4, device="hpu")
        target.copy_(source, non_blocking=True)
        source.numpy()[0] = 1.0  # not even torch sees this write
        with pytest.raises(HazardError, match="host-write-before-read"):
            torch.hpu.synchronize()


def test_pageable_source_is_staged(hpu: Runtime) -> None:
    source = torch.zeros(4)
    target = torch.empty(4, device="hpu")
    target.copy_(source, non_blocking=True)
    source.fill_(1.0)
    assert target.cpu().tolist() == [0.0] * 4


def test_pinned_destination_reused_before_its_event_is_found() -> None:
    with fresh(Config(lazy=False)):
        ids, host = torch.ones(4, dtype=torch.int32).to("hpu"), torch.zeros(4, dtype=torch.int32)
        host = host.pin_memory()
        host.copy_(ids, non_blocking=True)
        with pytest.raises(HazardError, match="overwrite-before-read"):
            host.copy_(ids, non_blocking=True)


def test_freed_buffer_that_another_stream_reads_is_found() -> None:
    with fresh(Config(lazy=False, hazards="record")) as rt:
        x, side = torch.ones(2).to("hpu") + 1, torch.hpu.Stream()
        side.wait_stream(torch.hpu.current_stream())
        with torch.hpu.stream(side):
            x.add(1)
        del x
        assert "record_stream" in rt.hazards[0]


def test_recorded_stream_may_outlive_the_tensor() -> None:
    with fresh(Config(lazy=False, hazards="record")) as rt:
        x, side = torch.ones(2).to("hpu") + 1, torch.hpu.Stream()
        side.wait_stream(torch.hpu.current_stream())
        with torch.hpu.stream(side):
            x.add(1)
        torch.ops.aten.record_stream(x, torch.Stream(device="cpu"))
        del x
        assert rt.hazards == []


# ------------------------------------------------------------------ memory


def test_device_memory_is_limited() -> None:
    with fresh(Config(memory_limit_bytes=100)):
        kept = torch.empty(20, device="hpu")
        with pytest.raises(OutOfMemoryError, match="80 \\+ 40 > 100 bytes"):
            torch.empty(10, device="hpu")
        del kept
        torch.empty(10, device="hpu")


def test_memory_statistics_follow_allocations(hpu: Runtime) -> None:
    before = torch.hpu.memory_allocated()
    x = torch.empty(1000, device="hpu")
    stats = torch.hpu.memory_stats()
    assert stats["InUse"] == before + 4000
    del x
    assert torch.hpu.memory_allocated() == before
    assert torch.hpu.max_memory_allocated() >= before + 4000
