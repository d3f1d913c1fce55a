"""Which device a pytest marker expression asks for. Imports no torch, so it may run before that."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from w2v_core.config import DeviceChoice

DEVICE_ORDER: tuple[DeviceChoice, ...] = ("hpu", "cuda", "cpu")
"""Markers that are devices, the preferred first."""


def devices_asked_for(expression: str) -> tuple[DeviceChoice, ...]:
    """Return the devices of which ``pytest -m EXPRESSION`` asks for one, the preferred first.

    An expression asks for a device where every test that it selects carries the device's marker:
    ``hpu``, ``(hpu)`` and ``hpu and not slow`` do, ``not hpu`` and ``hpu or slow`` do not.
    ``hpu or cuda`` asks for either. Names are read and combined by pytest's own parser.

    Returns:
        Nothing where no device is asked for, and where pytest will refuse the expression.
    """
    if not expression.strip():
        return ()
    choices = (c for size in (1, 2, 3) for c in combinations(DEVICE_ORDER, size))
    try:
        return next((c for c in choices if not _selects_without(expression, c)), ())
    except SyntaxError:
        return ()


def _selects_without(expression: str, devices: tuple[DeviceChoice, ...]) -> bool:
    """Say whether a test that carries none of these markers can be selected.

    Markers are decided one at a time, as the expression asks for them, both ways.
    """
    from _pytest.mark.expression import Expression

    compiled = Expression.compile(expression)
    undecided: list[dict[str, bool]] = [dict.fromkeys(devices, False)]
    while undecided:
        decided = undecided.pop()
        try:
            if compiled.evaluate(_Markers(decided)):
                return True
        except _UndecidedError as asked:
            undecided += [{**decided, asked.name: carried} for carried in (False, True)]
    return False


class _UndecidedError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Markers:
    """A test's markers as pytest's matcher; raises at the first that is not decided."""

    def __init__(self, decided: Mapping[str, bool]) -> None:
        self._decided = decided

    def __call__(self, name: str, /, **arguments: str | int | bool | None) -> bool:
        if self._decided.get(name) is False:  # absent, so with any arguments too
            return False
        key = f"{name}{sorted(arguments.items())}" if arguments else name
        if key not in self._decided:
            raise _UndecidedError(key)
        return self._decided[key]
