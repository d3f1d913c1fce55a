"""``w2v report``: the page of a run, again, and with its history."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.commands.options import EXIT_CODES
from w2v_core.config import parse_path
from w2v_core.errors import ConfigError, RecordError
from w2v_core.records.record import CellRecord
from w2v_core.report.run_directory import write_file
from w2v_core.report.text import printable

if TYPE_CHECKING:
    from w2v_core.report.trend import History as Nights

__all__ = ["add_parser", "report"]

PAGE = "summary.html"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``report`` and its flags."""
    parser = commands.add_parser(
        "report",
        help="write the HTML page of a run",
        description="Write a run as one self-contained HTML page, readable without a network and "
        "without JavaScript, and print its path. Without --baseline it carries no verdict.",
        epilog=EXIT_CODES,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="run directory, run.json, or the JSON of --benchmark-json")
    add("--history", metavar="DIR", help="reports directory or history file, for the trend")
    add(
        "--baseline",
        metavar="DIR",
        help="baseline file or directory: the verdict, the anchor and CUSUM",
    )
    add("-o", "--output", metavar="FILE", help="the page (default: summary.html beside the run)")
    add("--json", action="store_true", help="print JSON: the page's path and size, cells, valid")
    parser.set_defaults(handler=report)


def report(arguments: argparse.Namespace) -> int:
    """Write the page and print its path; returns 0.

    Raises:
        ConfigError: the history is not there, or the output is a directory.
        RecordError: the run or the baseline cannot be read.
        ReportError: the page cannot be written.
    """
    from w2v_core.records.store import read_run
    from w2v_core.report.html import render_page

    run = parse_path(arguments.run)
    records = read_run(run).records
    nights = _history(arguments.history, records)
    if arguments.baseline:
        page = _judged_page(run, records, parse_path(arguments.baseline), nights)
    else:
        page = render_page(records, history=nights)
    output = parse_path(arguments.output) if arguments.output else _default_output(run)
    if output.is_dir():
        raise ConfigError(f"--output {printable(str(output))} is a directory; name a file in it")
    write_file(output, page)
    if arguments.json:
        valid = sum(record.valid for record in records)
        values = {"page": str(output), "size_bytes": output.stat().st_size}
        sys.stdout.write(json.dumps({**values, "cells": len(records), "valid": valid}) + "\n")
    else:
        sys.stdout.write(f"{printable(str(output))}\n")
    return 0


def _judged_page(
    run: Path, records: Sequence[CellRecord], place: Path, nights: Nights | None
) -> str:
    """Render the page with the verdict over the run, however old it is."""
    from w2v_core.report.html import render_page
    from w2v_core.verdict.baseline import load_baseline
    from w2v_core.verdict.calibrate_recorded import calibrate_from_baseline
    from w2v_core.verdict.commands import gate_runs

    baseline = load_baseline(place, records[0].environment)
    return render_page(
        records,
        gate=gate_runs([run], place, max_age=None),
        calibration=calibrate_from_baseline(baseline),
        history=nights,
        baseline=baseline,
    )


def _default_output(run: Path) -> Path:
    if run.is_dir():
        return run / PAGE
    return run.with_name(PAGE) if run.name == "run.json" else run.with_suffix(".html")


def _history(place: str | None, records: Sequence[CellRecord]) -> Nights | None:
    """Return the nights of the same kind of machine; None where no history was asked for."""
    if place is None:
        return None

    from w2v_core.records.fingerprint import key as fingerprint_key
    from w2v_core.records.history_table import Night

    path = parse_path(place)
    key = fingerprint_key(records[0].environment)
    if path.is_file():
        from w2v_core.records.history import History

        with History(path) as history:
            return history.nights(key)
    if not path.is_dir():
        raise ConfigError(f"--history {printable(place)} does not exist; give a reports directory")
    nights: dict[str, list[Night]] = {}
    for record in _records_below(path):
        same = fingerprint_key(record.environment) == key
        if same and record.valid and record.is_simulated == records[0].is_simulated:
            nights.setdefault(record.cell, []).append(Night.of(record))
    return nights


def _records_below(directory: Path) -> Iterator[CellRecord]:
    """Yield the records of all runs, one run in memory; what cannot be read is named on stderr."""
    for file in sorted(directory.rglob("run.json")):
        yield from _read(file)


def _read(file: Path) -> tuple[CellRecord, ...]:
    from w2v_core.records.store import read_run

    try:
        return read_run(file).records
    except RecordError as error:
        sys.stderr.write(f"w2v: left out of the history: {printable(str(error))}\n")
        return ()
