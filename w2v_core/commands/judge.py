"""``w2v gate | baseline approve | compare | pair | calibrate``: files in, verdicts out.

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
from w2v_core.verdict.outcome import UNUSABLE

if TYPE_CHECKING:
    from w2v_core.verdict.calibrate import Calibration
    from w2v_core.verdict.outcome import GateResult
    from w2v_core.verdict.relative_outcome import Comparison, Matrix

__all__ = ["add_parser"]

EXIT_CODES = "Exit codes: 0 pass, 1 regression, 2 inconclusive, 3 unusable input."
JUDGED = f"{EXIT_CODES} Line 1, and by_kind of --json, tell speed from WER."


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands that judge."""
    _add_gate(commands)
    _add_baseline(commands)
    _add_compare(commands)
    _add_pair(commands)
    _add_calibrate(commands)


def _add_gate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("gate", help=HELP["gate"], epilog=JUDGED)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories or benchmark JSON")
    parser.add_argument("--baseline", type=Path, required=True, help="file, or directory of them")
    parser.add_argument("--history", type=Path, default=None, help="also judge drift over it")
    parser.add_argument("--any-age", action="store_true", help="judge runs older than 36 hours")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(handler=_gate, usage_error=UNUSABLE)


def _gate(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.commands import gate_runs
    from w2v_core.verdict.judge import MAX_AGE

    result = gate_runs(
        arguments.runs,
        arguments.baseline,
        history=arguments.history,
        max_age=None if arguments.any_age else MAX_AGE,
    )
    _print_gate(result, as_json=arguments.json)
    return result.exit_code


def _add_baseline(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    baseline = commands.add_parser("baseline", help=HELP["baseline"])
    actions = baseline.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = actions.add_parser(
        "approve",
        help="make five or more runs the baseline",
        epilog="Exit codes: 0 approved, 3 the runs do not qualify.",
        description="Complete, valid, non-simulated runs of the same cells on one kind of machine.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories or benchmark JSON")
    parser.add_argument(
        "--baseline",
        type=Path,
        default=Path("reports/baselines"),
        help="file, or directory where the fingerprint names the file (default reports/baselines)",
    )
    parser.add_argument("--reason", default="", help="why; needed where a cell gets worse")
    parser.add_argument("--by", default=None, help="who approves (default: the user's name)")
    parser.set_defaults(handler=_approve, usage_error=UNUSABLE)


def _approve(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.commands import approve_runs, approver, told_approval

    approved, path = approve_runs(
        arguments.runs,
        arguments.baseline,
        reason=arguments.reason,
        approved_by=approver(arguments.by),
    )
    sys.stdout.write(f"{told_approval(approved, path)}\n")
    return 0


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
    parser.add_argument(
        "--history", type=Path, default=None, help="where release:NAME is looked up"
    )
    parser.add_argument("--format", choices=("text", "markdown", "csv", "json"), default="text")
    parser.set_defaults(handler=_compare, usage_error=UNUSABLE)


def _compare(arguments: argparse.Namespace) -> int:
    from w2v_core.report import comparison as text
    from w2v_core.verdict.commands import compare_sides

    found = compare_sides(arguments.sides, history=arguments.history)
    render: dict[str, Callable[[Comparison | Matrix], str]] = {
        "text": text.render_text,
        "markdown": text.render_markdown,
        "csv": text.render_csv,
        "json": lambda found: json.dumps(text.to_json(found)),
    }
    sys.stdout.write(render[arguments.format](found).rstrip("\n") + "\n")
    return found.exit_code


def _add_pair(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "pair",
        help=HELP["pair"],
        epilog=JUDGED,
        description="Run A B B A ... and judge B. A screen that does not pass is confirmed on as "
        "many fresh pairs; only what both show fails. A command writes its run to {out}: "
        "'w2v run --model canary-base --dataset canary-speech --reports-dir {out}'.",
    )
    parser.add_argument("--a", required=True, help="command of the reference")
    parser.add_argument("--b", required=True, help="command that is judged")
    parser.add_argument("--pairs", type=int, default=5, help="pairs a stage (default 5)")
    parser.add_argument("--directory", type=Path, default=None, help="keep the runs there")
    parser.add_argument("--timeout", type=float, default=None, help="seconds for one run")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(handler=_pair, usage_error=UNUSABLE)


def _pair(arguments: argparse.Namespace) -> int:
    from w2v_core.verdict.pair import run_pairs

    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="w2v-pair-"))
    with _told_where(directory):
        paired = run_pairs(
            arguments.a,
            arguments.b,
            pairs=arguments.pairs,
            directory=directory,
            timeout_s=arguments.timeout,
            report=_report,
        )
    _report(f"{len(paired.screen)} + {len(paired.confirm)} pairs are kept in {directory}")
    _print_gate(paired.result, as_json=arguments.json)
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
    source.add_argument("--simulate", action="store_true", help="noise of --noise and --pair-sd")
    source.add_argument(
        "--history", type=Path, default=None, help="noise of the runs in this history"
    )
    source.add_argument(
        "--command",
        dest="line",
        default=None,
        help="noise of this command on this machine: --pairs pairs with itself; {out} as in pair",
    )
    parser.add_argument("--directory", type=Path, default=None, help="keep the runs there")
    parser.add_argument("--nights", type=int, default=1000, help="to simulate (default 1000)")
    parser.add_argument("--cells", type=int, default=24, help="of --simulate (default 24)")
    parser.add_argument("--pairs", type=int, default=5, help="a stage (default 5)")
    parser.add_argument(
        "--pair-sd", type=float, default=0.007, help="of a pair's log ratio (default 0.007)"
    )
    parser.add_argument("--noise", choices=("normal", "t3", "ar1"), default="normal")
    parser.add_argument("--timeout", type=float, default=None, help="seconds for one run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(handler=_calibrate, usage_error=UNUSABLE)


def _calibrate(arguments: argparse.Namespace) -> int:
    values = _calibration(arguments).to_json()
    if arguments.json:
        sys.stdout.write(json.dumps(values) + "\n")
        return 0
    width = max(len(name) for name in values)
    sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in values.items())
    return 0


def _calibration(arguments: argparse.Namespace) -> Calibration:
    from w2v_core.verdict.calibrate import simulate_nights
    from w2v_core.verdict.commands import calibrate_command, calibrate_history

    if arguments.line is not None:
        directory = arguments.directory or Path(tempfile.mkdtemp(prefix="w2v-calibrate-"))
        with _told_where(directory):
            return calibrate_command(
                arguments.line,
                pairs=arguments.pairs,
                directory=directory,
                nights=arguments.nights,
                timeout_s=arguments.timeout,
                report=_report,
            )
    if arguments.history is not None:
        return calibrate_history(
            arguments.history, pairs=arguments.pairs, nights=arguments.nights, seed=arguments.seed
        )
    return simulate_nights(
        nights=arguments.nights,
        cells=arguments.cells,
        pairs=arguments.pairs,
        pair_sd=arguments.pair_sd,
        noise=arguments.noise,
        seed=arguments.seed,
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
        from tabulate import tabulate

        shown = [{k: v for k, v in row.items() if k != "reasons"} for row in rows]
        table = tabulate(shown, headers="keys", tablefmt="simple", floatfmt=".4g")
        sys.stdout.write(f"{table}\n")
    sys.stdout.writelines(f"- {reason}\n" for reason in result.reasons)
