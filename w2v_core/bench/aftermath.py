"""What can still be read of a device that was lost: stacks, its driver's logs, kernel lines."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import subprocess
from pathlib import Path

from w2v_core.backends.base import DriverLogs
from w2v_core.errors import DeviceLostError

MAX_FILES, MAX_BYTES = 20, 256 << 10  # of the driver's logs: the newest, and each one's end
KERNEL_LINES = 200
KERNEL_TIMEOUT_S = 5.0
EXIT_TIMEOUT_S = 30.0  # a driver's own clean-up may wait for the lost device for ever


def collect(lost: DeviceLostError, logs: DriverLogs, directory: Path) -> tuple[Path, ...]:
    """Write what is left of a lost device into ``directory``; blocks for seconds at most.

    A source that cannot be read is said in ``device-lost.txt``, which has the error and all
    threads' stacks as well. From here on the process ends within 30 s of reaching its exit.

    Returns:
        The files that were written.
    """
    atexit.register(faulthandler.dump_traceback_later, EXIT_TIMEOUT_S, exit=True, file=2)
    target = directory / "device-lost"
    target.mkdir(parents=True, exist_ok=True)
    said = [str(lost), "", lost.stacks]
    written = []
    if logs.kernel_words:
        lines = kernel_lines(logs.kernel_words)
        if isinstance(lines, str):
            said.append(f"kernel: {lines}")
        else:
            written.append(_write(target / "kernel.txt", "\n".join(lines).encode()))
    for path in _newest(logs.directory):
        with contextlib.suppress(OSError):
            written.append(_write(target / path.name, path.read_bytes()[-MAX_BYTES:]))
    if logs.directory is not None and not logs.directory.is_dir():
        said.append(f"driver: there is no log folder {logs.directory}")
    written.append(_write(target / "device-lost.txt", "\n".join(said).encode()))
    return tuple(written)


def kernel_lines(words: tuple[str, ...]) -> list[str] | str:
    """Return the kernel's last lines that name a driver, or why they cannot be read."""
    reason = "neither dmesg nor journalctl is installed"
    for command in (["dmesg"], ["journalctl", "--dmesg", "--no-pager"]):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=KERNEL_TIMEOUT_S, check=False
            )
        except FileNotFoundError:
            continue
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
            continue
        if done.returncode == 0:
            lines = done.stdout.splitlines()
            return [line for line in lines if any(w in line for w in words)][-KERNEL_LINES:]
        reason = done.stderr.strip() or f"{command[0]} ended with {done.returncode}"
    return reason


def _newest(directory: Path | None) -> list[Path]:
    if directory is None or not directory.is_dir():
        return []
    files = [path for path in directory.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_mtime)[-MAX_FILES:]


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
