"""``w2v bisect`` on this machine: commands run in pairs, and no comparison made twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path

import msgspec

from w2v_core.errors import ConfigError, RecordError
from w2v_core.jsonfile import convert, exists, read_json
from w2v_core.records.store import write_text
from w2v_core.verdict.bisect import Bisection, Ratios, bisect
from w2v_core.verdict.pair import run_stage
from w2v_core.verdict.paired import Pair, judge_pairs, log_ratios
from w2v_core.verdict.process import Report

STATE = "bisect.json"
"""In the directory: the installations, and every comparison that was finished."""
RELEASE = "{release}"
"""Stands in a common command for one of the installations."""


class _Comparison(msgspec.Struct, frozen=True):
    place: int
    ratios: dict[str, list[float]]


class _State(msgspec.Struct, frozen=True):
    commands: list[str]
    pairs: int
    comparisons: list[_Comparison] = []


def bisect_commands(
    names: Sequence[str],
    *,
    command: str | None,
    pairs: int,
    directory: Path,
    confidence: float,
    timeout_s: float | None = None,
    report: Report = lambda _: None,
) -> Bisection:
    """Search among installations; blocks for a stage of pairs a comparison.

    A search that was interrupted goes on where its directory says it was.

    Args:
        names: In order, the first good, the last bad: releases, or whole commands without
            ``command``.
        command: With ``{release}`` and ``{out}`` in it; None where ``names`` are commands.
        pairs: A comparison.
        directory: Where runs and state are kept.
        confidence: The probability at which it ends.
        timeout_s: Of one run; None waits for ever.
        report: Told which run starts, and what is thought.

    Raises:
        ConfigError: a command without its place for a release or for its run, or a directory of
            another search.
        RecordError: a command failed or left no run; or its records cannot be compared.
    """
    if command is not None and RELEASE not in command:
        raise ConfigError(f"{{flag:command}} {command!r} does not say where {RELEASE} goes")
    commands = [command.replace(RELEASE, name) if command is not None else name for name in names]
    state = _resumed(directory, commands, pairs)
    kept = list(state.comparisons)
    run = partial(run_stage, pairs=pairs, timeout_s=timeout_s, report=report)
    asked = count()

    def measure(place: int) -> Ratios:
        number = next(asked)
        if number < len(kept):  # the search asks for the same in the same order
            return _known(kept[number], place, directory)
        report(f"comparison {number + 1}: {names[place]} against {names[0]}")
        made = run(commands[0], commands[place], prefix=_fresh(directory, number + 1))
        kept.append(_Comparison(place, _ratios(made)))
        _write(directory, _State(commands, pairs, kept))
        return kept[-1].ratios

    directory.mkdir(parents=True, exist_ok=True)
    return bisect(names, measure, confidence=confidence, report=report)


def _known(held: _Comparison, place: int, directory: Path) -> Ratios:
    if held.place != place:
        raise RecordError(f"{directory / STATE}: its comparisons are not those of this search")
    return held.ratios


def _ratios(made: Sequence[Pair]) -> dict[str, list[float]]:
    result = judge_pairs(made)
    fit = sorted(c.cell for c in result.cells if c.throughput is not None)
    if not fit:
        raise RecordError(f"nothing can be compared: {result.summary()}")
    return dict(zip(fit, log_ratios(made, fit).tolist(), strict=True))


def _fresh(directory: Path, number: int) -> Path:
    """Return a prefix that no run has yet; an interrupted comparison's runs stay where they are."""
    tries = (directory / f"{number}{chr(ord('a') + i) if i else ''}" for i in range(26))
    return next(p for p in tries if not any(directory.glob(f"{p.name}-*")))


def _resumed(directory: Path, commands: list[str], pairs: int) -> _State:
    file = directory / STATE
    if not exists(file):
        return _State(commands, pairs)
    held = convert(read_json(file, error=RecordError), _State, source=STATE, error=RecordError)
    if (held.commands, held.pairs) != (commands, pairs):
        raise ConfigError(f"{file} is of another search; give a {{flag:directory}} of its own")
    return held


def _write(directory: Path, state: _State) -> None:
    write_text(directory / STATE, json.dumps(msgspec.to_builtins(state), indent=1) + "\n")
