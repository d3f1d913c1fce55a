"""Waits with a deadline: a lost event must not stop a session for ever."""

from __future__ import annotations

import faulthandler
import sys
import tempfile
import time

from w2v_core.backends.base import Backend, Event
from w2v_core.errors import DeviceLostError

SPIN_S = 2e-3  # up to here a wait is polled without sleeping; yields to decode workers all the same
GRANULARITY = 1 / 64  # of the time waited so far: what a sleep can add to a wait at most
LONGEST_SLEEP_S = 1e-3


def wait(event: Event, *, timeout_s: float) -> bool:
    """Poll until the device has passed the event; blocks.

    Returns:
        False where ``timeout_s`` passed first.
    """
    if event.query():
        return True
    started_s = time.perf_counter()
    while not event.query():
        waited_s = time.perf_counter() - started_s
        if waited_s > timeout_s:
            return False
        time.sleep(0 if waited_s < SPIN_S else min(waited_s * GRANULARITY, LONGEST_SLEEP_S))
    return True


def settle(backend: Backend, *, timeout_s: float) -> None:
    """Wait until the device is idle; blocks.

    The barrier itself has no deadline, so it comes after an event that has one.

    Raises:
        DeviceLostError: the compute enqueued so far did not end in time.
    """
    if not wait(backend.record(), timeout_s=timeout_s):
        raise DeviceLostError(
            f"the device has not come to rest within {timeout_s:.3g} s; look at its logs, and "
            "start again in a new process",
            stacks=write_stacks(),
        )
    backend.synchronize()


def write_stacks() -> str:
    """Write all threads' stacks to the process's stderr; returns what was written."""
    with tempfile.TemporaryFile(mode="w+") as file:
        faulthandler.dump_traceback(file=file, all_threads=True)
        file.seek(0)
        stacks = file.read()
    if sys.__stderr__ is not None:
        sys.__stderr__.write(stacks)
    return stacks
