"""A session in a process of its own, and where it says that its run is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from w2v_core.records.store import DIRECTORY_NOTE


def run_session(command: Sequence[str]) -> tuple[int, Path | None]:
    """Run a command that measures, its output going where ours goes; blocks for it.

    Returns:
        Its exit status, and the directory of its run; None where it made none.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryDirectory(prefix="w2v-session-") as folder:
        note = Path(folder) / "directory"
        done = subprocess.run(command, env={**os.environ, DIRECTORY_NOTE: str(note)}, check=False)
        return done.returncode, Path(os.fsdecode(note.read_bytes())) if note.exists() else None
