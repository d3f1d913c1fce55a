"""How rows of the table of options are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from w2v_core.config import parse_choice, parse_count, parse_path, parse_text
from w2v_core.options.option import Flag, Option

CARDS = ("fleet", "soak")
"""The commands that measure on many cards."""


def on(flag: str, *front_ends: str, **differs: Any) -> dict[str, Flag]:  # noqa: ANN401
    """Spell an option for some front ends; the first long name is the one that messages use."""
    return {f: Flag(names=tuple(flag.split()), **differs) for f in front_ends}


def chosen(name: str, what: str, choices: tuple[str, ...], **more: Any) -> Option:  # noqa: ANN401
    """An option of a few values; a wrong one is told with the nearest."""
    parse = _where_given(lambda text: parse_choice(what, text, choices))
    return Option(name=name, parse=parse, choices=choices, **more)


def listed(name: str, choices: tuple[str, ...], **more: Any) -> Option:  # noqa: ANN401
    """An option whose few values the parser itself lists."""
    return Option(name=name, choices=choices, is_listed=True, **more)


def counted(name: str, **more: Any) -> Option:  # noqa: ANN401
    """An option that counts, from 1; None where it is not given."""
    parse = _where_given(lambda value: parse_count(name, value))
    return Option(name=name, type=int, parse=parse, **more)


def placed(name: str, **more: Any) -> Option:  # noqa: ANN401
    """An option that is a path, ``~`` expanded; None where it is not given, refused where empty."""
    parse = _where_given(lambda text: parse_path(parse_text(name, text)))
    return Option(name=name, parse=parse, **more)


def worded(name: str, **more: Any) -> Option:  # noqa: ANN401
    """An option that is text; given and empty it is refused."""
    return Option(name=name, parse=_where_given(lambda text: parse_text(name, text)), **more)


def switch(name: str, flag: str, *front_ends: str, help: str) -> Option:
    """An option that is given or not."""
    return Option(name=name, help=help, switch=True, default=False, on=on(flag, *front_ends))


def _where_given(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else parse(value)
