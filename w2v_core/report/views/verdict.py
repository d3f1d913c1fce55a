"""The verdict as a report shows it: its counts, the figures of the night, the cells in trouble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from w2v_core.printable import shorten
from w2v_core.records.fields import FIGURES, Figure
from w2v_core.records.record import CellRecord
from w2v_core.report.tables import NOT_MEASURED, shown, told, value
from w2v_core.report.views.matrix import shown_status
from w2v_core.report.views.ranking import (
    NOT_JUDGED,
    STATUS_CLASS,
    Absent,
    Standing,
    is_quiet,
)
from w2v_core.verdict.outcome import GateResult

MOST_WORST = 10
MOST_ABSENT = 20
MOST_REASONS = 4
MOST_COMMANDS = 50
REASON_CHARS = 240
PADDING = "real over padded samples"


class Tile(NamedTuple):
    """One figure of the first screen."""

    name: str
    value: str
    below: str
    kind: str = ""


class State(NamedTuple):
    """How many cells came out alike."""

    cells: int
    status: str
    kind: str


class Trouble(NamedTuple):
    """A cell that something speaks against, or that is missing."""

    cell: str
    status: str
    kind: str
    speed: str
    evidence: tuple[str, ...]


def verdict_class(
    order: Sequence[Standing], lost: Sequence[Absent], verdict: GateResult | None
) -> str:
    """Return ``good``, ``bad``, ``doubt``, or ``plain`` where no baseline judged a sound run."""
    if not order or lost or not all(cell.record.valid for cell in order):
        return "bad"
    return verdict_kind(verdict)


def verdict_kind(verdict: GateResult | None) -> str:
    """Return the colour of a verdict."""
    return "plain" if verdict is None or is_quiet(verdict) else STATUS_CLASS[verdict.verdict]


def states(order: Sequence[Standing], lost: Sequence[Absent]) -> list[State]:
    """Count the cells by status, worst first; empty where no cell was judged."""
    counts = Counter([*(cell.status for cell in order), *(cell.status for cell in lost)])
    if counts[NOT_JUDGED] == counts.total():
        return []
    names = [n for n in (*STATUS_CLASS, NOT_JUDGED) if counts[n]]
    return [State(counts[n], n, STATUS_CLASS.get(n, "")) for n in names]


def tiles(order: Sequence[Standing]) -> list[Tile]:
    """Return the figures of the first screen; those that no cell holds are left out."""
    known = (
        _speed(order),
        _range(order, FIGURES["wer"], "WER", "{} with references"),
        _extreme(order, FIGURES["latency_p99_s"], "Highest p99 latency"),
        _changed(order),
        _range(order, FIGURES["padding_efficiency"], "Padding efficiency", PADDING),
        _unstable(order),
    )
    return [tile for tile in known if tile is not None]


def troubles(order: Sequence[Standing], lost: Sequence[Absent]) -> tuple[list[Trouble], int]:
    """Return the worst cells, those without a record first, and how many more there are."""
    rows = [
        Trouble(c.cell, c.status, "bad", NOT_MEASURED, (shorten(c.why, REASON_CHARS),))
        for c in lost[:MOST_ABSENT]
    ]
    troubled = [cell for cell in order if cell.reasons or cell.warnings]
    for cell in troubled[:MOST_WORST]:
        speed, state = shown(FIGURES["rtfx"], cell.record), shown_status(cell.status)
        rows.append(Trouble(cell.record.cell, state, cell.kind, speed, _evidence(cell)))
    return rows, len(troubled) + len(lost) - len(rows)


def fingerprint(records: Sequence[CellRecord]) -> list[tuple[str, str]]:
    """Return what the figures depend on besides the code, by field."""
    names = sorted({name for r in records for name in r.environment})
    return [(name, _common([r.environment for r in records], name)) for name in names]


def commands(records: Sequence[CellRecord]) -> list[str]:
    """Return the lines of the command that was run."""
    return list(dict.fromkeys(x for r in records for x in r.command.splitlines()))[:MOST_COMMANDS]


def span(values: Sequence[float], form: str = "d", to: str = " to ") -> str:
    """Show the lowest and the highest of some numbers, once where they are the same."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low}{to}{high}"


def _evidence(cell: Standing) -> tuple[str, ...]:
    against = (*cell.reasons, *cell.warnings)
    left = len(against) - MOST_REASONS
    more = (f"and {left} more, in run.json",) if left > 0 else ()
    return (*(shorten(text, REASON_CHARS) for text in against[:MOST_REASONS]), *more)


def _speed(order: Sequence[Standing]) -> Tile | None:
    judged = [(c.speed, c) for c in order if c.speed is not None]
    if not judged:
        return _extreme(order, FIGURES["rtfx"], "Highest RTFx")
    speed, cell = min(judged, key=lambda pair: pair[0].ratio)
    findings = cell.judged.findings if cell.judged is not None else ()
    bad = any(f.kind == "throughput" and f.verdict == "FAIL" for f in findings)
    change, low, high = ((x - 1) * 100 for x in (speed.ratio, speed.lower, speed.upper))
    below = f"[{low:+.1f}, {high:+.1f}] {cell.label}"
    return Tile("Slowest against the baseline", f"{change:+.1f} %", below, "bad" if bad else "")


def _extreme(order: Sequence[Standing], figure: Figure, name: str) -> Tile | None:
    measured = [(v, c) for c in order if (v := value(figure, c.record)) is not None]
    if not measured:
        return None
    number, cell = max(measured, key=lambda pair: pair[0])
    return Tile(name, f"{told(figure, number)} {figure.unit}".rstrip(), cell.label)


def _range(order: Sequence[Standing], figure: Figure, name: str, below: str) -> Tile | None:
    values = [v for c in order if (v := value(figure, c.record)) is not None]
    if not values:
        return None
    text = span(values, figure.spec, " \u2013 ")
    return Tile(name, f"{text} {figure.unit}", below.format(_cells(len(values))))


def _changed(order: Sequence[Standing]) -> Tile | None:
    exact = [c.record for c in order if c.record.forward == "exact"]  # stock's are padding's cost
    counts = [len(r.changed_vs_golden) for r in exact if r.changed_vs_golden is not None]
    if not counts:
        return None
    below = f"transcripts against the goldens, {_cells(len(counts), 'exact ')}"
    return Tile("Changed", str(sum(counts)), below, "doubt" if sum(counts) else "")


def _unstable(order: Sequence[Standing]) -> Tile | None:
    if not order:
        return None
    count = sum(bool(cell.warnings) for cell in order)
    below = f"of {_cells(len(order))} by their rounds"
    return Tile("Unstable", str(count), below, "doubt" if count else "")


def _cells(count: int, kind: str = "") -> str:
    return f"{count} {kind}cell{'' if count == 1 else 's'}"


def _common(environments: Sequence[Mapping[str, Any]], name: str) -> str:
    values = list(dict.fromkeys(str(e.get(name, "-")) for e in environments))
    if len(values) == 1:
        return values[0]
    told = ", ".join(shorten(v, 80) for v in values[:4])
    return f"differs by cell: {told}" + (f" and {len(values) - 4} more" if len(values) > 4 else "")
