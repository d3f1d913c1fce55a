"""What the commands do with files; each returns data that knows its exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core._moved import names_of
from w2v_core.errors import ConfigError, RecordError
from w2v_core.jsonfile import exists, is_directory, name_of
from w2v_core.printable import shorten, shown
from w2v_core.records.history import History
from w2v_core.records.store import (
    CONFIRM,
    RUN,
    Session,
    StoredRun,
    read_run,
)
from w2v_core.verdict.calibrate import Calibration
from w2v_core.verdict.calibrate_recorded import (
    calibrate_from_nights,
    calibrate_from_pairs,
)
from w2v_core.verdict.confirm import confirm_runs
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.judge import MAX_AGE, refused
from w2v_core.verdict.outcome import Finding, GateResult
from w2v_core.verdict.pair import run_stage
from w2v_core.verdict.paired import judge_pairs
from w2v_core.verdict.process import Report
from w2v_core.verdict.relative import compare, compare_many
from w2v_core.verdict.relative_outcome import Comparison, Matrix
from w2v_core.verdict.run import judged
from w2v_core.verdict.selection import judged_before, left_out, mark_judged

RELEASE = "release:"
"""Starts the name of a release in the history."""


def gate_runs(
    runs: Sequence[Path],
    baseline: Path,
    *,
    history: Path | None = None,
    policy: Policy | None = None,
    now: datetime | None = None,
    max_age: timedelta | None = MAX_AGE,
    once: bool = False,
    most_runs: int = 0,
    report: Report = lambda _: None,
) -> GateResult:
    """Judge run directories or files against a baseline file, or a directory of baselines.

    Never raises for bad input: what cannot be read is a FAIL with exit code 3 and its reason.
    ``once`` remembers beside each run that it was judged, and is red where it had been. With
    ``most_runs``, cells without a verdict are measured again by the first run's own command, below
    its directory, in up to so many processes (see confirm.py).
    """
    now = now if now is not None else datetime.now(timezone.utc)
    try:
        read = [read_run(path) for path in runs]
        again = [f for p, run in zip(runs, read, strict=True) for f in judged_before(p, run)]
    except RecordError as error:
        return refused(str(error), policy=policy, unusable=True)
    records = [record for run in read for record in run.records]
    found = judged(
        records,
        session=_merged(read),
        baseline=baseline,
        history=history,
        policy=policy,
        now=now,
        max_age=max_age,
        beside=[*left_out(runs, read), *(again if once else ())],
        confirmed=lambda asked: confirm_runs(
            runs, records, asked, most_runs=most_runs, report=report
        ),
        most_runs=most_runs,
    )
    if history is not None and found.confirmations:
        with History(history) as opened:
            opened.append(found.confirmations)
    result = found.result
    if once:
        marked = [mark_judged(p, run, result, now=now) for p, run in zip(runs, read, strict=True)]
        unmarked = [Finding(kind="integrity", verdict="PASS", reason=p) for p in marked if p]
        result = replace(result, findings=(*result.findings, *unmarked))
    return result


def compare_sides(
    sides: Sequence[str], *, history: Path | None = None, policy: Policy | None = None
) -> Comparison | Matrix:
    """Compare two releases, or several with the first one; see read_side() for their names.

    Raises:
        ConfigError: fewer than two sides, or one named twice.
        RecordError: a side cannot be read; its exit code is 3.
    """
    if len(set(sides)) != len(sides) or len(sides) < 2:
        raise ConfigError(f"sides {', '.join(sides) or '(none)'}: give two or more different ones")
    runs = {side: read_side(side, history=history) for side in sides}
    records = {side: [r for run in found for r in run.records] for side, found in runs.items()}
    sessions = {side: _merged(found) for side, found in runs.items()}
    if len(sides) > 2:
        return compare_many(records, sessions=sessions, policy=policy)
    a, b = sides
    return compare(records[a], records[b], sessions=(sessions[a], sessions[b]), policy=policy)


def calibrate_command(
    command: str | Sequence[str],
    *,
    pairs: int,
    directory: Path,
    nights: int = 1000,
    policy: Policy | None = None,
    timeout_s: float | None = None,
    report: Report = lambda _: None,
) -> Calibration:
    """Measure the gate on this machine: pairs of one command with itself, then nights like them.

    Blocks for 2 times ``pairs`` runs of the command; slowdowns are planted into the measured pairs.

    Args:
        command: As in ``w2v pair``, with ``{out}`` for the run's directory.
        pairs: At least three.
        directory: Where the runs are kept.
        nights: Simulated from the measured pairs.
        policy: Margins and error rates.
        timeout_s: Of one run; None waits for ever.
        report: Told which run starts.

    Raises:
        ConfigError: too few pairs, or a command without ``{out}``.
        RecordError: the command failed or left no run; or its records cannot be judged.
    """
    measured = run_stage(
        command,
        command,
        pairs=pairs,
        prefix=directory / "calibrate",
        timeout_s=timeout_s,
        report=report,
    )
    broken = [f.reason for c in judge_pairs(measured).cells for f in c.findings if _is_broken(f)]
    if broken:
        raise RecordError(f"these runs cannot calibrate anything: {broken[0]}")
    return calibrate_from_pairs(measured, nights=nights, policy=policy)


def calibrate_history(history: Path, *, pairs: int, nights: int, seed: int) -> Calibration:
    """Simulate nights with the variance of the history's runs on the machine of the newest one.

    Raises:
        ConfigError: no cell has three runs.
        RecordError: there is no such history, or it cannot be read.
    """
    if not exists(history):
        raise RecordError(f"{name_of(history)}: no such history")
    with History.reading(history) as opened:
        newest = opened.query(last=1)["fingerprint"]
        runs = opened.nights(json.loads(newest.iloc[0])) if len(newest) else {}
    return calibrate_from_nights(runs, pairs=pairs, nights=nights, seed=seed)


def _is_broken(finding: Finding) -> bool:
    return finding.kind in ("integrity", "steady-state") and finding.verdict == "FAIL"


def _merged(runs: Sequence[StoredRun]) -> Session | None:
    sessions = [run.session for run in runs if run.session is not None]
    if not sessions:
        return None
    outcomes: dict[str, str] = {}
    for session in sessions:
        for cell, outcome in session.outcomes.items():
            if outcomes.get(cell, "passed") == "passed":
                outcomes[cell] = outcome
    return Session(
        xdist=any(s.xdist for s in sessions),
        outcomes=outcomes,
        errors={cell: why for s in sessions for cell, why in s.errors.items()},
        exit_status=max((s.exit_status or 0) for s in sessions),
    )


def read_side(text: str, *, history: Path | None = None) -> list[StoredRun]:
    """Read every run that a side's name stands for.

    Args:
        text: A run directory, a directory of run directories (``reports/<release>``), a
            ``run.json`` or benchmark JSON, or ``release:NAME`` for all its runs in the history.
        history: The history file, for ``release:``.

    Raises:
        RecordError: nothing there, or something there that cannot be read.
    """
    if text.startswith(RELEASE):
        return _from_history(text.removeprefix(RELEASE), history)
    path = Path(text)
    if not exists(path):
        raise RecordError(
            f"{name_of(path)}: no such run; give a run directory, a JSON file or release:NAME"
        )
    if not is_directory(path) or exists(path / RUN):
        return [read_run(path)]
    runs = sorted(p.parent for p in path.glob(f"**/{RUN}") if CONFIRM not in p.parts)
    if not runs:
        raise RecordError(f"{name_of(path)} holds no {RUN}; give a run directory, or one of runs")
    return [read_run(run) for run in runs]


def _from_history(release: str, history: Path | None) -> list[StoredRun]:
    if history is None or not exists(history):
        where = "none was given" if history is None else f"{name_of(history)} does not exist"
        raise RecordError(f"release {shown(release)} needs a history; {where}")
    with History.reading(history) as opened:
        records = opened.records(release=release)
        if not records:
            known = ", ".join(sorted(set(opened.query()["release"]))) or "none"
            raise RecordError(
                f"the history holds no release {shown(release)}; it knows {shorten(known, 400)}"
            )
    return [StoredRun(source=f"{RELEASE}{release}", records=tuple(records))]


if not TYPE_CHECKING:
    __getattr__ = names_of("verdict.commands", ["verdict.approving"])
