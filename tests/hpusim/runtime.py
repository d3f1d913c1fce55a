"""The simulated device: streams, memory, launches, failures. Knows nothing of aten."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

import torch

from tests.hpusim.config import (
    CaptureError,
    Config,
    DeviceLostError,
    HazardError,
    OutOfMemoryError,
    SimError,
)
from tests.hpusim.faults import Faults
from tests.hpusim.graphs import CoreGraph
from tests.hpusim.hazards import Detector
from tests.hpusim.memory import PinnedPool, Ref, Slot
from tests.hpusim.metrics import Metrics
from tests.hpusim.recipes import Plan
from tests.hpusim.streams import Clock, Command, StreamState, VectorClock, merge

__all__ = ["ACTIVE", "Runtime"]


class Runtime:
    """One device and everything that a process has done with it."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.faults = Faults()
        self.clock = Clock()
        self.metrics = Metrics(cache_metrics=self.config.cache_metrics)
        self.detector = Detector(self)
        self.stats: collections.Counter[str] = collections.Counter()
        self.op_counts: collections.Counter[str] = collections.Counter()
        self.lock = threading.RLock()
        self.progress = threading.Condition(self.lock)
        self.closed = False
        self.host_vc: VectorClock = {}
        self.host_version = 0
        self.in_use_bytes = self.peak_bytes = 0
        self.pinned = PinnedPool(self.config.pinned_limit_bytes)
        self.streams = {0: StreamState(self, 0)}
        self.num_streams_made = 0
        self.capture: CoreGraph | None = None
        self.failure: Exception | None = None
        self.plans: dict[object, Plan] = {}
        self.recipes: set[tuple[int, ...]] = set()
        self._segment: list[int] = []
        self._pending: collections.deque[tuple[StreamState, Command]] = collections.deque()
        self._late_copies: list[tuple[float, Callable[[], object]]] = []
        self._runs: collections.Counter[str] = collections.Counter()
        self._local = threading.local()

    @property
    def hazards(self) -> list[str]:
        """Every unordered access found so far."""
        return self.detector.found

    # ------------------------------------------------------------------ streams
    @property
    def current(self) -> StreamState:
        """The calling thread's stream."""
        return self.streams[getattr(self._local, "sid", 0)]

    def set_current(self, sid: int) -> None:
        """Switch the calling thread's stream; ends the lazy segment."""
        if self.capture is None:
            self.close_segment()
        self._local.sid = sid

    def new_stream(self) -> StreamState:
        """Return a new physical stream, or past the limit an alias or an error."""
        self.check_alive()
        limit = self.config.stream_limit
        number = self.num_streams_made
        if number >= limit and self.config.stream_overflow == "raise":
            raise SimError(
                f"hpusim: stream {number + 1} asked for; the device has {limit} user streams and "
                "aliases the rest; keep a pool of at most 8"
            )
        self.num_streams_made += 1
        sid = 1 + number % limit
        if sid not in self.streams:
            self.streams[sid] = StreamState(self, sid)
        return self.streams[sid]

    # ------------------------------------------------------------------ launching
    def host_spends(self, call: str) -> float:
        """Let the calling thread's work for one call pass; return the virtual time after it."""
        if self.config.host_cost is not None:
            self.clock.advance(self.config.host_cost(call))
        return self.clock.now

    def submit(self, command: Command, *, cost: str = "op") -> None:
        """Record the command where a capture is open; launch it, or in lazy mode queue it."""
        self.check_alive()
        command.t_host = self.host_spends(cost)
        stream = self.current
        graph = self.capture
        if graph is not None:
            if stream is not graph.stream:
                raise CaptureError("hpusim: work submitted to another stream during capture")
            graph.commands.append(command)
            if graph.dry_run:
                return
        if self.config.lazy:
            self._pending.append((stream, command))
        else:
            stream.issue(command)

    def launch_one(self, stream: StreamState) -> bool:
        """Let the launch thread make one step; False where nothing of ``stream`` is pending."""
        if not any(pending is stream for pending, _ in self._pending):
            return False
        self._launch()
        return True

    def _launch(self) -> None:
        stream, command = self._pending.popleft()
        if command.name == "graph_replay":
            self._runs["launched_replays"] += 1
            error = self.faults.failing_replays.get(self._runs["launched_replays"])
            if error is not None:
                raise SimError(
                    f"Exception in Launch thread: {error!r}. Check $HABANA_LOGS/ for details"
                ) from error
        stream.issue(command)

    def join(self) -> None:
        """Flush the lazy segment and wait for the launch thread; not for the device."""
        self.check_alive()
        if self.capture is None:
            self.close_segment()
        while self._pending:
            self._launch()

    def note_op(self, plan: Plan) -> None:
        """Count an op that is new to the recipe cache, or put it into the lazy segment."""
        if self.capture is not None:
            return
        if self.config.lazy:
            self._segment.append(plan.uid)
        elif plan.is_new:
            self.clock.advance(self.config.compile_s)
        plan.is_new = False

    def note_view(self, view: Ref) -> None:
        """Count a copy or an update in place whose device side is a view, in lazy mode.

        The bridge lowers it to an insert into, or a slice of, the base: a node more in the segment
        (1.19, lazy_kernels.cpp), and in a capture something that is unsupported.
        """
        if not self.config.lazy or view.whole:
            return
        self.stats["view_copies"] += 1
        if self.capture is None:
            self._segment.append(hash((view.size, view.stride, view.offset, view.slot.size)))

    def close_segment(self) -> None:
        """End the lazy segment: one recipe, compiled where its op sequence is new."""
        if not self._segment:
            return
        key = tuple(self._segment)
        self._segment.clear()
        hit = key in self.recipes
        self.metrics.recipe(hit=hit)
        if not hit:
            self.recipes.add(key)
            self.metrics.compiled("segment", self.config.compile_s)
            self.clock.advance(self.config.compile_s)

    def recompile_if_evicted(self) -> None:
        """Count the compilation of a replay whose recipe was evicted by a fault."""
        if self.faults.recompile_replays > 0:
            self.faults.recompile_replays -= 1
            self.metrics.compiled("hpu_graph", self.config.compile_s)
            self.clock.advance(self.config.compile_s)

    # ------------------------------------------------------------------ running
    def run(self, command: Command) -> None:
        """Run one command; after a failure nothing runs until it has surfaced."""
        if self.failure is None:
            try:
                self.inject(command.name)
                if command.fn is not None:
                    # Device storage always holds inference tensors, wherever it is drained.
                    with torch._C._InferenceMode(True):
                        command.fn()
            except Exception as error:  # noqa: BLE001 - kept, and raised at the next wait
                self.failure = command.error = error
        command.done = True

    def inject(self, name: str) -> None:
        """Raise the fault that is set for this run of the op."""
        fault = self.faults.fail_at.get(name)
        if fault is not None:
            self._runs[name] += 1
            if self._runs[name] == fault[0]:
                raise fault[1]

    def host_saw(self, vc: VectorClock) -> None:
        """Note what the host now knows to be done, and surface a failure."""
        if merge(self.host_vc, vc):
            self.host_version += 1
        self._land_late_copies()
        failure, self.failure = self.failure, None
        if isinstance(failure, HazardError):
            raise failure
        if failure is not None:
            raise SimError(f"hpusim: asynchronous device error: {failure!r}") from failure

    def host_sync(self, why: str) -> None:
        """Block on the current stream for a value: .item(), a blocking copy, a CPU fallback."""
        if self.capture is not None and self.config.capture_host_sync == "raise":
            raise CaptureError(f"{why} is not supported during HPU Graph capturing")
        self.stats["host_syncs"] += 1
        self.join()
        stream = self.current
        stream.finish()
        self.clock.until(stream.time)
        self.host_saw(stream.vc)

    def synchronize(self) -> None:
        """Flush, join the launch thread and wait for the device: the only full barrier."""
        self.refuse_in_capture("device synchronize")
        self.join()
        for stream in list(self.streams.values()):
            stream.finish()
        for stream in list(self.streams.values()):
            self.clock.until(stream.time)
            self.host_saw(stream.vc)

    def refuse_in_capture(self, why: str) -> None:
        """Raise CaptureError while a capture is open."""
        if self.capture is not None:
            raise CaptureError(f"{why} is not supported during HPU Graph capturing")

    def check_alive(self) -> None:
        """Raise DeviceLostError once the driver has gone."""
        if self.faults.device_lost:
            raise DeviceLostError("hpusim: synStatus=26 [Generic failure] device lost")

    # ------------------------------------------------------------------ memory
    def allocate(self, nbytes: int) -> None:
        """Account for device memory."""
        limit = self.faults.memory_limit_bytes or self.config.memory_limit_bytes
        if self.in_use_bytes + nbytes > limit:
            raise OutOfMemoryError(
                f"hpusim: out of device memory: {self.in_use_bytes} + {nbytes} > {limit} bytes"
            )
        self.in_use_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self.in_use_bytes)
        self.stats["allocs"] += 1

    def free(self, slot: Slot) -> None:
        """Give device memory back."""
        self.in_use_bytes -= slot.nbytes
        self.stats["frees"] += 1
        self.detector.check_free(slot)

    def copy_late(self, after: float, copy: Callable[[], object]) -> None:
        """Let the stream's GC thread do a host copy later; no synchronize() waits for it."""
        self._late_copies.append((after + self.config.pageable_delay_s, copy))

    def _land_late_copies(self) -> None:
        landed = [copy for moment, copy in self._late_copies if moment <= self.clock.now]
        self._late_copies = [late for late in self._late_copies if late[0] > self.clock.now]
        for copy in landed:
            copy()

    def close(self) -> None:
        """Stop the worker threads; what is queued is dropped."""
        with self.progress:
            self.closed = True
            self.progress.notify_all()


class _Active:
    """The device that new tensors and streams belong to."""

    rt: Runtime


ACTIVE = _Active()
