"""The ``w2v`` command.

Exit codes: 0 success, 1 the run or verdict is bad, 2 wrong usage, 3 input that cannot be used, 130
interrupted, 141 the reader of the output went away. For commands that judge, 2 is inconclusive and
wrong usage is 3.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import cast

from w2v_core import __version__
from w2v_core.commands import completion, doctor, judge, report, run, transcribe
from w2v_core.commands.options import INPUT_ERROR, USAGE_ERROR, Parser
from w2v_core.errors import ConfigError, W2VError
from w2v_core.report.text import printable

__all__ = ["build_parser", "main"]

INTERRUPTED = 130  # 128 + SIGINT, as shells count
BROKEN_PIPE = 141  # 128 + SIGPIPE


def build_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="w2v",
        description="Validate and measure Wav2Vec2ForCTC inference on Gaudi, CUDA and CPU.",
        epilog="Exit codes: 0 success, 1 bad run or verdict, 2 wrong usage, 3 unusable input, "
        "130 interrupted; of gate, baseline, compare, pair and calibrate: 0 pass, 1 regression, "
        "2 inconclusive, 3 wrong usage or unusable input. 'w2v COMMAND --help' tells more.",
    )
    parser.add_argument("--version", action="version", version=f"w2v {__version__}")
    commands = cast(
        "argparse._SubParsersAction[argparse.ArgumentParser]",
        parser.add_subparsers(dest="command", required=True, metavar="COMMAND"),
    )
    for command in (run, transcribe, report, doctor, judge):
        command.add_parser(commands)
    completion.add_parser(commands, root=parser)
    _name_parsers(commands)
    return parser


def _name_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Let each command's arguments tell their parser, whose usage an error is about."""
    for parser in commands.choices.values():
        parser.set_defaults(parser=parser)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                _name_parsers(action)
                inner = [p.get_default("usage_error") for p in action.choices.values()]
                parser.set_defaults(usage_error=next(filter(None, inner), None) or USAGE_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever ends it early becomes one paragraph on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a letter
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        what = f"; {interrupt}" if interrupt.args else ""
        sys.stderr.write(f"w2v: interrupted{printable(what)}\n")
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE


def _run(arguments: Sequence[str] | None) -> int:
    parsed = build_parser().parse_args(arguments)
    try:
        return cast("int", parsed.handler(parsed))
    except W2VError as error:
        if getattr(parsed, "debug", False):
            traceback.print_exc()
        text = "; ".join(line.strip() for line in str(error).split("\n"))
        sys.stderr.write(f"w2v: {printable(text)}\n")
        if isinstance(error, ConfigError):
            return cast("int", getattr(parsed, "usage_error", USAGE_ERROR))
        return INPUT_ERROR
    except (MemoryError, RuntimeError) as error:
        if getattr(parsed, "debug", False) or not _is_out_of_memory(error):
            raise
        what = printable(str(error).partition("\n")[0])
        sys.stderr.write(f"w2v: out of memory; use a smaller --batch-size or model ({what})\n")
        return INPUT_ERROR


def _is_out_of_memory(error: Exception) -> bool:
    """Recognise Python's, a device's and the host allocator's way of saying it."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in ("can't allocate memory", "Allocation failed for"))
    )


def _forget_stdout() -> None:
    """Send what is left in stdout's buffer nowhere, so that the interpreter's exit is quiet.

    Source: "Note on SIGPIPE" in the documentation of Python's signal module.
    """
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
