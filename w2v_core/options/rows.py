"""How rows of the table of options are made."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any

from w2v_core.config import (
    MOST,
    MOST_S,
    parse_amount,
    parse_choice,
    parse_count,
    parse_path,
    parse_text,
)
from w2v_core.errors import ConfigError
from w2v_core.options.option import Flag, Option
from w2v_core.printable import shown

CARDS = ("fleet", "soak")
"""The commands that measure on many cards."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


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


def counted(name: str, *, least: int = 1, most: int = MOST, **more: Any) -> Option:  # noqa: ANN401
    """An option that counts; None where it is not given."""
    parse = _where_given(lambda value: parse_count(name, value, least=least, most=most))
    return Option(name=name, type=read_whole, parse=parse, **more)


def measured(name: str, *, above: float = 0.0, most: float = MOST_S, **more: Any) -> Option:  # noqa: ANN401
    """An option that is an amount of something; None where it is not given."""
    parse = _where_given(lambda value: parse_amount(name, value, above=above, most=most))
    return Option(name=name, type=read_number, parse=parse, **more)


def zero_or_one(name: str, **more: Any) -> Option:  # noqa: ANN401
    """An option of the seed's: 1, the default, or 0."""

    def parse(value: int) -> bool:
        if value not in (0, 1):
            text = f"{{flag:{name}}} is {shown(value)}; it must be 0 or 1"
            raise ConfigError(text, field=name, value=value)
        return bool(value)

    return Option(name=name, type=read_whole, parse=parse, default=1, metavar="{0,1}", **more)


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


def read_whole(text: str) -> int:
    """Read digits, and no more than are meant: not ``1_000``, not those of other scripts."""
    if re.fullmatch("[+-]?[0-9]{1,400}", text.strip()) is None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no whole number; write it in digits")
    return int(text)


def read_number(text: str) -> float:
    """Read a number in digits, with or without a point and an exponent."""
    if _NUMBER.fullmatch(text.strip()) is None:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number; write it in digits")
    if math.isinf(value := float(text)):
        raise argparse.ArgumentTypeError(f"{shown(text)} is beyond all limits; give a smaller one")
    return value


def _where_given(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else parse(value)
