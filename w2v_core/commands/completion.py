"""``w2v completion``: a script that completes commands, flags, choices and files in a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from w2v_core.commands import HELP
from w2v_core.commands.parser import EXIT_CODES
from w2v_core.errors import ConfigError
from w2v_core.options.option import options_of

SHELLS = ("bash", "zsh", "fish")
FILES = ("FILE", "RUN", "DIR", "PATH")
"""Metavars that stand for something on disk."""


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    *,
    root: argparse.ArgumentParser,
) -> None:
    """Add ``completion``; ``root`` is the parser of all commands."""
    parser = commands.add_parser(
        "completion",
        help=HELP["completion"],
        description="Print a script that completes the commands in a shell. Put it where the "
        "shell looks: w2v completion bash > ~/.local/share/bash-completion/completions/w2v, or "
        "w2v completion zsh > a file _w2v in a directory of $fpath.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))
    parser.set_defaults(handler=completion, root=root)


def completion(arguments: argparse.Namespace) -> int:
    """Print the script; returns 0.

    Raises:
        ConfigError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise ConfigError("completion needs the package shtab: pip install shtab") from error
    choices = _choices()
    for action in _actions(arguments.root):
        if action.dest in choices and action.choices is None:
            action.choices = choices[action.dest]
        elif action.type is Path or action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(arguments.root, shell=arguments.shell) + "\n")
    return 0


def _choices() -> dict[str, tuple[str, ...]]:
    """Return the values of arguments that take names, by destination."""
    from w2v_core.data.catalog import DATASETS
    from w2v_core.model.catalog import MODELS

    return {
        **{option.name: option.choices for option in options_of("run").values() if option.choices},
        "model": tuple(MODELS),
        "dataset": tuple(spec.name for spec in DATASETS),
    }


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of all commands below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action
