"""``w2v doctor``: what this machine can do, and what would make its measurements unreliable."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from w2v_core.commands import HELP
from w2v_core.commands.health import Check, diagnose
from w2v_core.commands.machine import gather
from w2v_core.commands.options import given, prepare_device
from w2v_core.commands.parser import INPUT_ERROR
from w2v_core.options.option import declare
from w2v_core.printable import printable

WIDTH = 100  # columns


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``doctor`` and its flags."""
    parser = commands.add_parser(
        "doctor",
        help=HELP["doctor"],
        description="Say what is here, what is missing, and what would make measurements "
        "unreliable: ok is fine, note is worth knowing, doubt speaks against measuring here, "
        "missing was asked for and is not there. Opens the device; waits at most two seconds for "
        "the hub.",
        epilog="Exit codes: 0 looked at everything, whatever was found, 2 wrong usage, 3 the "
        "device that --device asks for is missing, 130 interrupted.",
    )
    declare("doctor", parser.add_argument)
    parser.set_defaults(handler=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print the checks; returns 3 where the device that was asked for is missing, else 0."""
    options = given("doctor", arguments)
    choice = options["device"]
    prepare_device(choice, execution=options["execution"])
    facts = gather(choice)
    checks = diagnose(facts)
    if options["json"]:
        text = json.dumps([asdict(check) for check in checks], indent=1)
    else:
        text = _render(checks)
    sys.stdout.write(f"{text}\n")
    return INPUT_ERROR if facts.device_error is not None else 0


def _render(checks: Sequence[Check]) -> str:
    names = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        remedy = f" -> {check.remedy}" if check.remedy else ""
        head = f"{check.state:<7}  {check.name:<{names}}  "
        lines += textwrap.wrap(
            f"{head}{printable(check.text)}{remedy}",
            width=WIDTH,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )
    doubts = [check.name for check in checks if check.state == "doubt"]
    missing = [check.name for check in checks if check.state == "missing"]
    verdict = f"unreliable here: {', '.join(doubts)}" if doubts else "nothing speaks against it"
    lines += ["", f"measuring: {verdict}"]
    lines += [f"missing: {', '.join(missing)}"] * bool(missing)
    return "\n".join(lines)
