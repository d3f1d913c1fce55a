"""``w2v soak``: the same cells again and again on all cards."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v_core.commands import HELP
from w2v_core.commands.fleet import (
    alone,
    gone_if_refused,
    make_fleet,
    raw_options,
    reserve_run,
    sets_of,
)
from w2v_core.commands.options import given
from w2v_core.errors import ConfigError, RecordError
from w2v_core.options.option import Given, declare, options_of
from w2v_core.printable import printable
from w2v_core.records.store import SOAK

if TYPE_CHECKING:
    from w2v_core.fleet.cards import Card
    from w2v_core.fleet.soak_report import Asked

OWN = {"passes", "hours", "resume", "json"}
"""Options that say nothing of what is measured."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``soak`` and its flags."""
    parser = commands.add_parser(
        "soak",
        help=HELP["soak"],
        description="Measure the same cells again and again on all cards, a process each. Every "
        "pass must return the first one's frame ids, bit for bit, at its speed; memory, files, "
        "threads and graphs must not grow. What differs is named, and the run goes on.",
        epilog="Exit codes: 0 clean, 1 found something or too short to say, 2 wrong usage, "
        "3 unusable input or no card, 130 interrupted, by Ctrl-C or SIGTERM; the page is written "
        "then too.",
    )
    declare("soak", parser.add_argument)
    parser.set_defaults(handler=soak)


def soak(arguments: argparse.Namespace) -> int:
    """Soak, judge and print; returns the exit code.

    Raises:
        ConfigError: a value is outside its limits, or contradicts a soak that goes on.
        DeviceError: no card is there.
        RecordError: a soak that should go on cannot be read.
        ReportError: the reports cannot be written, or another fleet writes there.
        KeyboardInterrupt: it was interrupted; its files are written.
    """
    from w2v_core.fleet.soak_report import Asked, read_asked

    options = given("soak", arguments)
    given_raw, directory = raw_options("soak", arguments), options["resume"]
    raw = {name: value for name, value in given_raw.items() if name not in OWN}
    end: dict[str, Any] = {"passes": options["passes"], "hours": options["hours"]}
    asked = Asked(options={}, **end)
    if directory is not None:
        _refuse_others(raw)
        asked = read_asked(directory)
        if any(end.values()):
            asked = replace(asked, **end)
        raw = {**raw, **asked.options}
        kept = {**given_raw, **raw, "passes": asked.passes, "hours": asked.hours}
        _refuse_kinds(directory, kept)
        options = Given("soak", kept.__getitem__)
        options.check()
    else:
        asked = replace(asked, options=raw)
    asked.check()
    reports_dir = options["reports_dir"] if directory is None else directory.parent.parent
    with ExitStack() as stack:
        stack.enter_context(alone(reports_dir))
        return _soak(options, raw, asked, directory, stack, as_json=arguments.json)


def _soak(
    options: Given,
    raw: dict[str, Any],
    asked: Asked,
    directory: Path | None,
    stack: ExitStack,
    *,
    as_json: bool,
) -> int:
    from w2v_core.fleet.cards import find_cards
    from w2v_core.fleet.process import run_job, stoppable
    from w2v_core.fleet.soak import Soaked
    from w2v_core.fleet.soak_report import write_asked, write_soak
    from w2v_core.report.soak import render_soak_text

    sets = sets_of(options)
    stop = stack.enter_context(stoppable())
    cards = find_cards(options["device"], options["cards"])
    asked = _same_cards(asked, cards)
    is_new = directory is None
    directory = directory or reserve_run(options, f"{cards[0].device}-soak")
    once = partial(run_job, silence_s=options["timeout"], stop=stop)
    with gone_if_refused(directory) if is_new else nullcontext():
        fleet, _ = make_fleet(options, raw, cards, once, directory, sets=sets, stack=stack)
    write_asked(directory, asked)
    fleet.report(f"stop it with kill {os.getpid()} (SIGTERM){_ctrl_c()}; --resume goes on")
    run = Soaked.of(fleet, asked.soak, stop=stop, problems=asked.problems)
    found, result = write_soak(directory, asked, run)
    sys.stdout.write(f"{json.dumps(found) if as_json else render_soak_text(found, result)}\n")
    sys.stderr.write(f"reports: {printable(str(directory))}\n")
    if run.interrupted:
        raise KeyboardInterrupt(f"w2v soak --resume {shlex.quote(str(directory))} goes on")
    return 0 if result.verdict == "PASS" else 1


def _refuse_others(raw: dict[str, Any]) -> None:
    """A soak goes on with its own cells, cards and files."""
    for option in options_of("soak").values():
        flag = option.on["soak"]
        if flag.dest in raw and raw[flag.dest] != option.default_on("soak"):
            text = f"{flag.shown} with {{flag:resume}}: a soak goes on with its own; leave it out"
            raise ConfigError(text, field=option.name, value=raw[flag.dest])


def _refuse_kinds(directory: Path, kept: Mapping[str, Any]) -> None:
    """Refuse what argparse cannot have read, in a file that was edited."""
    for option in options_of("soak").values():
        flag, default = option.on["soak"], option.default_on("soak")
        value = kept[flag.dest]
        kind = bool if option.is_switch(flag) else str if option.type is None else (int, float)
        if not isinstance(value, kind) and not (value is default is None):
            told = f"{directory / SOAK}: {flag.dest} is {value!r}, which no {flag.shown} can be"
            raise RecordError(f"{told}; start another soak")


def _same_cards(asked: Asked, cards: tuple[Card, ...]) -> Asked:
    names = tuple(map(str, cards))
    if asked.cards and asked.cards != names:
        raise ConfigError(
            f"here are {', '.join(names)}; the soak that is to go on ran on "
            f"{', '.join(asked.cards)}: start another one"
        )
    return replace(asked, cards=names)


def _ctrl_c() -> str:
    """Name Ctrl-C where it is heard: a shell's background processes ignore it (POSIX, 2.11)."""
    return "" if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else " or Ctrl-C"
