"""``w2v bisect``: which of several installations in a row first has a loss; no torch."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from w2v_core.commands import HELP
from w2v_core.commands.options import given
from w2v_core.options.option import declare
from w2v_core.printable import printable
from w2v_core.verdict.outcome import UNUSABLE


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bisect``."""
    parser = commands.add_parser(
        "bisect",
        help=HELP["bisect"],
        description="Compare installations with the first one by interleaved pairs, where the "
        "answer is worth most, until one is the beginning of the loss with --confidence. The first "
        "is known to be good, the last to be bad. About log2 of their number comparisons, more "
        "where the machine is noisy.",
        epilog="Exit codes: 0 found, 2 not sure enough, or the last is not slower; 3 unusable "
        "input.",
    )
    parser.add_argument("names", nargs="+", metavar="RELEASE", help="in order, or whole commands")
    declare("bisect", parser.add_argument)
    parser.set_defaults(handler=_bisect, usage_error=UNUSABLE)


def _bisect(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.bisect_runs import bisect_commands

    options = given("bisect", arguments)
    directory = options["directory"] or Path(tempfile.mkdtemp(prefix="w2v-bisect-"))
    try:
        found = bisect_commands(
            arguments.names,
            command=options["command"],
            pairs=options["pairs"],
            directory=directory,
            confidence=options["confidence"],
            timeout_s=options["timeout"],
            report=_report,
        )
    except KeyboardInterrupt:
        left = f"go on with --directory {directory}"
        raise KeyboardInterrupt(left) from None
    if options["json"]:
        sys.stdout.write(json.dumps({**asdict(found), "exit_code": found.exit_code}) + "\n")
        return found.exit_code
    sys.stdout.write(f"{printable(found.summary())}\n")
    for name, probability in zip(found.names, found.posterior, strict=True):
        sys.stdout.write(f"{probability:7.1%}  {printable(name)}\n")
    return found.exit_code


def _report(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")
