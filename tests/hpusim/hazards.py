"""Vector clocks: which accesses to one buffer no synchronisation orders.

A stream knows of another stream what it has waited for, and of the host what the host had seen
when the stream's last command was issued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hpusim.config import HazardError

if TYPE_CHECKING:
    from tests.hpusim.memory import Slot
    from tests.hpusim.runtime import Runtime
    from tests.hpusim.streams import Command, StreamState

__all__ = ["Detector"]

Access = tuple[int, int]
"""(stream id, sequence number of a command on it)"""


class Detector:
    """Finds unordered accesses when commands are issued, deterministically."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self.found: list[str] = []

    def check(self, stream: StreamState, command: Command) -> list[str]:
        """Note the command's accesses and return a line for each that is unordered."""
        if self._rt.config.hazards == "off":
            return []
        if not (command.reads or command.writes or command.host_write):
            return []
        lines: list[str] = []
        own = (stream.sid, stream.seq)
        for slot in command.reads:
            if slot.write is not None:
                self._check_order("read-after-write", stream, command, slot.write, lines)
            if slot.reads is not None:
                slot.reads[own[0]] = own[1]
        for slot in command.writes:
            if slot.write is not None:
                self._check_order("write-after-write", stream, command, slot.write, lines)
            for access in (slot.reads or {}).items():
                self._check_order("write-after-read", stream, command, access, lines)
            slot.write = own
            if slot.reads is not None:
                slot.reads = {}
        self._check_host_write(command, own, lines)
        return lines

    @staticmethod
    def _check_order(
        kind: str, stream: StreamState, command: Command, other: Access, lines: list[str]
    ) -> None:
        sid, seq = other
        if sid != stream.sid and stream.vc.get(sid, 0) < seq:
            lines.append(
                f"hpusim: {kind} hazard: {command.name} (command {stream.seq} of stream "
                f"{stream.sid}) is unordered with command {seq} of stream {sid}; "
                "is a wait_stream or wait_event missing?"
            )

    def _check_host_write(self, command: Command, own: Access, lines: list[str]) -> None:
        """A pinned destination may be reused once the host has seen its last copy finish.

        Before that the host cannot have read what the buffer holds, whatever stream wrote it.
        """
        block = command.host_write
        if block is None:
            return
        last = block.write
        if last is not None and self._rt.host_vc.get(last[0], 0) < last[1]:
            lines.append(
                f"hpusim: overwrite-before-read hazard: {command.name} (command {own[1]} of stream "
                f"{own[0]}) overwrites a pinned buffer whose copy (command {last[1]} of stream "
                f"{last[0]}) the host has not waited for"
            )
        block.write = own

    def check_free(self, slot: Slot) -> None:
        """Note a buffer freed on its own stream while another one may still read it."""
        if self._rt.config.hazards == "off" or slot.reads is None:
            return
        home = self._rt.streams[slot.stream]
        for sid, seq in slot.reads.items():
            seen = max(home.vc.get(sid, 0), self._rt.host_vc.get(sid, 0))
            if sid in slot.recorded:
                continue  # record_stream: the allocator waits for that stream
            if sid != slot.stream and seen < seq and (sid, seq) != slot.write:
                self.found.append(
                    f"hpusim: {slot.nbytes} bytes of stream {slot.stream} freed while command "
                    f"{seq} of stream {sid} may still read them; is a record_stream missing?"
                )

    def report(self, lines: list[str]) -> None:
        """Keep the lines and raise them where the configuration says so.

        Raises:
            HazardError: naming both commands.
        """
        self.found.extend(lines)
        if self._rt.config.hazards == "raise":
            raise HazardError("\n".join(lines))
