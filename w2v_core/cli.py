"""The ``w2v`` command.

Exit codes: 0 success, 1 the run or verdict is bad, 2 wrong usage, 3 input that cannot be used. For
commands that judge, 2 is inconclusive and a wrong value is 3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import cast

from w2v_core import __version__
from w2v_core.commands import doctor, report, run, transcribe, verdicts
from w2v_core.errors import ConfigError, W2VError
from w2v_core.report.text import printable

__all__ = ["build_parser", "main"]

USAGE_ERROR = 2
INPUT_ERROR = 3


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="w2v",
        description="Validate and measure Wav2Vec2ForCTC inference on Gaudi, CUDA and CPU.",
        epilog="Exit codes: 0 success, 1 bad run or verdict, 2 wrong usage, 3 unusable input.",
    )
    parser.add_argument("--version", action="version", version=f"w2v {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (run, transcribe, report, doctor, verdicts):
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a deliberate error becomes one paragraph on stderr."""
    parsed = build_parser().parse_args(arguments)
    try:
        return cast("int", parsed.handler(parsed))
    except ConfigError as error:
        sys.stderr.write(f"w2v: {printable(str(error))}\n")
        return cast("int", getattr(parsed, "usage_error", USAGE_ERROR))
    except W2VError as error:
        sys.stderr.write(f"w2v: {printable(str(error))}\n")
        return INPUT_ERROR
