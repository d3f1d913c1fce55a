"""A measured run and everything that is known around it: the one value that reports are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

from w2v_core.config import MOST_RUNS
from w2v_core.errors import RecordError
from w2v_core.jsonfile import exists, is_directory, name_of
from w2v_core.records.fingerprint import key
from w2v_core.records.history import History
from w2v_core.records.history_table import Night
from w2v_core.records.record import CellRecord
from w2v_core.records.store import VERDICT, Session, read_run, read_verdict
from w2v_core.verdict.baseline import Baseline, load_baseline
from w2v_core.verdict.calibrate import Calibration
from w2v_core.verdict.calibrate_recorded import calibrate_from_baseline
from w2v_core.verdict.confirm import Asked, Confirmed, not_confirmed
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.judge import MAX_AGE, judge, judge_alone, refused, wanted_cells
from w2v_core.verdict.outcome import Finding, GateResult
from w2v_core.verdict.waivers import Waiver, load_waivers


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The records of one process run, and what was made of them."""

    records: tuple[CellRecord, ...]
    """In the order measured."""
    session: Session | None = None
    verdict: GateResult | None = None
    """Against the baseline where there is one, else of each cell alone; None only of a run that was
    written before verdicts were."""
    calibration: Calibration | None = None
    """Error rates of the gate against this baseline."""
    nights: Mapping[str, Sequence[Night]] | None = None
    """Earlier runs on this card by cell, oldest first; None without a history."""
    baseline: Baseline | None = None
    """The baseline in force."""
    confirmations: tuple[CellRecord, ...] = ()
    """Of the night's fresh runs, oldest first."""

    @property
    def gate(self) -> GateResult | None:
        """The verdict where it was given against a baseline; None where a cell stood alone."""
        judged = self.verdict
        against = judged is not None and (judged.baseline is not None or judged.unusable)
        return judged if against else None

    @property
    def result(self) -> GateResult:
        """The verdict; of each cell alone where none was given."""
        if self.verdict is not None:
            return self.verdict
        return judge_alone(self.records, session=self.session)


def judged(
    records: Sequence[CellRecord],
    *,
    session: Session | None = None,
    baseline: Path | None = None,
    known: Baseline | None = None,
    history: Path | None = None,
    policy: Policy | None = None,
    now: datetime | None = None,
    max_age: timedelta | None = MAX_AGE,
    beside: Sequence[Finding] = (),
    confirmed: Callable[[Asked], Confirmed] | None = None,
    most_runs: int = MOST_RUNS,
) -> Run:
    """Judge records: the one way from them to a verdict, whoever asks.

    Never raises: a baseline or a history that cannot be read is a verdict too, red and unusable.

    Each cell is judged alone where no ``baseline``, a file or their directory, is given; ``known``
    is what lies there, where it has been read already. ``history`` is a file, for the trend and for
    drift. ``confirmed`` reads or makes the night's fresh runs, up to ``most_runs``, given what asks
    for them (confirm.py). The others are those of judge().
    """
    run = Run(records=tuple(records), session=session)
    now = now if now is not None else datetime.now(timezone.utc)
    asking: dict[str, Any] = {"policy": policy, "session": session, "now": now, "max_age": max_age}
    try:
        run, waivers = _with_known(run, baseline, known, history, now)
        if run.baseline is None:
            return replace(run, verdict=judge_alone(records, session=session, policy=policy))
        asked = partial(wanted_cells, records, run.baseline, most_runs=most_runs, **asking)
        again = Confirmed(records=())
        if confirmed is not None:
            again = confirmed(lambda found: asked(confirmations=found, history=run.nights))
    except RecordError as error:
        return replace(run, verdict=refused(str(error), policy=policy, unusable=True))
    # A suspicion of drift that cannot be measured again is left to its history.
    told = not_confirmed(again) if asked(confirmations=again.records) else ()
    verdict = judge(
        records,
        run.baseline,
        confirmations=again.records,
        history=run.nights,
        beside=[*beside, *told],
        waivers=waivers,
        **asking,
    )
    return replace(run, verdict=verdict, confirmations=again.records)


def _with_known(
    run: Run, baseline: Path | None, known: Baseline | None, history: Path | None, now: datetime
) -> tuple[Run, Sequence[Waiver]]:
    """Add what is known around a run; returns it with the waivers that hold."""
    environment = run.records[0].environment if run.records else None
    if baseline is None:
        if environment is not None:
            run = replace(run, nights=_nights(history, key(environment)))
        return run, ()
    found = known or load_baseline(baseline, environment)
    run = replace(run, baseline=found, nights=_nights(history, found.key))
    return run, load_waivers(baseline, now=now)


def calibrated(run: Run) -> Run:
    """Add the error rates of a single run against the baseline; simulates 1,000 nights."""
    if run.baseline is None:
        return run
    return replace(run, calibration=calibrate_from_baseline(run.baseline))


def _nights(
    history: Path | None, fingerprint: Mapping[str, str]
) -> Mapping[str, Sequence[Night]] | None:
    if history is None:
        return None
    if not exists(history):
        raise RecordError(
            f"{name_of(history)}: no such history; leave it out to judge without drift"
        )
    with History.reading(history) as opened:
        return opened.nights(fingerprint)


def load_run(path: Path) -> Run:
    """Read a run directory (or a run's file) with the verdict that was given when it was made.

    Raises:
        RecordError: the run or its verdict cannot be read.
    """
    stored = read_run(path)
    data = read_verdict(path) if is_directory(path) else None
    source = name_of(path / VERDICT)
    return Run(
        records=stored.records,
        session=stored.session,
        verdict=GateResult.from_json(data, source=source) if data is not None else None,
    )
