"""``w2v pair``: two installations on one card, run after each other as A B, B A, A B, ..."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from w2v_core.config import parse_count
from w2v_core.errors import ConfigError, RecordError
from w2v_core.records.record import CellRecord
from w2v_core.records.store import CONFIRM, read_run
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.outcome import GateResult
from w2v_core.verdict.paired import MIN_PAIRS, Pair, judge_pairs

OUT = "{out}"
"""Stands in a command for the directory that its run is to be written to."""

Report = Callable[[str], None]

LOG = "output.log"  # what the command printed, in the directory of its run
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
    pairs: int,
    directory: Path,
    policy: Policy | None = None,
    timeout_s: float | None = None,
    report: Report = lambda _: None,
) -> PairedRun:
    """Run two commands interleaved and judge b against a; blocks for 2 or 4 ``pairs + 1`` runs.

    Every run is a fresh process. The first pair of a stage warms caches, clocks and recipes up: it
    is kept and not judged, as one cold run in five takes the power of all. The order within a pair
    alternates, so that a steady drift of the machine falls on both sides alike. A screen that does
    not pass gets fresh pairs to confirm it.

    Args:
        command_a: The reference installation: words, or a line split as a shell would; ``{out}``
            becomes the run's directory, as in ``--reports-dir {out}``; a container has to mount it.
        command_b: The one that is judged.
        pairs: Per stage.
        directory: Where the runs are kept: ``screen-warm-up-a``, ``screen-warm-up-b``,
            ``screen-0-a``, ``screen-0-b``, ...
        policy: Margins and error rates.
        timeout_s: Of one run; None waits for ever.
        report: Told which run starts.

    Raises:
        ConfigError: a command without ``{out}``, or fewer than two pairs.
        RecordError: a command failed, ran too long, or left no run that can be read.
    """

    def stage(name: str) -> tuple[Pair, ...]:
        return run_stage(
            command_a,
            command_b,
            pairs=pairs,
            prefix=directory / name,
            timeout_s=timeout_s,
            report=report,
        )

    screen = stage("screen")
    result = judge_pairs(screen, policy=policy)
    confirm = stage("confirm") if _worth_confirming(result) else ()
    if confirm:
        result = judge_pairs(screen, confirm, policy=policy)
    return PairedRun(screen=screen, confirm=confirm, result=result)


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
    try:
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RecordError(f"{shlex.join(words)}: {error}") from error
    (out / LOG).write_bytes(done.stdout)
    if done.returncode != 0:
        tail = done.stdout.decode(errors="replace")[-_SHOWN:]
        raise RecordError(
            f"{shlex.join(words)} ended with exit status {done.returncode}; both sides have to be "
            f"green to be compared. Its last output, all of which is in {out / LOG}:\n{tail}"
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
