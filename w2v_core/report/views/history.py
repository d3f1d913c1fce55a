"""All runs of a history: each card's cells over the nights, and what happened when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from w2v_core.records.fields import RELEASE_KEYS
from w2v_core.records.fingerprint import difference, key
from w2v_core.records.history import History
from w2v_core.records.history_table import Night, StoredEnvironment, key_text
from w2v_core.verdict.baseline import Baseline
from w2v_core.verdict.cusum import LIMIT
from w2v_core.verdict.drift import MACHINE, Drift, anchors, judge_drift, judge_machine_drift
from w2v_core.verdict.series import Value, by_night, value_of

FIRST_NIGHTS = 5  # their median stands in for an anchor where there is no baseline
MOST_EVENTS = 300
_TOLD_FIELDS = 4
_LEAST_RANGE = 0.05  # either side of the level; a line shows no less
_HEIGHT = 20

Nights = Mapping[str, Sequence[Night]]


class Event(NamedTuple):
    """Something that happened, for the list."""

    when: str
    what: str
    text: str
    kind: str = ""


class Row(NamedTuple):
    """A cell over the nights of a card."""

    cell: str
    points: str
    """``x,y`` pairs, percent of the nights and of the row's height."""
    nights: int
    last: float
    lowest: float
    cusum: float | None
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The nights of one card, its cells in most trouble first."""

    name: str
    rows: tuple[Row, ...]
    nights: tuple[str, ...]
    changes: tuple[float, ...]
    """Where the software changed, percent of the nights."""
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the page shows."""

    cards: tuple[Card, ...]
    events: tuple[Event, ...]
    """Newest first."""
    runs: int


def overview(path: Path, baselines: Sequence[Baseline] = ()) -> Overview:
    """Read a history, with the baselines that it was judged against.

    Raises:
        RecordError: it cannot be read.
    """
    with History.reading(path) as history:
        environments = history.environments()
        keys = {key_text(key(e.environment)): key(e.environment) for e in environments}
        nights = {text: history.nights(found) for text, found in keys.items()}
    known = {key_text(b.key): b for b in baselines}
    events, cards = [*_decided(baselines)], []
    by_card = _by_card(nights)
    for name in sorted(by_card, key=lambda n: _last(by_card[n]), reverse=True):
        newest = max(by_card[name], key=lambda text: _last({text: by_card[name][text]}))
        baseline = known.get(newest)
        ran = sorted(
            (e for e in environments if e.card == name), key=lambda e: (e.created_utc, e.run_id)
        )
        changed = list(_changes(ran, name))
        events += changed
        drifts: Mapping[str, Drift] = {}
        if baseline is not None:
            drifts = judge_drift(by_card[name][newest], baseline)
            events += _alarms(by_card[name][newest], baseline, drifts, name)
        when = [e.when for e in changed]
        cards.append(_card(name, by_card[name], baseline, drifts, changed=when))
    events.sort(key=lambda e: (e.when, e.what, e.text), reverse=True)
    return Overview(cards=tuple(cards), events=tuple(events[:MOST_EVENTS]), runs=len(environments))


def _by_card(nights: Mapping[str, Nights]) -> dict[str, dict[str, dict[str, list[Night]]]]:
    """Return the runs by card, fingerprint and cell."""
    found: dict[str, dict[str, dict[str, list[Night]]]] = {}
    for text, cells in nights.items():
        for cell, runs in cells.items():
            for run in runs:
                of_key = found.setdefault(run.card, {}).setdefault(text, {})
                of_key.setdefault(cell, []).append(run)
    return found


def _last(of_card: Mapping[str, Nights]) -> str:
    return max(r.created_utc for cells in of_card.values() for runs in cells.values() for r in runs)


