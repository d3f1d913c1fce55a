"""Baselines as files: approving, rebasing, showing, and acknowledging a drift."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from w2v_core.errors import ConfigError, RecordError
from w2v_core.jsonfile import exists, is_directory, name_of
from w2v_core.records.history import History
from w2v_core.records.history_table import Night
from w2v_core.records.store import StoredRun, locked, read_run
from w2v_core.verdict.approve import approve, unlike
from w2v_core.verdict.baseline import (
    Acknowledgement,
    Baseline,
    baseline_file,
    load_baseline,
    save_baseline,
    utc_text,
)
from w2v_core.verdict.calibrate_recorded import calibrate_from_baseline
from w2v_core.verdict.drift import MACHINE, judge_drift, judge_machine_drift
from w2v_core.verdict.outcome import GateResult
from w2v_core.verdict.run import judged

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_ROUNDED = 0.1  # of a figure, or 0.05 points: how near the one of a reason has to be


def approve_runs(
    runs: Sequence[Path],
    baseline: Path,
    *,
    reason: str = "",
    approved_by: str = "",
    now: datetime | None = None,
    keep: Collection[Path] = (),
) -> tuple[Baseline, Path]:
    """Approve runs as the baseline and write it; returns it with its file.

    Runs that cannot be read, as of an interrupted night, are left out and named, like those that
    do not qualify (see approve()).

    Args:
        runs: Run directories or files, at least five that qualify.
        baseline: The file; or the directory of baselines, where the fingerprint names the file.
        reason: Why; may be empty only where nothing gets worse.
        approved_by: Who.
        now: Time of the approval; the clock's where it is left out.
        keep: Runs that are refused rather than left out.

    Raises:
        ConfigError: too few runs qualify, or the reason lacks a word (see approve()).
        RecordError: a run to be kept, or the baseline in force, cannot be read.
        ReportError: the baseline cannot be written.
    """
    read, unread = _read(runs, keep)
    if not read:
        told = f": {'; '.join(unread[:3])}" if unread else ""
        raise ConfigError(f"no runs to approve; give at least five run directories{told}")
    target = baseline
    if baseline.suffix != ".json":
        target = baseline_file(baseline, read[0].records[0].environment)
    with locked(target):  # of several who approve at once, each continues the one before
        previous = load_baseline(target) if exists(target) else None
        approved = approve(
            read,
            reason=reason,
            approved_by=approved_by,
            previous=previous,
            now=now,
            keep={name_of(path) for path in keep},
            unread=unread,
        )
        save_baseline(approved, target)
    return approved, target


def _read(runs: Sequence[Path], keep: Collection[Path]) -> tuple[list[StoredRun], list[str]]:
    """Read runs; returns them, and why the others could not be read."""
    found = [(path, _read_or_why(path)) for path in runs]
    lost = [(path, why) for path, why in found if isinstance(why, RecordError)]
    if kept := [why for path, why in lost if path in keep]:
        raise kept[0]
    return [run for _, run in found if isinstance(run, StoredRun)], [str(why) for _, why in lost]


def _read_or_why(path: Path) -> StoredRun | RecordError:
    try:
        return read_run(path)
    except RecordError as error:
        return error


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
    last = approved.approvals[-1]
    head = f"{len(approved.cells)} cells of {len(last.run_ids)} runs approved: {path}"
    worse = [f"accepted as worse: {change}" for change in last.worse]
    return "\n".join([head, *last.notes, *worse, f"reason: {last.reason}", told_power(approved)])


def told_power(baseline: Baseline) -> str:
    """Say what nights can find against a baseline, by normal noise as large as its runs'."""
    alone, rates = (calibrate_from_baseline(baseline, most_runs=n) for n in (0, None))
    return (
        f"-3 % found with {alone.power_at_3_percent:.0%} power, one run a night; with up to "
        f"{rates.pairs - 1} fresh runs {rates.power_at_3_percent:.0%}, and no cell lost as much in "
        f"{rates.null_pass_rate:.0%} ({rates.further_runs:.1f} fresh runs a night on average). "
        f"Normal noise, {rates.nights} nights simulated; runs vary by "
        f"{min(rates.pair_sd) * 100:.2g} % (quietest cell) to "
        f"{max(rates.pair_sd) * 100:.2g} % (loudest)"
    )


def rebase(directory: Path, *, baseline: Path, reason: str) -> str:
    """Approve a run, with the others like it of its release, as the baseline.

    Earlier runs that measured something else, or that are not valid, are left out. A run that the
    gate would fail needs a reason in which the loss is spelled out.

    Returns:
        What was approved, and how far it carries.

    Raises:
        ConfigError: the runs do not qualify, or the reason does not say what is lost; the rules are
            those of ``w2v baseline approve``.
        RecordError: the run cannot be read.
    """
    runs, left_out = _runs_like(directory)
    tail = f"\n{len(left_out)} other runs left out, first {left_out[0]}" if left_out else ""
    try:
        _refuse_unsaid(runs, baseline, reason)
        approved, path = approve_runs(
            runs, baseline, reason=reason, approved_by=approver(), keep=[directory]
        )
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


