"""How a front end, pytest or a command of ``w2v``, declares, reads and names its options.

What options there are stands in ``measuring`` and ``judging``. Rooms below call an option by its
name; the front end that was asked turns that name into its own flag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from w2v_core.errors import ConfigError, W2VError, fill, plain
from w2v_core.printable import shown

PYTEST = "pytest"
"""The front end that is no command of w2v; the others are called as their commands."""
ABSENT: Any = object()
"""Not said here: as the option says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """How one front end spells an option, and in what it differs there."""

    names: tuple[str, ...]
    default: Any = ABSENT
    help: str | None = None
    many: bool = False
    """Takes several values, with commas between them."""
    switch: bool | None = None
    """Takes no value: given or not."""
    required: bool = False
    metavar: str | None = None
    dest: str = ""
    """What argparse calls it; by default after its first long name."""

    def __post_init__(self) -> None:
        """Name its place as argparse does."""
        if not self.dest:
            object.__setattr__(self, "dest", self.shown[2:].replace("-", "_"))

    @property
    def shown(self) -> str:
        """The spelling that messages use."""
        return next(n for n in self.names if n.startswith("--"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option, whichever front ends have it."""

    name: str
    help: str
    on: Mapping[str, Flag]
    """By front end."""
    parse: Callable[[Any], Any] = field(default=lambda given: given)
    """Turns what argparse read into what it means; raises W2VError."""
    type: Callable[[str], Any] | None = None
    """What argparse reads: int, float or, by default, text."""
    default: Any = None
    metavar: str | None = None
    switch: bool = False
    choices: tuple[str, ...] = ()
    """For completion; ``parse`` refuses others, and names the nearest."""
    is_listed: bool = False
    """argparse itself refuses other values."""

    def is_switch(self, flag: Flag) -> bool:
        """Whether it takes no value under this flag."""
        return self.switch if flag.switch is None else flag.switch

    def default_on(self, front_end: str) -> Any:  # noqa: ANN401 - whatever argparse would read
        """What it is where a front end is not given it."""
        flag = self.on[front_end]
        if self.is_switch(flag):
            return False
        return self.default if flag.default is ABSENT else flag.default


class Given:
    """What a front end was given; each option is parsed once, when it is first read."""

    def __init__(self, front_end: str, get: Callable[[str], Any]) -> None:
        self.front_end = front_end
        self._get = get
        self._parsed: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - whatever its parser returns
        """Return an option's value, a list of values where it takes several.

        Raises:
            W2VError: the value cannot be meant; names the flag and the remedy.
        """
        if name not in self._parsed:
            self._parsed[name] = _parse(name, self.front_end, self._get)
        return self._parsed[name]

    def check(self) -> None:
        """Parse every option now, so that a wrong one is told before anything is loaded."""
        for name in options_of(self.front_end):
            _ = self[name]


def options_of(front_end: str) -> dict[str, Option]:
    """Return the options of a front end by name."""
    from w2v_core.options.fleet import FLEET
    from w2v_core.options.judging import JUDGING
    from w2v_core.options.load import LOAD
    from w2v_core.options.measuring import MEASURING

    every = (*MEASURING, *JUDGING, *FLEET, *LOAD)
    return {option.name: option for option in every if front_end in option.on}


def declare(front_end: str, add: Callable[..., Any], *names: str) -> None:
    """Add options of a front end, those named or all, by argparse's or pytest's method."""
    known = options_of(front_end)
    for name in names or known:
        option = known[name]
        flag = option.on[front_end]
        keywords: dict[str, Any] = {
            "help": flag.help or option.help,
            "default": option.default_on(front_end),
        }
        if option.is_switch(flag):
            keywords["action"] = "store_true"
        else:
            keywords["metavar"] = flag.metavar or option.metavar
            if option.is_listed:
                keywords["choices"] = option.choices
            if option.type is not None:
                keywords["type"] = option.type
        if flag.dest != flag.shown[2:].replace("-", "_"):
            keywords["dest"] = flag.dest
        if flag.required:
            keywords["required"] = True
        add(*flag.names, **{k: v for k, v in keywords.items() if k != "metavar" or v})


def name_flags(text: str, front_end: str) -> str:
    """Let a message of a lower room name the flags of a front end.

    ``{flag:limit}`` becomes the flag, ``{use:graphs off}`` what to do with it; an option that the
    front end does not have keeps its name.
    """
    known = options_of(front_end)

    def say(kind: str, name: str, value: str) -> str:
        option = known.get(name)
        if option is None:
            return plain(kind, name, value)
        flag = option.on[front_end]
        if option.is_switch(flag) and value in ("off", "on"):
            given = {"on": f"use {flag.shown}", "off": f"leave {flag.shown} out"}[value]
            return given if kind == "use" else given.removeprefix("use ")
        return plain(kind, flag.shown, value)

    return fill(text, say)


def flagged(error: W2VError, front_end: str) -> W2VError:
    """Return the error with its message in a front end's flags."""
    error.args = tuple(name_flags(a, front_end) if isinstance(a, str) else a for a in error.args)
    return error


def _several(parts: list[str], option: Option, flag: Flag) -> list[Any]:
    given = [option.parse(part.strip()) for part in parts if part.strip()]
    if parts and not given:
        raise ConfigError(f"{flag.shown} is empty; give a value, or leave it out")
    if twice := [one for one in given if given.count(one) > 1]:
        raise ConfigError(f"{flag.shown} names {shown(twice[0])} twice; name it once")
    return given


def _parse(name: str, front_end: str, get: Callable[[str], Any]) -> Any:  # noqa: ANN401
    option = options_of(front_end)[name]
    flag = option.on[front_end]
    raw = get(flag.dest)
    if option.is_switch(flag):
        return bool(raw)
    if flag.many:
        return _several([] if raw is None else raw.split(","), option, flag)
    return option.parse(raw)
