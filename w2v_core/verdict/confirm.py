"""A night is measured again until it is decided: fresh processes of the cells without a verdict.

Each process measures what the sequential rule asks for (night.py) and leaves an ordinary run below
``RUN/confirm/``, where ``w2v gate RUN`` finds it too. Imports no torch.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from w2v_core.errors import RecordError
from w2v_core.jsonfile import is_directory, name_of
from w2v_core.records.record import CellRecord
from w2v_core.records.store import CONFIRM, DIRECTORY_NOTE, read_confirmations, read_run
from w2v_core.verdict.outcome import Finding
from w2v_core.verdict.process import LOG, Report, run_logged

CELLS_VARIABLE = "W2V_CONFIRM_CELLS"
"""Environment variable of a fresh process: the cells that it measures, as a JSON list."""

Asked = Callable[[Sequence[CellRecord]], Sequence[str]]
"""From the confirmations so far to the cells that the next run has to measure; none ends it."""
Command = Callable[[Path], Sequence[str]]
"""From a reports directory to the command line of a run that writes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What the fresh processes of a night left."""

    records: tuple[CellRecord, ...]
    problem: str | None = None
    """Why no further run was made although one was asked for; None where none was."""


def confirm(
    directory: Path,
    *,
    asked: Asked,
    command: Command,
    report: Report = lambda _: None,
    timeout_s: float | None = None,
) -> Confirmed:
    """Measure again what is asked for, run by run; blocks for as many processes.

    The processes need the device: whoever measured the night's first run has to have let go of it.
    A card of SynapseAI is held by a process until it ends.

    Args:
        directory: The night's run; the fresh ones are written below it.
        asked: See Asked.
        command: See Command.
        report: Told of each run before it starts.
        timeout_s: Of one run; None waits for ever.
    """
    records: list[CellRecord] = list(read_confirmations(directory))
    number = len({r.run_id for r in records})
    while cells := asked(records):
        number += 1
        report(f"confirm: fresh run {number} of {len(cells)} cells")
        folder = directory / CONFIRM / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = _measure(command(folder), cells, folder, timeout_s=timeout_s)
        except RecordError as error:
            return Confirmed(records=tuple(records), problem=str(error))
        records += found
    return Confirmed(records=tuple(records))


def confirm_runs(
    runs: Sequence[Path],
    records: Sequence[CellRecord],
    asked: Asked,
    *,
    most_runs: int,
    report: Report,
) -> Confirmed:
    """Read what was measured again, and measure again what still has no verdict where asked to."""
    if most_runs < 1:
        return Confirmed(records=tuple(r for run in runs for r in read_confirmations(run)))
    if not is_directory(runs[0]):
        problem = f"{name_of(runs[0])} is no run directory to confirm in"
        return Confirmed(records=(), problem=problem)
    return confirm(runs[0], asked=asked, command=rerun(records[0].command), report=report)


def not_confirmed(confirmed: Confirmed) -> tuple[Finding, ...]:
    """Return the finding on a night that could not be measured again as it asked to be."""
    if confirmed.problem is None:
        return ()
    reason = f"not confirmed: {confirmed.problem}"
    return (Finding(kind="integrity", verdict="INCONCLUSIVE", reason=reason),)


def rerun(command: str) -> Command:
    """Return how a recorded command line is run again, its files kept out of the first run's way.

    Of two equal options the last one counts.
    """
    program, *arguments = shlex.split(command)

    def line(folder: Path) -> list[str]:
        where = ["--reports-dir", str(folder)]
        if program == "w2v":
            return [sys.executable, "-m", "w2v_core", *arguments, *where]
        files = [f"--junit-xml={folder / 'junit.xml'}", f"--benchmark-json={folder / 'bench.json'}"]
        return [sys.executable, "-m", "pytest", *arguments, *where, *files]

    return line


def asked_cells() -> tuple[str, ...] | None:
    """Return the cells that this process was started to measure again; None where it was not."""
    text = os.environ.get(CELLS_VARIABLE)
    return None if text is None else tuple(str(cell) for cell in json.loads(text))


def _measure(
    command: Sequence[str], cells: Sequence[str], folder: Path, *, timeout_s: float | None
) -> tuple[CellRecord, ...]:
    note = folder / "directory"
    environment = {
        **os.environ,
        CELLS_VARIABLE: json.dumps(list(cells)),
        DIRECTORY_NOTE: str(note),
    }
    status, _ = run_logged(command, folder, timeout_s=timeout_s, environment=environment)
    try:
        found = read_run(Path(os.fsdecode(note.read_bytes()))).records
    except (OSError, RecordError) as error:
        raise RecordError(
            f"a fresh run left no record (exit status {status}), see {LOG} in "
            f"{CONFIRM}/{folder.name}: {error}"
        ) from error
    missing = sorted(set(cells) - {r.cell for r in found})
    if missing:
        raise RecordError(
            f"a fresh run lacks {missing[0]} (exit status {status}), see "
            f"{LOG} in {CONFIRM}/{folder.name}"
        )
    return found
