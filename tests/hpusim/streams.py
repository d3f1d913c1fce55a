"""Commands, FIFO streams with a virtual clock, and events."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tests.hpusim.config import SimError

if TYPE_CHECKING:
    from tests.hpusim.memory import PinnedBlock, Slot
    from tests.hpusim.runtime import Runtime

__all__ = ["Clock", "Command", "CoreEvent", "StreamState", "VectorClock", "merge"]

VectorClock = dict[int, int]
MOST_DOUBLINGS = 10  # of a poll's virtual seconds, while one event is polled in vain


def merge(into: VectorClock, other: VectorClock) -> bool:
    """Take the later of each component; return whether anything became later."""
    changed = False
    for sid, seq in other.items():
        if into.get(sid, 0) < seq:
            into[sid] = seq
            changed = True
    return changed


class Clock:
    """Virtual seconds of the host thread. Nothing but advance() and waiting makes them pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def advance(self, seconds: float) -> None:
        """Let the host be busy or idle for ``seconds``."""
        self.now += seconds

    def until(self, moment: float) -> None:
        """Let the host wait until ``moment``, where that is in the future."""
        self.now = max(self.now, moment)


class Command:
    """One entry of a stream."""

    __slots__ = (
        "done",
        "error",
        "fn",
        "host_write",
        "name",
        "reads",
        "seconds",
        "seq",
        "stream",
        "t_done",
        "t_host",
        "wait",
        "writes",
    )

    def __init__(
        self,
        name: str,
        fn: Callable[[], None] | None = None,
        *,
        reads: Sequence[Slot] = (),
        writes: Sequence[Slot] = (),
        host_write: PinnedBlock | None = None,
        wait: Command | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.name, self.fn, self.reads, self.writes = name, fn, reads, writes
        self.host_write, self.wait, self.seconds = host_write, wait, seconds
        self.done = False
        self.error: BaseException | None = None
        self.stream: StreamState | None = None
        self.seq = 0
        self.t_host = 0.0
        self.t_done = 0.0


class StreamState:
    """A physical stream: what is enqueued and how far it has run."""

    def __init__(self, rt: Runtime, sid: int) -> None:
        self.rt, self.sid = rt, sid
        self.queue: collections.deque[Command] = collections.deque()
        self.seq = 0
        self.vc: VectorClock = {}
        self.host_seen = -1
        self.time = 0.0
        self.busy_s = 0.0
        self._worker: threading.Thread | None = None

    def issue(self, command: Command) -> Command:
        """Append a command; the order of issues is what the hazard detector judges."""
        rt = self.rt
        self.seq += 1
        command.stream, command.seq = self, self.seq
        if self.host_seen != rt.host_version:
            merge(self.vc, rt.host_vc)
            self.host_seen = rt.host_version
        seconds = command.seconds * rt.faults.slow_streams.get(self.sid, 1.0)
        waited = command.wait.t_done if command.wait is not None else 0.0
        self.time = max(self.time, command.t_host, waited) + seconds
        self.busy_s += seconds
        command.t_done = self.time
        rt.stats["commands"] += 1
        found = rt.detector.check(self, command)
        self.vc[self.sid] = self.seq
        self._append(command)
        if found:
            rt.detector.report(found)
        return command

    def _append(self, command: Command) -> None:
        if self.rt.config.execution == "eager" and not self.queue:
            self.rt.run(command)
            return
        with self.rt.lock:
            self.queue.append(command)
            if self.rt.config.execution == "threads":
                if self._worker is None:
                    self._worker = threading.Thread(
                        target=self._work, daemon=True, name=f"hpusim-{self.sid}"
                    )
                    self._worker.start()
                self.rt.progress.notify_all()

    def drain(self, *, until_seq: int | None = None, until_time: float | None = None) -> None:
        """Run queued commands up to a sequence number or a moment; waits drain what they name."""
        while self.queue:
            command = self.queue[0]
            if until_seq is not None and command.seq > until_seq:
                break
            if until_time is not None and command.t_done > until_time:
                break
            waited = command.wait
            if waited is not None and not waited.done and waited.stream is not None:
                waited.stream.drain(until_seq=waited.seq)
            self.queue.popleft()
            self.rt.run(command)

    def _work(self) -> None:
        rt = self.rt
        while True:
            with rt.progress:
                while not self.queue and not rt.closed:
                    rt.progress.wait()
                if rt.closed:
                    return
                command = self.queue[0]
                while command.wait is not None and not command.wait.done:
                    rt.progress.wait()
            rt.run(command)
            with rt.progress:
                self.queue.popleft()
                rt.progress.notify_all()

    def finish(self) -> None:
        """Run or wait for everything that is enqueued now."""
        if self.rt.config.execution == "threads":
            seq = self.seq
            with self.rt.progress:
                while self.queue and self.queue[0].seq <= seq:
                    self.rt.progress.wait()
        else:
            self.drain(until_seq=self.seq)

    def synchronize(self) -> None:
        """Launch what is pending, run everything enqueued, and let the host know of it."""
        rt = self.rt
        rt.refuse_in_capture("stream synchronize")
        rt.join()
        self.finish()
        rt.clock.until(self.time)
        rt.host_saw(self.vc)

    def query(self) -> bool:
        """Return whether nothing is left; a poll in vain costs virtual time."""
        rt = self.rt
        if rt.config.lazy:
            if rt.current is not self:
                rt.join()  # the bridge performs a mark_step here
            elif rt.launch_one(self):
                rt.clock.advance(rt.config.poll_s)
                return False
        if rt.config.execution != "threads":
            self.drain(until_time=rt.clock.now)
        if self.queue:
            rt.clock.advance(rt.config.poll_s)
            return False
        rt.host_saw(self.vc)
        return True


class CoreEvent:
    """A point in a stream."""

    def __init__(self, rt: Runtime, *, enable_timing: bool = False) -> None:
        self.rt, self.enable_timing = rt, enable_timing
        self.command: Command | None = None
        self.lost = False
        self._vain = 0
        self._vc: VectorClock = {}

    def record(self, stream: StreamState) -> None:
        """Mark the end of what is *issued* to ``stream``.

        In lazy mode only the current stream's pending work is launched first; recorded on another
        stream the event overtakes that stream's pending work.
        """
        rt = self.rt
        if stream is rt.current:
            rt.join()
        command = Command("event_record")
        command.t_host = rt.host_spends("event")
        self.command = stream.issue(command)
        self._vc = dict(stream.vc)
        rt.stats["events"] += 1
        self.lost = rt.stats["events"] in rt.faults.lost_events

    def wait(self, stream: StreamState) -> None:
        """Order later work of ``stream`` after the event; nothing on the event's own stream."""
        if self.command is None or self.command.stream is stream:
            return
        rt = self.rt
        if stream is rt.current:
            rt.join()
        command = Command("event_wait", wait=self.command)
        command.t_host = rt.clock.now
        stream.issue(command)
        merge(stream.vc, self._vc)

    def query(self) -> bool:
        """Return whether the point is passed; True where it was never recorded."""
        rt, command = self.rt, self.command
        rt.check_alive()
        if command is None:
            return True
        if not self.lost and rt.config.execution != "threads" and command.t_done <= rt.clock.now:
            self._drain(command)
        if command.done and not self.lost:
            rt.host_saw(self._vc)
            return True
        # Who polls again and again sleeps in between, longer each time.
        rt.clock.advance(rt.config.poll_s * 2 ** min(self._vain, MOST_DOUBLINGS))
        self._vain += 1
        return False

    def synchronize(self) -> None:
        """Block until the point is passed; launches nothing that is pending behind it."""
        rt, command = self.rt, self.command
        rt.check_alive()
        rt.refuse_in_capture("event synchronize")
        if command is None:
            return
        if self.lost:
            raise SimError("hpusim: the event was lost; synchronize() would block for ever")
        if rt.config.execution == "threads":
            with rt.progress:
                while not command.done:
                    rt.progress.wait()
        else:
            self._drain(command)
        rt.clock.until(command.t_done)
        rt.host_saw(self._vc)

    @staticmethod
    def _drain(command: Command) -> None:
        if command.stream is not None:
            command.stream.drain(until_seq=command.seq)

    def elapsed_ms(self, end: CoreEvent) -> float:
        """Return the device milliseconds from this event to ``end``."""
        if self.command is None or end.command is None:
            raise SimError("Both events must be recorded before calculating elapsed time.")
        if not (self.enable_timing and end.enable_timing):
            raise SimError("synEventElapsedTime failed: enable_timing=True is needed on both")
        return (end.command.t_done - self.command.t_done) * 1e3
