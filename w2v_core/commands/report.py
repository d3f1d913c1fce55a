"""``w2v report``: the page of a run, again, and with its history."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.commands import HELP
from w2v_core.commands.options import given
from w2v_core.commands.parser import EXIT_CODES
from w2v_core.config import parse_path
from w2v_core.errors import ConfigError, RecordError
from w2v_core.options.option import Given, declare
from w2v_core.printable import printable
from w2v_core.records.record import CellRecord
from w2v_core.records.store import CONFIRM

if TYPE_CHECKING:
    from w2v_core.records.history_table import Night
    from w2v_core.verdict.run import Run

    Nights = Mapping[str, Sequence[Night]]

PAGE = "summary.html"
ALL = "history.html"
_SQLITE = b"SQLite format 3\0"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``report`` and its flags."""
    parser = commands.add_parser(
        "report",
        help=HELP["report"],
        description="Write a run as one self-contained HTML page, readable without a network and "
        "without JavaScript, and print its path. It carries the verdict that was given when the "
        "run was made; --baseline judges again and keeps the new verdict beside the page.",
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="run directory, run.json, the JSON of pytest --benchmark-json, or a history file: "
        "then one page over all its runs, history.html beside it",
    )
    declare("report", parser.add_argument)
    parser.set_defaults(handler=report)


def report(arguments: argparse.Namespace) -> int:
    """Write the page, or what was asked for in its place, and print its path; returns 0.

    Raises:
        ConfigError: the history is not there, or the output is a directory.
        RecordError: the run or the baseline cannot be read.
        ReportError: the page cannot be written.
    """
    from w2v_core.verdict.run import load_run

    options = given("report", arguments)
    place = parse_path(arguments.run)
    if _is_history(place):
        return _report_all(place, options)
    run = load_run(place)
    if options["export"]:
        return _export(run, place, options)
    run = replace(run, nights=_history(options["history"], run.records))
    if options["baseline"]:
        run = _judged(run, options["baseline"])
    output: Path = options["output"] or _default_output(place)
    if output.is_dir():
        raise ConfigError(f"--output {printable(str(output))} is a directory; name a file in it")
    _write_page(run, output)
    if options["baseline"] and place.is_dir() and output == _default_output(place):
        _keep_verdict(run, place)
    valid = sum(record.valid for record in run.records)
    told = {"page": str(output), "size_bytes": output.stat().st_size}
    _print(options, {**told, "cells": len(run.records), "valid": valid}, [output])
    return 0


def _is_history(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _report_all(history: Path, options: Given) -> int:
    """Write the page over all runs of a history."""
    from w2v_core.report.files import write_file
    from w2v_core.report.page import render_history
    from w2v_core.verdict.approving import baselines_below

    if options["export"] or options["history"]:
        raise ConfigError(f"{printable(str(history))} is a history; exports are of a run")
    known = baselines_below(options["baseline"]) if options["baseline"] else []
    output: Path = options["output"] or history.with_name(ALL)
    write_file(output, render_history(history, [baseline for _, baseline in known]))
    _print(options, {"page": str(output), "size_bytes": output.stat().st_size}, [output])
    return 0


def _write_page(run: Run, output: Path) -> None:
    from w2v_core.report.files import write_file
    from w2v_core.report.page import render_page

    write_file(output, render_page(run))


def _keep_verdict(run: Run, directory: Path) -> None:
    """Let the run's ``verdict.json`` and the index say what the page says."""
    from w2v_core.records.store import write_verdict
    from w2v_core.report.files import write_index

    if run.verdict is not None:
        write_verdict(directory, run.verdict.to_json())
    reports = directory.resolve().parent.parent
    if (reports / "index.html").exists():
        write_index(reports)


def _export(run: Run, place: Path, options: Given) -> int:
    from w2v_core.report.exports import EXPORTS
    from w2v_core.report.files import write_file

    directory: Path = options["output"] or _default_output(place).parent / "exports"
    written = []
    for name, text in EXPORTS[options["export"]](run).items():
        write_file(directory / name, text)
        written.append(directory / name)
    _print(options, {"files": [str(path) for path in written]}, written)
    return 0


def _print(options: Given, values: Mapping[str, object], paths: Sequence[Path]) -> None:
    if options["json"]:
        sys.stdout.write(json.dumps(values) + "\n")
    else:
        sys.stdout.writelines(f"{printable(str(path))}\n" for path in paths)


def _judged(run: Run, place: Path) -> Run:
    """Return the run with the verdict over it, however old it is."""
    from w2v_core.verdict.baseline import load_baseline
    from w2v_core.verdict.run import calibrated, judged

    baseline = load_baseline(place, run.records[0].environment)
    again = judged(run.records, session=run.session, baseline=place, known=baseline, max_age=None)
    return replace(calibrated(again), nights=run.nights)


def _default_output(run: Path) -> Path:
    if run.is_dir():
        return run / PAGE
    return run.with_name(PAGE) if run.name == "run.json" else run.with_suffix(".html")


def _history(path: Path | None, records: Sequence[CellRecord]) -> Nights | None:
    """Return the nights of the same kind of machine; None where no history was asked for."""
    if path is None:
        return None

    from w2v_core.records.fingerprint import key as fingerprint_key
    from w2v_core.records.history_table import Night

    key = fingerprint_key(records[0].environment)
    if path.is_file():
        from w2v_core.records.history import History

        with History(path) as history:
            return history.nights(key)
    if not path.is_dir():
        raise ConfigError(
            f"--history {printable(str(path))} does not exist; give a reports directory"
        )
    nights: dict[str, list[Night]] = {}
    for record in _records_below(path):
        same = fingerprint_key(record.environment) == key
        if same and record.valid and record.is_simulated == records[0].is_simulated:
            nights.setdefault(record.cell, []).append(Night.of(record))
    return nights


def _records_below(directory: Path) -> Iterator[CellRecord]:
    """Yield the records of all runs, one run in memory; what cannot be read is named on stderr."""
    for file in sorted(directory.rglob("run.json")):
        if CONFIRM not in file.parts:
            yield from _read(file)


def _read(file: Path) -> tuple[CellRecord, ...]:
    from w2v_core.records.store import read_run

    try:
        return read_run(file).records
    except RecordError as error:
        sys.stderr.write(f"w2v: left out of the history: {printable(str(error))}\n")
        return ()
