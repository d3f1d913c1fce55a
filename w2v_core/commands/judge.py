"""``w2v gate | compare | pair | calibrate``: files in, verdicts out.

None of them imports torch.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v_core.commands import HELP
from w2v_core.commands.options import given
from w2v_core.options.option import Given, declare, options_of
from w2v_core.verdict.outcome import UNUSABLE

if TYPE_CHECKING:
    from w2v_core.verdict.calibrate import Calibration
    from w2v_core.verdict.outcome import GateResult
    from w2v_core.verdict.relative_outcome import Comparison, Matrix

EXIT_CODES = "Exit codes: 0 pass, 1 regression, 2 inconclusive, 3 unusable input."
SOURCES = ("simulate", "history", "command")
INCONCLUSIVE_CODE = 2
JUDGED = f"{EXIT_CODES} Line 1, and by_kind of --json, tell speed from WER."


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands that judge."""
    _add_gate(commands)
    _add_compare(commands)
    _add_pair(commands)
    _add_calibrate(commands)


def _add_gate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("gate", help=HELP["gate"], epilog=JUDGED)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories or benchmark JSON")
    declare("gate", parser.add_argument)
    parser.set_defaults(handler=_gate, usage_error=UNUSABLE)


def _gate(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.commands import gate_runs
    from w2v_core.verdict.judge import MAX_AGE

    options = given("gate", arguments)
    inconclusive: int = {"skip": INCONCLUSIVE_CODE, "fail": 1}[options["inconclusive"]]
    result = gate_runs(
        arguments.runs,
        options["baseline"],
        most_runs=options["confirm"],
        report=_report,
        history=options["history"],
        max_age=None if options["any_age"] else MAX_AGE,
        once=not options["any_age"],
    )
    _print_gate(result, as_json=options["json"])
    code = result.exit_code
    return inconclusive if code == INCONCLUSIVE_CODE else code


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "compare",
        help=HELP["compare"],
        epilog=EXIT_CODES,
        description="Compare two releases, or several with the first one.",
    )
    parser.add_argument(
        "sides", nargs="+", help="run directory, directory of runs, JSON file, or release:NAME"
    )
    declare("compare", parser.add_argument)
    parser.set_defaults(handler=_compare, usage_error=UNUSABLE)


def _compare(arguments: argparse.Namespace) -> int:
    from w2v_core.report import comparison as text
    from w2v_core.verdict.commands import compare_sides

    options = given("compare", arguments)
    found = compare_sides(arguments.sides, history=options["history"])
    render: dict[str, Callable[[Comparison | Matrix], str]] = {
        "text": text.render_text,
        "markdown": text.render_markdown,
        "csv": text.render_csv,
        "json": lambda found: json.dumps(text.to_json(found)),
    }
    sys.stdout.write(render[options["format"]](found).rstrip("\n") + "\n")
    return found.exit_code


def _add_pair(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "pair",
        help=HELP["pair"],
        epilog=JUDGED,
        description="Run A B B A ... and judge B. A screen that does not pass is confirmed on as "
        "many fresh pairs; only what both show fails. A command writes its run to {out}: "
        "'w2v run --model canary-base --dataset canary-speech --reports-dir {out}'. With {rounds} "
        "in both, or with --minutes, a pilot finds how many processes and "
        "rounds tell most in that time, and says so before it starts.",
    )
    declare("pair", parser.add_argument)
    parser.set_defaults(handler=_pair, usage_error=UNUSABLE)


def _pair(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.pair import run_pairs

    options = given("pair", arguments)
    directory = options["directory"] or Path(tempfile.mkdtemp(prefix="w2v-pair-"))
    with _told_where(directory):
        paired = run_pairs(
            options["a"],
            options["b"],
            pairs=options["pairs"],
            minutes=options["minutes"],
            directory=directory,
            timeout_s=options["timeout"],
            report=_report,
        )
    _report(f"{len(paired.screen)} + {len(paired.confirm)} pairs are kept in {directory}")
    _print_gate(paired.result, as_json=options["json"])
    return paired.result.exit_code


def _add_calibrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "calibrate",
        help=HELP["calibrate"],
        epilog="Exit codes: 0 measured, 3 unusable input.",
        description="Put nights of pairs, null ones and ones in which a cell lost 3 percent, "
        "through the gate's own code.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    declare("calibrate", source.add_argument, *SOURCES)
    rest = [name for name in options_of("calibrate") if name not in SOURCES]
    declare("calibrate", parser.add_argument, *rest)
    parser.set_defaults(handler=_calibrate, usage_error=UNUSABLE)


def _calibrate(arguments: argparse.Namespace) -> int:
    options = given("calibrate", arguments)
    values = _calibration(options).to_json()
    if options["json"]:
        sys.stdout.write(json.dumps(values) + "\n")
        return 0
    width = max(len(name) for name in values)
    sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in values.items())
    return 0


def _calibration(options: Given) -> Calibration:
    from w2v_core.verdict.calibrate import simulate_nights
    from w2v_core.verdict.commands import calibrate_command, calibrate_history

    if options["command"] is not None:
        directory = options["directory"] or Path(tempfile.mkdtemp(prefix="w2v-calibrate-"))
        with _told_where(directory):
            return calibrate_command(
                options["command"],
                pairs=options["pairs"],
                directory=directory,
                nights=options["nights"],
                timeout_s=options["timeout"],
                report=_report,
            )
    if options["history"] is not None:
        return calibrate_history(
            options["history"],
            pairs=options["pairs"],
            nights=options["nights"],
            seed=options["seed"],
        )
    return simulate_nights(
        nights=options["nights"],
        cells=options["cells"],
        pairs=options["pairs"],
        pair_sd=options["pair_sd"],
        noise=options["noise"],
        seed=options["seed"],
    )


@contextmanager
def _told_where(directory: Path) -> Iterator[None]:
    """Let an interrupt say where the runs are."""
    try:
        yield
    except KeyboardInterrupt:
        left = f"nothing was judged; the runs so far are in {directory}"
        raise KeyboardInterrupt(left) from None


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _print_gate(result: GateResult, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result.to_json()) + "\n")
        return
    sys.stdout.write(f"{result.summary()}\n")
    rows: list[dict[str, Any]] = result.rows()
    if rows:
        from w2v_core.report.tables import text_table

        shown = [{k: _shown(v) for k, v in row.items() if k != "reasons"} for row in rows]
        sys.stdout.write(f"{text_table(shown)}\n")
    sys.stdout.writelines(f"- {reason}\n" for reason in result.reasons)
    sys.stdout.writelines(f"- waived: {reason}\n" for reason in result.waived)
    sys.stdout.writelines(
        f"- changed since the baseline: {c.field} {c.a} -> {c.b}\n" for c in result.changes
    )


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