def _refuse_unsaid(runs: Sequence[Path], baseline: Path, reason: str) -> None:
    """Refuse what the gate would fail, the run alone or all, unless the reason says how much."""
    read = [read_run(path) for path in runs]
    target = baseline
    if baseline.suffix != ".json":
        target = baseline_file(baseline, read[0].records[0].environment)
    if not exists(target):
        return
    everything = [record for run in read for record in run.records]
    losses: dict[str, float] = {}
    for records in (read[0].records, everything):
        found = judged(records, baseline=target, max_age=None).result
        losses |= _losses(found)
    numbers = [float(n.replace(",", ".")) for n in _NUMBER.findall(reason)]
    unsaid = [
        told
        for told, loss in losses.items()
        if not any(abs(number - loss) <= max(_ROUNDED * loss, 0.05) for number in numbers)
    ]
    if unsaid:
        raise ConfigError(
            f"the gate fails this run: {'; '.join(unsaid)}. To make it the baseline all the same, "
            "spell the loss out, its figure in {flag:reason}"
        )


def _losses(result: GateResult) -> dict[str, float]:
    """Return the worst red loss of each kind in words, with its figure in percent or points."""
    found: dict[str, tuple[str, float]] = {}
    for cell in result.cells:  # worst first
        red = {f.kind for f in cell.findings if f.verdict == "FAIL"}
        if "throughput" in red and cell.throughput is not None:
            loss = (1 - cell.throughput.ratio) * 100
            if loss > found.get("throughput", ("", 0.0))[1]:
                found["throughput"] = (f"{cell.cell} is slower by {loss:.2g} %", loss)
        if red & {"wer", "wer-ceiling"} and cell.wer is not None:
            points = cell.wer.delta * 100
            if points > found.get("wer", ("", 0.0))[1]:
                found["wer"] = (f"{cell.cell} has a WER higher by {points:.2g} points", points)
    for finding in result.findings:
        if finding.kind == "machine" and finding.verdict == "FAIL":
            loss = float(_NUMBER.findall(finding.reason)[0])
            found["machine"] = (finding.reason, loss)
    return dict(found.values())


def baselines_below(path: Path) -> list[tuple[Path, Baseline]]:
    """Read a baseline file, or all of a directory.

    Raises:
        RecordError: there is none, or one cannot be read.
    """
    files = sorted(path.glob("*.json")) if is_directory(path) else [path]
    if not files:
        raise RecordError(f"{name_of(path)}: no baseline in it; w2v baseline approve makes one")
    return [(file, load_baseline(file)) for file in files]


def acknowledge(
    baseline: Path,
    history: Path,
    *,
    reason: str,
    acknowledged_by: str,
    now: datetime | None = None,
) -> tuple[Acknowledgement, Path]:
    """Answer for the drift alarms of the history's newest run; returns it with the baseline's file.

    From then on each series is held to what it had lost by now: what it loses beyond is an alarm
    again, and the gate judges speed as before. The next approval ends it.

    Args:
        baseline: The file, or the directory of baselines.
        history: Where the alarms are.
        reason: Why they are accepted.
        acknowledged_by: Who.
        now: The present; the clock's where it is left out.

    Raises:
        ConfigError: no reason, or no alarm.
        RecordError: the history or the baseline cannot be read.
        ReportError: the baseline cannot be written.
    """
    if not reason.strip():
        raise ConfigError("an alarm is acknowledged for a reason; give {flag:reason}")
    key, nights = _newest_nights(history)
    files = [f for f, held in baselines_below(baseline) if dict(held.key) == key]
    if not files:
        raise RecordError(f"{name_of(baseline)}: no baseline of the history's newest run")
    with locked(files[0]):
        known = load_baseline(files[0])
        losses = _alarmed(nights, known)
        if not losses:
            raise ConfigError(f"{name_of(history)}: no drift alarm on its last night")
        told = Acknowledgement(
            acknowledged_utc=utc_text(now),
            acknowledged_by=acknowledged_by,
            reason=reason.strip(),
            losses=losses,
            signature=known.signature,
        )
        held = (*known.acknowledgements, told)
        save_baseline(replace(known, acknowledgements=held), files[0])
    return told, files[0]


def _newest_nights(history: Path) -> tuple[dict[str, str], dict[str, list[Night]]]:
    """Return the key of a history's newest run, and the nights under it."""
    with History.reading(history) as opened:
        newest = opened.query(last=1)["fingerprint"]
        key = json.loads(newest.iloc[0]) if len(newest) else {}
        return key, opened.nights(key)


def _alarmed(nights: Mapping[str, Sequence[Night]], known: Baseline) -> dict[str, float]:
    """Return the losses against the anchor of what is in alarm, the machine among it."""
    machine = judge_machine_drift(nights, known)
    drifts = {**judge_drift(nights, known), **({MACHINE: machine} if machine else {})}
    return {
        name: 1 - (1 + drift.reached) * (1 - drift.loss)
        for name, drift in drifts.items()
        if drift.alarm_night is not None
    }