def _card(
    name: str,
    of_card: Mapping[str, Nights],
    baseline: Baseline | None,
    drifts: Mapping[str, Drift],
    *,
    changed: Sequence[str],
) -> Card:
    joined: dict[str, list[Night]] = {}
    for cells in of_card.values():
        for cell, runs in cells.items():
            joined.setdefault(cell, []).extend(runs)
    values = {c: [value_of(n) for n in by_night(runs)] for c, runs in joined.items()}
    dates = sorted({v.night for of_cell in values.values() for v in of_cell})
    levels = {c: a.mean for c, a in anchors(baseline).items()} if baseline is not None else {}
    rows = []
    for cell, of_cell in values.items():
        level = levels.get(cell, float(np.median([v.log_rtfx for v in of_cell[:FIRST_NIGHTS]])))
        rows.append(_row(cell, of_cell, dates, level=level, drift=drifts.get(cell)))
    rows.sort(key=lambda r: (r.kind != "bad", -(r.cusum or 0.0), r.last, r.cell))
    return Card(
        name=name or "the card of which nothing tells the name",
        rows=tuple(rows),
        nights=tuple(dates),
        changes=tuple(_at(sum(d < when for d in dates), dates) for when in changed),
        level="the baseline's anchor" if levels else f"the median of the first {FIRST_NIGHTS}",
    )


def _row(
    cell: str, values: Sequence[Value], dates: Sequence[str], *, level: float, drift: Drift | None
) -> Row:
    ratios = np.exp(np.asarray([v.log_rtfx for v in values]) - level)
    reach = max(_LEAST_RANGE, float(np.abs(ratios - 1).max()))
    places = {night: i for i, night in enumerate(dates)}
    points = " ".join(
        f"{_at(places[v.night], dates):.1f},{_HEIGHT / 2 * (1 - (ratio - 1) / reach):.1f}"
        for v, ratio in zip(values, ratios, strict=True)
    )
    return Row(
        cell=cell,
        points=points,
        nights=len(values),
        last=float(ratios[-1]),
        lowest=float(ratios.min()),
        cusum=drift.statistic[-1] if drift is not None else None,
        kind="bad" if drift is not None and drift.alarm_night is not None else "",
    )


def _at(place: int, dates: Sequence[str]) -> float:
    return round(100 * place / max(len(dates) - 1, 1), 2)


def _changes(ran: Sequence[StoredEnvironment], card: str) -> Iterator[Event]:
    """Say in what a run's fingerprint differs from that of the run before on the card."""
    for before, after in pairwise(ran):
        fields = difference(before.environment, after.environment)
        if not fields:
            continue
        told = [f"{f.field} {f.a} -> {f.b}" for f in fields[:_TOLD_FIELDS]]
        more = f" and {len(fields) - _TOLD_FIELDS} more" if len(fields) > _TOLD_FIELDS else ""
        is_software = any(f.field in RELEASE_KEYS for f in fields)
        what = "software changed" if is_software else "machine changed"
        yield Event(after.created_utc, what, f"{card}: {', '.join(told)}{more}")


def _decided(baselines: Sequence[Baseline]) -> Iterator[Event]:
    """Tell the approvals and acknowledgements of baselines."""
    for baseline in baselines:
        for approval in baseline.approvals:
            said = [*approval.worse, *approval.notes]
            also = f" ({'; '.join(said[:_TOLD_FIELDS])})" if said else ""
            yield Event(
                approval.approved_utc,
                "approved",
                f"{len(approval.run_ids)} runs by {approval.approved_by}: {approval.reason}{also}",
                "doubt" if approval.worse else "good",
            )
        for told in baseline.acknowledgements:
            losses = [f"{name} {-loss * 100:+.2g} %" for name, loss in told.losses.items()]
            text = f"{', '.join(losses[:_TOLD_FIELDS])} by {told.acknowledged_by}: {told.reason}"
            yield Event(told.acknowledged_utc, "drift acknowledged", text, "doubt")


def _alarms(
    nights: Nights, baseline: Baseline, drifts: Mapping[str, Drift], card: str
) -> Iterator[Event]:
    """Tell when drift alarms rose and ended."""
    machine = judge_machine_drift(nights, baseline)
    if machine is not None and machine.alarm_night is not None:
        text = f"{card}: {MACHINE} slower by {machine.loss * 100:.2g} %"
        yield Event(machine.alarm_night, "drift alarm", text, "bad")
    for cell, drift in drifts.items():
        own = {r.run_id for r in baseline.cells[cell]}
        after = [r for r in nights[cell] if r.run_id not in own]
        dates = [night[0].created_utc for night in by_night(after)][-len(drift.statistic) :]
        above = [False, *(s > LIMIT for s in drift.statistic)]
        for date, (before, now) in zip(dates, pairwise(above), strict=True):
            if now != before:
                what = "drift alarm" if now else "drift alarm ended"
                yield Event(date, what, f"{card}: {cell}", "bad" if now else "good")
