"""The ``w2v`` command.

Exit codes: 0 success, 1 the run or verdict is bad, 2 wrong usage, 3 input that cannot be used, 130
interrupted, 141 the reader of the output went away. For commands that judge, 2 is inconclusive and
wrong usage is 3.

Only what ``w2v --help`` needs is imported here; a command is imported when it is asked for, within
``main``, so that an interrupt while packages are imported is an interrupt like any other.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from w2v_core.commands.parser import Parser

INTERRUPTED = 130  # 128 + SIGINT, as shells count
BROKEN_PIPE = 141  # 128 + SIGPIPE


def build_parser(wanted: str | None = None) -> Parser:
    """Return the parser of all commands, or the parser in which only one command has its flags.

    Args:
        wanted: The first argument; whatever it is, the other commands are known by name only. None
            imports them all.
    """
    from w2v_core import __version__
    from w2v_core.commands import HELP, MODULES
    from w2v_core.commands.parser import Parser

    parser = Parser(
        prog="w2v",
        description="Validate and measure Wav2Vec2ForCTC inference on Gaudi, CUDA and CPU.",
        epilog="Exit codes: 0 success, 1 bad run or verdict, 2 wrong usage, 3 unusable input, "
        "130 interrupted; of gate, baseline, compare, pair, calibrate and fleet: 0 pass, "
        "1 regression, 2 inconclusive, 3 wrong usage or unusable input. 'w2v COMMAND --help' "
        "tells more.",
    )
    parser.add_argument("--version", action="version", version=f"w2v {__version__}")
    commands: argparse._SubParsersAction[argparse.ArgumentParser] = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND"
    )  # type: ignore[assignment]  # of the parsers that it will make
    everything = wanted is None or wanted == "completion"  # which completes all commands
    for name, text in HELP.items():
        if everything or MODULES[name] == MODULES.get(wanted or ""):
            _add(MODULES[name], commands, root=parser)
        elif name not in commands.choices:
            commands.add_parser(name, help=text)
    _name_parsers(commands)
    return parser


def _add(
    module: str, commands: argparse._SubParsersAction[argparse.ArgumentParser], *, root: Parser
) -> None:
    """Add the commands of a module, once."""
    import importlib

    from w2v_core.commands import MODULES

    if any(MODULES[name] == module for name in commands.choices):
        return
    adder = importlib.import_module(f"w2v_core.commands.{module}").add_parser
    if module == "completion":
        adder(commands, root=root)
    else:
        adder(commands)


def _name_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Let each command's arguments tell their parser, whose usage an error is about."""
    import argparse

    from w2v_core.commands.parser import USAGE_ERROR

    for parser in commands.choices.values():
        parser.set_defaults(parser=parser)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                _name_parsers(action)
                inner = [p.get_default("usage_error") for p in action.choices.values()]
                parser.set_defaults(usage_error=next(filter(None, inner), None) or USAGE_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever ends it early becomes one paragraph on stderr."""
    try:
        import io

        _open_what_is_closed()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a letter
                stream.reconfigure(errors="backslashreplace")
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        from w2v_core.printable import printable

        what = f"; {interrupt}" if interrupt.args else ""
        sys.stderr.write(f"w2v: interrupted{printable(what)}\n")
        # One that came out of an exec(), of a dataclass being made, leaves a mark by which Python
        # would end itself with SIGINT in place of our code; the next exec() takes it away.
        exec("")  # noqa: S102
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    except OSError as error:
        return _unwritten(error)


def _run(arguments: Sequence[str]) -> int:
    from w2v_core.errors import W2VError

    parsed = build_parser(arguments[0] if arguments else "").parse_args(arguments)
    try:
        return int(parsed.handler(parsed))
    except W2VError as error:
        return _told(error, parsed)
    except (MemoryError, RuntimeError) as error:
        from w2v_core.commands.parser import INPUT_ERROR
        from w2v_core.errors import is_out_of_memory
        from w2v_core.options.option import name_flags
        from w2v_core.printable import first_said, printable

        if getattr(parsed, "debug", False) or not is_out_of_memory(error):
            raise
        what = printable(first_said(str(error)))
        remedy = name_flags("use a smaller {flag:batch_size} or model", parsed.command)
        remedy = f"; {remedy}" if "--" in remedy else ""  # of a command that measures
        sys.stderr.write(f"w2v: out of memory{remedy} ({what})\n")
        return INPUT_ERROR


def _told(error: Exception, parsed: argparse.Namespace) -> int:
    """Say what was wrong in one paragraph; returns the exit code."""
    import traceback

    from w2v_core.commands.parser import INPUT_ERROR, USAGE_ERROR
    from w2v_core.errors import ConfigError, W2VError
    from w2v_core.options.option import flagged
    from w2v_core.printable import printable

    if isinstance(error, W2VError):
        error = flagged(error, parsed.command)
    if getattr(parsed, "debug", False):
        traceback.print_exception(error)
    text = "; ".join(line.strip() for line in str(error).split("\n"))
    sys.stderr.write(f"w2v: {printable(text)}\n")
    if isinstance(error, ConfigError):
        return int(getattr(parsed, "usage_error", USAGE_ERROR))
    return INPUT_ERROR


def _open_what_is_closed() -> None:
    """Let what goes to a stream that was closed (``>&-``) go nowhere.

    Else the next file that is opened has its number, and in it what libraries print.
    """
    import os

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = os.O_WRONLY if number else os.O_RDONLY
            opened = os.open(os.devnull, mode)  # the lowest number that is free
            setattr(sys, name, os.fdopen(opened, "w" if number else "r"))


def _unwritten(error: OSError) -> int:
    """Say that stdout takes no more; returns the exit code.

    Raises:
        OSError: it is about something else.
    """
    import errno

    from w2v_core.commands.parser import INPUT_ERROR

    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) or error.filename:
        raise error
    _forget_stdout()
    sys.stderr.write(f"w2v: the output cannot be written: {error.strerror}; give it more room\n")
    return INPUT_ERROR


def _forget_stdout() -> None:
    """Send what is left in stdout's buffer nowhere, so that the interpreter's exit is quiet.

    Source: "Note on SIGPIPE" in the documentation of Python's signal module.
    """
    import contextlib
    import os

    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
