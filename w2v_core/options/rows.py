"""How rows of the table of options are made."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from w2v_core.config import parse_choice, parse_count, parse_path, parse_text
from w2v_core.options.option import Flag, Option


def on(flag: str, *front_ends: str, **differs: Any) -> dict[str, Flag]:  # noqa: ANN401
    """Spell an option for some front ends; the first long name is the one that messages use."""
    return {f: Flag(names=tuple(flag.split()), **differs) for f in front_ends}


def chosen(name: str, what: str, choices: tuple[str, ...], **more: Any) -> Option:  # noqa: ANN401
    """An option of a few values; a wrong one is told with the nearest."""
    parse = partial(_choice, what, choices)
    return Option(name=name, parse=parse, choices=choices, **more)


def _choice(what: str, choices: tuple[str, ...], text: str | None) -> str | None:
    return None if text is None else parse_choice(what, text, choices)


def listed(name: str, choices: tuple[str, ...], **more: Any) -> Option:  # noqa: ANN401
    """An option whose few values the parser itself lists."""
    return Option(name=name, choices=choices, is_listed=True, **more)


def counted(name: str, **more: Any) -> Option:  # noqa: ANN401
    """An option that counts, from 1; None where it is not given."""
    return Option(name=name, type=int, parse=partial(_parse_count, name), **more)


def _parse_count(name: str, value: int | None) -> int | None:
    return None if value is None else parse_count(name, value)


def placed(name: str, **more: Any) -> Option:  # noqa: ANN401
    """An option that is a path, ``~`` expanded; None where it is not given, refused where empty."""
    return Option(name=name, parse=partial(_parse_path, name), **more)


def _parse_path(name: str, text: str | None) -> Path | None:
    return None if text is None else parse_path(parse_text(name, text))


def worded(name: str, **more: Any) -> Option:  # noqa: ANN401
    """An option that is text; given and empty it is refused."""
    return Option(name=name, parse=partial(_parse_text, name), **more)


def _parse_text(name: str, text: str | None) -> str | None:
    return None if text is None else parse_text(name, text)


def switch(name: str, flag: str, *front_ends: str, help: str) -> Option:
    """An option that is given or not."""
    return Option(name=name, help=help, switch=True, default=False, on=on(flag, *front_ends))
