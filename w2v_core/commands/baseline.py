"""``w2v baseline approve | show | acknowledge``: what is usual, and who said so; no torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from w2v_core.commands import HELP
from w2v_core.commands.options import given
from w2v_core.options.option import declare
from w2v_core.printable import printable
from w2v_core.verdict.outcome import UNUSABLE

if TYPE_CHECKING:
    from w2v_core.verdict.baseline import Baseline

_EXIT = "Exit codes: 0 {}, 3 {}."


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``baseline`` and what it does."""
    baseline = commands.add_parser("baseline", help=HELP["baseline"])
    actions = baseline.add_subparsers(dest="action", required=True, metavar="ACTION")
    approve = actions.add_parser(
        "approve",
        help="make five or more runs the baseline",
        epilog=_EXIT.format("approved", "the runs do not qualify"),
        description="Complete, valid, non-simulated runs of the same cells on one kind of machine. "
        "Runs that are red, invalid, interrupted or far from the others are left out and named.",
    )
    approve.add_argument("runs", nargs="+", type=Path, help="run directories or benchmark JSON")
    declare("baseline", approve.add_argument, "baseline", "reason", "by")
    approve.set_defaults(handler=_approve, usage_error=UNUSABLE)
    show = actions.add_parser(
        "show",
        help="show a baseline, its approvals, and what it can find",
        epilog=_EXIT.format("shown", "there is none, or it cannot be read"),
    )
    declare("baseline", show.add_argument, "baseline", "json")
    show.set_defaults(handler=_show, usage_error=UNUSABLE)
    acknowledge = actions.add_parser(
        "acknowledge",
        help="answer for the drift alarms of the history's last night",
        epilog=_EXIT.format("acknowledged", "no alarm, no reason, or no such file"),
        description="From then on each series is held to what it had lost by now; what it loses "
        "beyond is an alarm again. The next approval ends it.",
    )
    declare("baseline", acknowledge.add_argument, "baseline", "history", "reason", "by")
    acknowledge.set_defaults(handler=_acknowledge, usage_error=UNUSABLE)


def _approve(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.approving import approve_runs, approver, told_approval

    options = given("baseline", arguments)
    approved, path = approve_runs(
        arguments.runs,
        options["baseline"],
        reason=options["reason"],
        approved_by=approver(options["by"]),
    )
    sys.stdout.write(f"{told_approval(approved, path)}\n")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.approving import baselines_below

    options = given("baseline", arguments)
    found = baselines_below(options["baseline"])
    if options["json"]:
        told = [{"file": str(file), **_values(known)} for file, known in found]
        sys.stdout.write(json.dumps(told) + "\n")
        return 0
    for file, known in found:
        sys.stdout.writelines(f"{printable(line)}\n" for line in _lines(file, known))
    return 0


def _acknowledge(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.approving import acknowledge, approver

    options = given("baseline", arguments)
    told, path = acknowledge(
        options["baseline"],
        options["history"] or Path("reports/history.sqlite"),
        reason=options["reason"],
        acknowledged_by=approver(options["by"]),
    )
    for name, loss in told.losses.items():
        held = f"acknowledged: {name}, held to {-loss * 100:+.2g} % of its anchor from now on"
        sys.stdout.write(f"{printable(held)}\n")
    sys.stdout.write(f"reason: {printable(told.reason)}; kept in {printable(str(path))}\n")
    return 0


def _values(known: Baseline) -> dict[str, object]:
    from w2v_core.verdict.calibrate_recorded import calibrate_from_baseline

    rows = {cell: [r.rtfx for r in runs] for cell, runs in known.cells.items()}
    return {
        "key": dict(known.key),
        "cells": rows,
        "approvals": [asdict(a) for a in known.approvals],
        "acknowledgements": [asdict(a) for a in known.acknowledgements],
        "calibration": calibrate_from_baseline(known).to_json(),
    }


def _lines(file: Path, known: Baseline) -> Iterator[str]:
    from w2v_core.report.tables import text_table
    from w2v_core.verdict.approving import told_power

    yield f"{file}: {', '.join(f'{n} {v}' for n, v in known.key.items() if v != 'unknown')}"
    rows = [
        {
            "cell": cell,
            "runs": str(len(runs)),
            "RTFx": f"{np.exp(np.mean(known.log_rtfx(cell))):.4g}",
            "a run varies by %": f"{np.std(known.log_rtfx(cell), ddof=1) * 100:.2g}",
            "WER %": "" if runs[-1].wer is None else f"{runs[-1].wer * 100:.2f}",
        }
        for cell, runs in known.cells.items()
    ]
    yield from text_table(rows).splitlines()
    yield told_power(known)
    for approval in known.approvals:
        who = f"approved by {approval.approved_by}, {len(approval.run_ids)} runs"
        yield f"{approval.approved_utc} {who}: {approval.reason}"
        yield from (f"  accepted as worse: {change}" for change in approval.worse)
        yield from (f"  {note}" for note in approval.notes)
    for told in known.acknowledgements:
        state = "" if told in known.acknowledged else " (ended by an approval)"
        losses = ", ".join(f"{name} {-loss * 100:+.2g} %" for name, loss in told.losses.items())
        yield (
            f"{told.acknowledged_utc} drift acknowledged by {told.acknowledged_by}{state}: "
            f"{losses}: {told.reason}"
        )
