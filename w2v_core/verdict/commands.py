"""What the commands do with files; each returns data that knows its exit code."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from w2v_core.errors import ConfigError, RecordError
from w2v_core.jsonfile import exists, is_directory, name_of
from w2v_core.printable import shorten, shown
from w2v_core.records.history import History
from w2v_core.records.store import (
    CONFIRM,
    RUN,
    Session,
    StoredRun,
    locked,
    read_run,
)
from w2v_core.verdict.approve import approve, unlike
from w2v_core.verdict.baseline import Baseline, baseline_file, load_baseline, save_baseline
from w2v_core.verdict.calibrate import Calibration
from w2v_core.verdict.calibrate_recorded import (
    calibrate_from_baseline,
    calibrate_from_nights,
    calibrate_from_pairs,
)
from w2v_core.verdict.confirm import confirm_runs
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.judge import MAX_AGE, refused
from w2v_core.verdict.outcome import Finding, GateResult
from w2v_core.verdict.pair import Report, run_stage
from w2v_core.verdict.paired import judge_pairs
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
    result = judged(
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
    ).result
    if once:
        marked = [mark_judged(p, run, result, now=now) for p, run in zip(runs, read, strict=True)]
        unmarked = [Finding(kind="integrity", verdict="PASS", reason=p) for p in marked if p]
        result = replace(result, findings=(*result.findings, *unmarked))
    return result


def approve_runs(
    runs: Sequence[Path],
    baseline: Path,
    *,
    reason: str = "",
    approved_by: str = "",
    now: datetime | None = None,
) -> tuple[Baseline, Path]:
    """Approve runs as the baseline and write it; returns it with its file.

    Args:
        runs: Run directories or files, at least five.
        baseline: The file; or the directory of baselines, where the fingerprint names the file.
        reason: Why; may be empty only where nothing gets worse.
        approved_by: Who.
        now: Time of the approval; the clock's where it is left out.

    Raises:
        ConfigError: the runs do not qualify (see approve()).
        RecordError: a run, or the baseline in force, cannot be read.
        ReportError: the baseline cannot be written.
    """
    read = [read_run(path) for path in runs]
    if not read:
        raise ConfigError("no runs to approve; give at least five run directories")
    target = baseline
    if baseline.suffix != ".json":
        target = baseline_file(baseline, read[0].records[0].environment)
    with locked(target):  # of several who approve at once, each continues the one before
        previous = load_baseline(target) if exists(target) else None
        approved = approve(read, reason=reason, approved_by=approved_by, previous=previous, now=now)
        save_baseline(approved, target)
    return approved, target


def approver(name: str | None = None) -> str:
    """Return who approves: the name given, the user's, or the uid where none belongs to it.

    Containers run with uids that no file of theirs names.
    """
    try:
        return name or getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13
        return f"uid {os.getuid()}"


def told_approval(approved: Baseline, path: Path) -> str:
    """Say what was approved, what it made worse, and what nights can find against it."""
    last, rates = approved.approvals[-1], calibrate_from_baseline(approved)
    noise = (
        f"runs vary by {min(rates.pair_sd) * 100:.2g} % (quietest cell) to "
        f"{max(rates.pair_sd) * 100:.2g} % (loudest): a night with up to {rates.pairs - 1} fresh "
        f"runs shows a slowdown of 3 % in one cell in {rates.power_at_3_percent:.0%}, and that no "
        f"cell lost as much in {rates.null_pass_rate:.0%} (normal noise, {rates.nights} nights "
        f"simulated); it asks for {rates.further_runs:.1f} fresh runs on average"
    )
    head = f"{len(approved.cells)} cells of {len(last.run_ids)} runs approved: {path}"
    worse = [f"accepted as worse: {change}" for change in last.worse]
    return "\n".join([head, *worse, f"reason: {last.reason}", noise])


def rebase(directory: Path, *, baseline: Path, reason: str) -> str:
    """Approve a run, with the others like it of its release, as the baseline.

    Earlier runs that measured something else, or that are not valid, are left out.

    Returns:
        What was approved, and how far it carries.

    Raises:
        ConfigError: the runs do not qualify; the rules are those of ``w2v baseline approve``.
        RecordError: the run cannot be read.
    """
    runs, left_out = _runs_like(directory)
    tail = f"\n{len(left_out)} other runs left out, first {left_out[0]}" if left_out else ""
    try:
        approved, path = approve_runs(runs, baseline, reason=reason, approved_by=approver())
    except ConfigError as error:
        raise ConfigError(f"{error.args[0]}{tail}") from error
    return f"{told_approval(approved, path)}{tail}"


def _runs_like(directory: Path) -> tuple[list[Path], list[str]]:
    """Find the runs beside a run that may be approved with it; say why the others may not."""
    ours = read_run(directory)
    runs, left_out = [directory], []
    for path in sorted(p.parent for p in directory.parent.glob("*/run.json")):
        if path == directory:
            continue
        try:
            problems = unlike(read_run(path), ours)
        except RecordError as error:
            problems = [str(error)]
        if problems:
            left_out.append(f"{path.name}: {problems[0]}")
        else:
            runs.append(path)
    return runs, left_out


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
