"""Processes that measure: started one at a time, their output kept beside what they leave."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from w2v_core.errors import RecordError

LOG = "output.log"
"""What a process printed, in its folder."""

Report = Callable[[str], None]
"""Told of each process before it starts."""


def run_logged(
    command: Sequence[str],
    folder: Path,
    *,
    timeout_s: float | None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command to its end, without a terminal; returns its exit status and its output.

    Raises:
        RecordError: it cannot be started, or ran longer than ``timeout_s``.
    """
    try:
        done = subprocess.run(
            list(command),
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RecordError(f"{shlex.join(command)} could not be run: {error}") from error
    (folder / LOG).write_bytes(done.stdout)
    return done.returncode, done.stdout.decode(errors="replace")
