"""``--execution both``: lazy with HPU graphs and eager with torch.compile, each in its own process.

The bridge has one mode a process, so each mode gets a fresh one; its run is an ordinary run.
Importing this imports no torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from w2v_core.backends.hpu_environment import (
    EXECUTIONS,
    LAZY_MODE,
    Execution,
    TorchFamily,
    choose_mode,
    torch_family,
)
from w2v_core.commands.child import run_session
from w2v_core.errors import ConfigError, RecordError
from w2v_core.printable import printable
from w2v_core.records.store import StoredRun, read_run, write_text
from w2v_core.report.modes import render_modes_markdown, render_modes_page
from w2v_core.session import RunConfig

BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeRun:
    """What one mode's process left behind."""

    execution: Execution
    status: int
    directory: Path | None
    """Of its run; None where it wrote none."""


def measure_both(
    command: Callable[[Execution], Sequence[str]],
    *,
    reports_dir: Path,
    family: TorchFamily | None = None,
) -> int:
    """Run both modes one after the other and write them side by side; blocks for both.

    Args:
        command: The command line of one mode's process.
        reports_dir: Where the comparison goes, into ``modes/``; the runs go where they always go.
        family: Of the installed torch by default; a simulated bridge takes any.

    Returns:
        The first status that is not 0, else 0; 1 where a mode left no run to compare.

    Raises:
        DeviceError: one of the modes is impossible here, before anything is measured.
        ReportError: the comparison cannot be written.
    """
    for execution in EXECUTIONS:
        choose_mode(execution, given=os.environ.get(LAZY_MODE), family=family or torch_family())
    runs = [_run(execution, command(execution)) for execution in EXECUTIONS]
    stored = {run.execution: found for run in runs if (found := _read(run)) is not None}
    if len(stored) == len(EXECUTIONS):
        _write(reports_dir, stored)
    else:
        without = ", ".join(run.execution for run in runs if run.execution not in stored)
        sys.stderr.write(f"modes: no run to compare of {without}\n")
    worst = next((run.status for run in runs if run.status != 0), 0)
    return worst or int(len(stored) < len(EXECUTIONS))


def run_both(config: RunConfig) -> int:
    """Run this ``w2v run`` in both modes, with graphs; returns as ``measure_both``.

    Raises:
        ConfigError: the run is not for hpu.
        DeviceError: one of the modes is impossible here.
    """
    if config.device != "hpu":
        raise ConfigError(
            f"--execution both is for hpu, and the run is for {config.device}; add --device hpu"
        )
    fixed = ["--use_graphs", "--reports-dir", str(config.reports_dir)]
    return measure_both(
        lambda execution: [
            *(sys.executable, "-m", "w2v_core"),
            *sys.argv[1:],
            *fixed,
            *("--execution", execution),
        ],
        reports_dir=config.reports_dir,
    )


def _run(execution: Execution, command: Sequence[str]) -> ModeRun:
    sys.stderr.write(f"modes: {execution}\n")
    status, directory = run_session(command)
    return ModeRun(execution=execution, status=status, directory=directory)


def _read(run: ModeRun) -> StoredRun | None:
    if run.directory is None:
        return None
    try:
        return read_run(run.directory)
    except RecordError as error:
        sys.stderr.write(f"modes: {run.execution}: {printable(str(error))}\n")
        return None


def _write(reports_dir: Path, runs: Mapping[Execution, StoredRun]) -> None:
    now = datetime.now(timezone.utc)
    folder = reports_dir / "modes"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{now:%Y%m%dT%H%M%SZ}-{os.getpid()}.html"
    text = render_modes_markdown(runs["lazy"], runs["eager"])
    write_text(page, render_modes_page(runs["lazy"], runs["eager"]))
    write_text(page.with_suffix(".md"), text)
    sys.stdout.write(f"{text}\n")
    sys.stderr.write(f"modes: {printable(str(page))}\n")
