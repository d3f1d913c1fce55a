"""argparse, with errors of one paragraph; light enough that ``w2v --help`` is at once."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

USAGE_ERROR = 2
INPUT_ERROR = 3
EXIT_CODES = (
    "Exit codes: 0 done, 2 wrong usage, 3 unusable input (or a missing device), 130 interrupted."
)


class Parser(argparse.ArgumentParser):
    """argparse's parser, with errors of one paragraph and no guessing at shortened flags."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(allow_abbrev=False, **options)
        self.register("type", Path, _path)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse; a flag that is not known is named with the nearest one of its command."""
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            command: Parser = getattr(parsed, "parser", self)
            command.error(command.unknown(rest[0]))
        return parsed

    def unknown(self, argument: str) -> str:
        """Say that an argument is not known, and what is near it."""
        known = [flag for action in self._actions for flag in action.option_strings]
        near = difflib.get_close_matches(argument.split("=", maxsplit=1)[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{argument!r} is not an argument of it{hint}"

    def error(self, message: str) -> NoReturn:
        """End with one paragraph on stderr; the code is 3 for commands whose 2 is a verdict."""
        code = self.get_default("usage_error") or USAGE_ERROR
        self.exit(code, f"{self.prog}: {message}; see {self.prog} --help\n")


def _path(text: str) -> Path:
    from w2v_core.config import parse_path
    from w2v_core.errors import ConfigError

    try:
        return parse_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
