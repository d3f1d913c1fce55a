"""The process of one card: ``python -m w2v_core.fleet.worker``, a job on stdin, a run in a folder.

Its records are an ordinary run, written anew after each cell, so that who kills it loses the cell
that was measured and no other. It says what it does on stdout, and ends itself when its stdin
ends: a card must not stay taken by an orphan.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.backends.hpu_environment import hold_bridge, prepare_environment
from w2v_core.config import parse_share
from w2v_core.errors import W2VError, is_out_of_memory
from w2v_core.fleet.job import FRAMES, WEIGHTS, Job
from w2v_core.fleet.weights import read_weights, write_weights
from w2v_core.options.cells import cells_of
from w2v_core.options.option import Given, flagged, name_flags
from w2v_core.progress import Advance, Progress
from w2v_core.records.store import write_run_json
from w2v_core.session import RunConfig, ValidationRun

if TYPE_CHECKING:
    from w2v_core.data.catalog import Corpus
    from w2v_core.records.cell import Cell

ORPHANED = 4
FAILED = 3
SIGN_S = 1.0  # least seconds between two signs of life

Tell = Callable[..., None]


def main() -> int:
    """Read a job from stdin and do it; returns 0 where all cells were measured."""
    faulthandler.register(signal.SIGUSR1)  # who waits for it asks where it hangs
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to a whole service: its parent stops it
    job = Job.from_json(sys.stdin.buffer.readline())
    if job.cpus:  # before anything counts them
        os.sched_setaffinity(0, job.cpus)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    tell = _teller()
    try:
        work(job, tell)
    except W2VError as error:
        tell(error=str(flagged(error, job.front_end)))
        return FAILED
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = name_flags("use a smaller {flag:batch_size} or model", job.front_end)
        tell(error=f"out of memory; {remedy} ({error})")
        return FAILED
    return 0


def work(job: Job, tell: Tell) -> None:
    """Measure the cells of a job; blocks.

    Raises:
        W2VError: the device, a checkpoint or a corpus cannot be used.
    """
    options = Given(job.front_end, job.options.__getitem__)
    hold_bridge()
    if options["device"] == "hpu":
        prepare_environment(execution=options["execution"], recipe_cache=options["recipe_cache"])
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    tell(stage="opening the device")
    run = ValidationRun(_config(job, options), progress=_progress(tell))
    run.load = lambda dataset: _corpus(job, run, dataset)
    support = run.backend.graph_support
    cells = cells_of(options, measures_graphs=lambda dtype: support(dtype).by_default)
    if job.soak is not None:
        from w2v_core.fleet.soaking import soak

        soak(run, cells, folder, job.soak, card=job.card, tell=tell)
        return
    for cell in cells:
        if job.cells and str(cell) not in job.cells:
            continue
        tell(stage=str(cell))
        _measure(run, cell, folder, rounds=job.rounds)
        if job.front_end == "soak":  # which asks a suspect again: of its weights too
            write_weights(folder / WEIGHTS.format(cell=cell), read_weights(run.engine(cell)))


def _measure(run: ValidationRun, cell: Cell, folder: Path, *, rounds: int) -> None:
    from w2v_core.bench.rounds import time_rounds
    from w2v_core.fleet.frames import write_frames

    frames = folder / FRAMES.format(cell=cell)
    run.on_scored = partial(write_frames, frames)
    run.measure(cell, timer=time_rounds(rounds), rounds=rounds)
    write_run_json(folder, run.records)


def _config(job: Job, options: Given) -> RunConfig:
    return RunConfig(
        device=options["device"],
        limit=options["limit"],
        allow_partial=options["allow_partial"],
        release=options["release"],
        reports_dir=Path(job.folder),
        command=job.command,
        event_timeout_s=options["event_timeout"],
        share=parse_share(job.share),
    )


def _corpus(job: Job, run: ValidationRun, dataset: str) -> Corpus:
    from w2v_core.fleet.corpus import read_mapped

    if dataset in job.corpora and Path(job.corpora[dataset]).exists():  # else on another node
        return read_mapped(Path(job.corpora[dataset]))
    return run.decode(dataset)


def _teller() -> Tell:
    stdout, lock = sys.stdout, threading.Lock()
    sys.stdout = sys.stderr  # what others print is no sign

    def tell(**said: str) -> None:
        with lock:
            stdout.write(json.dumps(said) + "\n")
            stdout.flush()

    return tell


def _progress(tell: Tell) -> Progress:
    """Turn progress into signs of life, one a second at most."""
    told_s = [0.0]

    @contextmanager
    def progress(stage: str, *, total: float, unit: str) -> Iterator[Advance]:
        done = 0.0
        tell(stage=stage)

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            if time.perf_counter() - told_s[0] > SIGN_S:
                told_s[0] = time.perf_counter()
                tell(stage=f"{stage}: {done:.0f} of {total:.0f} {unit}")

        yield advance

    return progress


def _end_with_stdin() -> None:
    # Not by sys.stdin, whose lock a daemon thread would hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(ORPHANED)  # whoever started it is gone


if __name__ == "__main__":
    sys.exit(main())
