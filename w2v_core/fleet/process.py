"""Runs a job in a fresh process of this machine, and says why one did not end well."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2v_core.errors import RecordError
from w2v_core.fleet.cards import Card
from w2v_core.fleet.frames import Frames, read_frames
from w2v_core.fleet.job import FRAMES, WEIGHTS, Job
from w2v_core.fleet.weights import Weights, read_written
from w2v_core.printable import printable, shorten
from w2v_core.records.record import CellRecord
from w2v_core.records.store import RUN, read_run
from w2v_core.system import read
from w2v_core.verdict.process import LOG

WORKER = ("-m", "w2v_core.fleet.worker")
"""Arguments of the interpreter that runs a card's process."""
STACKS_S = 1.0  # for a process that hangs to say where
MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the process of a card left."""

    card: str
    folder: Path
    records: Mapping[str, CellRecord]
    """By cell; those that were whole when it ended."""
    frames: Mapping[str, Frames]
    """By cell."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """By cell, as they were loaded; of a soak's suspect that is asked again."""
    problem: str = ""
    """Why not all cells are there; empty where they are."""
    refused: bool = False
    """Whether the process said so itself: a card in use, an option that is impossible there."""
    wall_s: float = 0.0
    share: str | None = None


@contextmanager
def stoppable() -> Iterator[int]:
    """Let Ctrl-C and SIGTERM interrupt, and end the cards' processes first; yields their ``stop``.

    SIGTERM is what stops services, jobs and background processes; what is ignored stays so.
    """
    stop, *hold = os.pipe()

    def end(*_: object) -> None:
        while hold:
            os.close(hold.pop())

    def interrupt(*_: object) -> None:
        end()
        raise KeyboardInterrupt

    heard = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        end()
        os.close(stop)


def is_stopped(stop: int) -> bool:
    """Whether processes are being ended, see ``stoppable``."""
    return bool(select.select([stop], [], [], 0)[0])


def run_job(job: Job, card: Card, *, silence_s: float, stop: int | None = None) -> Outcome:
    """Run a job and read what it left; blocks until the process has ended.

    A process that gives no sign of life for ``silence_s`` seconds writes its stacks to its log and
    is killed; so is one whose ``stop``, a pipe's reading end, has come to its end.
    """
    try:
        return _run_job(job, card, silence_s=silence_s, stop=stop)
    except OSError as error:
        return collect(
            job, f"could not be started: {error.strerror} ({error.filename or WORKER[1]})"
        )


def _run_job(job: Job, card: Card, *, silence_s: float, stop: int | None) -> Outcome:
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    started_s, oom_kills = time.perf_counter(), _oom_kills()
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *WORKER],
            env={**os.environ, **card.pins},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=stop is not None,  # a terminal's Ctrl-C is for whoever may stop it
        )
        try:
            problem, refused = _follow(process, job, silence_s=silence_s, stop=stop)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
    if process.returncode == -signal.SIGKILL and _oom_kills() > oom_kills:
        problem += "; the kernel has just killed a process of this container for want of memory"
    return collect(job, problem, refused=refused, wall_s=time.perf_counter() - started_s)


def collect(job: Job, problem: str = "", *, refused: bool = False, wall_s: float = 0.0) -> Outcome:
    """Read the records and frame ids of a job's folder, as far as they are whole."""
    folder = Path(job.folder)
    records: dict[str, CellRecord] = {}
    frames: dict[str, Frames] = {}
    weights: dict[str, Weights] = {}
    try:
        if (folder / RUN).exists():
            records = {r.cell: r for r in read_run(folder).records}
            frames = {c: read_frames(folder / FRAMES.format(cell=c)) for c in records}
            kept = {c: folder / WEIGHTS.format(cell=c) for c in records}
            weights = {c: read_written(file) for c, file in kept.items() if file.exists()}
    except RecordError as error:
        problem = f"{problem}; {error}" if problem else str(error)
    return Outcome(
        card=job.card,
        folder=folder,
        records=records,
        frames=frames,
        weights=weights,
        problem=problem,
        refused=refused,
        wall_s=wall_s,
        share=job.share,
    )


def _follow(
    process: subprocess.Popen[bytes], job: Job, *, silence_s: float, stop: int | None
) -> tuple[str, bool]:
    """Hand the job over and listen; returns what went wrong, and whether the process said so."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process was started without pipes")
    with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
        process.stdin.write(job.to_json().encode() + b"\n")
        process.stdin.flush()
    stage, error, left = "starting", "", b""
    stdout = process.stdout.fileno()
    watched = [stdout] if stop is None else [stdout, stop]
    while True:
        woken = select.select(watched, [], [], silence_s)[0]
        if stop in woken:
            return f"was stopped in {stage!r}", False
        if not woken:
            process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGCONT)  # one that was stopped says where too
            time.sleep(STACKS_S)
            told = f"gave no sign of life for {silence_s:g} s in {stage!r} and was killed"
            return f"{told}; its stacks are in {LOG}", False
        data = os.read(stdout, 1 << 16)
        if not data:
            break
        *lines, left = (left + data).split(b"\n")
        for said in map(_said, lines):
            stage, error = said.get("stage", stage), said.get("error", error)
    code = process.wait()
    if code == 0:
        return "", False
    if code < 0:
        return f"was killed by {signal.Signals(-code).name} in {stage!r}", False
    return error or f"ended with status {code} in {stage!r}; see {LOG}", bool(error)


def _said(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    known = said if isinstance(said, dict) else {}
    return {name: printable(shorten(str(value), 400)) for name, value in known.items()}


def _oom_kills() -> int:
    """Return how many processes of this container the kernel has killed for their memory."""
    lines = (read(MEMORY_EVENTS) or "").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
