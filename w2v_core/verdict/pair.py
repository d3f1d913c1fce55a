"""``w2v pair``: two installations on one card, run after each other as A B, B A, A B, ..."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from w2v_core.config import MIN_PAIRS, parse_count
from w2v_core.errors import ConfigError, RecordError
from w2v_core.records.record import CellRecord
from w2v_core.records.store import CONFIRM, read_run
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.effort import PILOT_PAIRS, PILOT_ROUNDS, Plan, allocate, learn
from w2v_core.verdict.outcome import GateResult
from w2v_core.verdict.paired import Pair, judge_pairs
from w2v_core.verdict.process import LOG, Report, run_logged

OUT = "{out}"
"""Stands in a command for the directory that its run is to be written to."""
ROUNDS = "{rounds}"
"""Stands in a command for the timed rounds that its run is to make."""
DEFAULT_PAIRS = 5
DEFAULT_MINUTES = 10.0

_WARM_UP = "warm-up"
_SHOWN = 2000  # characters of a failed command's output


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRun:
    """What was run, and how it was judged."""

    screen: tuple[Pair, ...] = field(repr=False)
    confirm: tuple[Pair, ...] = field(repr=False)
    """Empty where the screen passed."""
    result: GateResult


def run_pairs(
    command_a: str | Sequence[str],
    command_b: str | Sequence[str],
    *,
    directory: Path,
    pairs: int | None = None,
    minutes: float | None = None,
    policy: Policy | None = None,
    timeout_s: float | None = None,
    report: Report = lambda _: None,
) -> PairedRun:
    """Run two commands interleaved and judge b against a; blocks for 2 or 4 ``pairs + 1`` runs.

    With ``minutes``, a pilot of three pairs, not judged, says what these allow (effort.py). The
    first pair of a stage warms caches, clocks and recipes up: it is kept and not judged, as one
    cold run in five takes the power of all. The order within a pair alternates, so that a steady
    drift of the machine falls on both alike. A screen that does not pass gets fresh pairs.

    Args:
        command_a: The reference installation, words or a line. ``{out}`` becomes the run's
            directory, which a container has to mount; ``{rounds}`` the rounds of a plan.
        command_b: The one that is judged.
        pairs: Per stage; 5 where neither it, ``minutes`` nor ``{rounds}`` says otherwise.
        minutes: For both stages, instead; 10 for commands with ``{rounds}``.
        directory: Where the runs are kept: ``screen-warm-up-a``, ``screen-0-b``, ...
        policy: Margins and error rates.
        timeout_s: Of one run; None waits for ever.
        report: Told which run starts.

    Raises:
        ConfigError: a command without ``{out}``, fewer than two pairs, or too few minutes for them.
        RecordError: a command failed, ran too long, or left no run that can be read.
    """
    commands = (_words(command_a, "a"), _words(command_b, "b"))
    run = partial(_stage, directory=directory, timeout_s=timeout_s, report=report)
    plan = _plan(run, commands, pairs, minutes, policy=policy or Policy())
    if plan is not None:
        report(plan.told())
    stage = partial(
        run,
        commands,
        pairs=plan.pairs if plan is not None else pairs or DEFAULT_PAIRS,
        rounds=plan.rounds if plan is not None else None,
    )
    screen = stage(name="screen")
    result = judge_pairs(screen, policy=policy)
    confirm = stage(name="confirm") if _worth_confirming(result) else ()
    if confirm:
        result = judge_pairs(screen, confirm, policy=policy)
    return PairedRun(screen=screen, confirm=confirm, result=result)


def _stage(
    commands: tuple[list[str], list[str]],
    *,
    name: str,
    pairs: int,
    rounds: int | None,
    directory: Path,
    timeout_s: float | None,
    report: Report,
) -> tuple[Pair, ...]:
    a, b = ([w.replace(ROUNDS, str(rounds or 1)) for w in words] for words in commands)
    prefix = directory / name
    return run_stage(a, b, pairs=pairs, prefix=prefix, timeout_s=timeout_s, report=report)


def _plan(
    run: Callable[..., tuple[Pair, ...]],
    commands: tuple[list[str], list[str]],
    pairs: int | None,
    minutes: float | None,
    *,
    policy: Policy,
) -> Plan | None:
    """Make the pilot, and the plan that follows from it; None where the pairs are given."""
    takes_rounds = [any(ROUNDS in word for word in words) for words in commands]
    if minutes is None and (pairs is not None or not any(takes_rounds)):
        return None
    if len(set(takes_rounds)) > 1 or pairs is not None:
        raise ConfigError(
            "give {flag:pairs} or {flag:minutes}, and {rounds} in both commands or in neither"
        )
    started = time.perf_counter()
    made = run(commands, name="pilot", pairs=PILOT_PAIRS, rounds=PILOT_ROUNDS)
    wall_s = time.perf_counter() - started
    pilot = learn(made, wall_s=wall_s, runs=2 * (PILOT_PAIRS + 1))
    own = None if takes_rounds[0] else len(made[0].a[0].rounds_s)
    return allocate(pilot, minutes=minutes or DEFAULT_MINUTES, policy=policy, rounds=own)


def run_stage(
    command_a: str | Sequence[str],
    command_b: str | Sequence[str],
    *,
    pairs: int,
    prefix: Path,
    timeout_s: float | None = None,
    report: Report = lambda _: None,
) -> tuple[Pair, ...]:
    """Run a warm-up and pairs, kept in ``PREFIX-0-a``, ``PREFIX-0-b``, ...; blocks.

    Returns the pairs without the warm-up, unjudged. Arguments and errors are those of run_pairs().
    """
    parse_count("pairs", pairs, least=MIN_PAIRS)
    commands = (_words(command_a, "a"), _words(command_b, "b"))
    names = [_WARM_UP, *range(pairs)]
    made = [
        _run_pair(
            commands,
            prefix.with_name(f"{prefix.name}-{name}"),
            first=(index + 1) % 2,
            timeout_s=timeout_s,
            report=report,
        )
        for index, name in enumerate(names)
    ]
    return tuple(made[1:])


def _worth_confirming(result: GateResult) -> bool:
    """Whether fresh pairs can change a verdict: some throughput is open, and nothing is broken."""
    open_speeds = any(
        f.kind == "throughput" and f.verdict != "PASS" for c in result.cells for f in c.findings
    )
    return open_speeds and not result.unusable


def _run_pair(
    commands: tuple[list[str], list[str]],
    prefix: Path,
    *,
    first: int,
    timeout_s: float | None,
    report: Report,
) -> Pair:
    sides: dict[int, tuple[CellRecord, ...]] = {}
    for side in (first, 1 - first):
        out = prefix.with_name(f"{prefix.name}-{'ab'[side]}")
        report(f"{out.name}: {shlex.join(commands[side])}")
        sides[side] = _run(commands[side], out, timeout_s=timeout_s)
    return Pair(a=sides[0], b=sides[1])


def _run(command: Sequence[str], out: Path, *, timeout_s: float | None) -> tuple[CellRecord, ...]:
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; give a directory of this comparison's own")
    out.mkdir(parents=True, exist_ok=True)
    words = [word.replace(OUT, str(out)) for word in command]
    status, printed = run_logged(words, out, timeout_s=timeout_s)
    if status != 0:
        raise RecordError(
            f"{shlex.join(words)} ended with exit status {status}; both sides have to be green to "
            f"be compared. Its last output, all of which is in {out / LOG}:\n{printed[-_SHOWN:]}"
        )
    return read_run(_find_run(out)).records


def _find_run(out: Path) -> Path:
    """Find the one ``run.json`` below a directory, or the one JSON file where there is none."""
    found = sorted(
        p for p in out.rglob("run.json") if CONFIRM not in p.relative_to(out).parts
    ) or sorted(out.rglob("*.json"))
    if len(found) != 1:
        raise RecordError(
            f"{out} holds {len(found)} runs instead of one; does the command write to {OUT}?"
        )
    return found[0]


def _words(command: str | Sequence[str], option: str) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise ConfigError(
            f"{{flag:{option}}} {command!r} cannot be split into words: {error}"
        ) from error
    if not any(OUT in word for word in words):
        raise ConfigError(
            f"{{flag:{option}}} {shlex.join(words)!r} does not say where its run goes; for "
            f"example 'w2v run --reports-dir {OUT}'"
        )
    return words
