"""A recorded command list over fixed buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.hpusim.config import CaptureError, SimError
from tests.hpusim.streams import Command

if TYPE_CHECKING:
    from tests.hpusim.memory import Slot
    from tests.hpusim.runtime import Runtime
    from tests.hpusim.streams import StreamState

__all__ = ["CoreGraph"]


class CoreGraph:
    """What HPUGraph records and replays. At most one capture is open per device."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self.commands: list[Command] = []
        self.stream: StreamState | None = None
        self.dry_run = False
        self._reads: tuple[Slot, ...] = ()
        self._writes: tuple[Slot, ...] = ()
        self._release: dict[int, list[Slot]] = {}

    def begin(self, *, dry_run: bool = False) -> None:
        """Open the capture on the current stream; ``dry_run`` records without running."""
        rt = self.rt
        if rt.capture is not None:
            raise CaptureError("GRAPH:: graph Capture already in progress")
        rt.join()
        self.stream, self.dry_run, self.commands = rt.current, dry_run, []
        rt.capture = self

    def end(self) -> None:
        """Close the capture; counts as one compilation."""
        rt = self.rt
        if rt.capture is not self:
            raise CaptureError("GRAPH:: no capture of this graph is in progress")
        if rt.current is not self.stream:
            raise CaptureError("GRAPH:: Capture must end on the same stream it began on.")
        rt.capture = None
        rt.join()
        self._index()
        rt.stats["captures"] += 1
        rt.metrics.compiled("hpu_graph", rt.config.compile_s)
        rt.clock.advance(rt.config.compile_s)

    def _index(self) -> None:
        """Find what a replay reads and writes, and when its inner buffers are free again."""
        reads: dict[int, Slot] = {}
        writes: dict[int, Slot] = {}
        last: dict[int, tuple[int, Slot]] = {}
        for index, command in enumerate(self.commands):
            for slot in command.reads:
                if id(slot) not in writes:
                    reads[id(slot)] = slot
                last[id(slot)] = (index, slot)
            for slot in command.writes:
                writes[id(slot)] = slot
                last[id(slot)] = (index, slot)
        self._reads, self._writes = tuple(reads.values()), tuple(writes.values())
        self._release = {}
        for index, slot in last.values():
            if id(slot) in writes:
                self._release.setdefault(index, []).append(slot)

    def replay(
        self, *, asynchronous: bool = False, inputs: Mapping[Slot, Slot] | None = None
    ) -> None:
        """Enqueue the recorded work on the current stream.

        Args:
            asynchronous: queue on the launch thread; a failure there surfaces at the next join.
            inputs: recorded input -> buffer to read instead (what replayV3 does).
        """
        rt = self.rt
        rt.check_alive()
        if rt.capture is not None:
            raise CaptureError("GRAPH:: Capture in progress")
        if not self.commands:
            raise SimError("GRAPH:: nothing was captured")
        swap = dict(inputs or {})
        rt.stats["replays"] += 1
        rt.stats["asynchronous_replays"] += asynchronous
        seconds = sum(command.seconds for command in self.commands)
        command = Command(
            "graph_replay",
            lambda: self._run(swap),
            reads=tuple(swap.get(slot, slot) for slot in self._reads),
            writes=self._writes,
            seconds=seconds if rt.config.replay_s is None else rt.config.replay_s,
        )
        rt.close_segment()
        rt.recompile_if_evicted()
        rt.submit(command, cost="replay")
        if not asynchronous:
            rt.join()

    def _run(self, swap: Mapping[Slot, Slot]) -> None:
        kept = {slot: slot.data for slot in swap}
        for slot, actual in swap.items():
            slot.data = actual.base()
        try:
            for index, command in enumerate(self.commands):
                self.rt.inject(command.name)
                if command.fn is not None:
                    command.fn()
                for slot in self._release.get(index, ()):
                    if not slot.live:
                        slot.data = None
        finally:
            for slot, data in kept.items():
                slot.data = data

    def destroy(self) -> None:
        """Free the recording. Destroying *any* graph clears the device's capture flag."""
        self.commands = []
        self.rt.capture = None
