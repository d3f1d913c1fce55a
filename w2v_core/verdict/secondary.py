"""Limits of the figures beside throughput and WER: coarse, against the baseline's worst run.

Throughput and WER have tests with known error rates; these have none. Each limit is so wide that
noise does not reach it, and says what it is that does. They catch what leaves the median round as
it was: a tail, a warm-up, memory, graphs that were never captured; and a gain that cannot be one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from w2v_core.records.fields import FIGURES
from w2v_core.records.record import CellRecord
from w2v_core.verdict.outcome import Finding, failed

Read = Callable[[CellRecord], float | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How far a figure may be from the worst (of ``most``) or best run of the baseline."""

    name: str
    """As a reason names it."""
    read: Read
    least: float = 0.0
    """Lowest ratio to the baseline's smallest value."""
    most: float = float("inf")
    """Highest ratio to the baseline's largest value."""
    slack: float = 0.0
    """Differences up to this are never red, in the figure's raw unit."""
    why: str
    """What is wrong where it is passed."""


def _figure(name: str) -> Read:
    return FIGURES[name].of


def _warm_up_s(record: CellRecord) -> float:
    """Take the cold warm-up where this one was warm: a cleared recipe cache is no loss."""
    cold = record.warm_up_cold_s
    return record.warm_up_s if cold is None else max(cold, record.warm_up_s)


def _slowest_round(record: CellRecord) -> float | None:
    return max(record.rounds_s) / median(record.rounds_s) if record.rounds_s else None


LIMITS: tuple[Limit, ...] = (
    Limit(
        name="RTFx",
        read=_figure("rtfx"),
        most=3.0,
        why="software and machine are the baseline's, so this much is not gained: was all "
        "computed? approve a baseline where it is real",
    ),
    Limit(
        name="latency p50",
        read=_figure("latency_p50_s"),
        most=2.0,
        slack=0.050,
        why="utterances wait longer, though the throughput is kept",
    ),
    Limit(
        name="latency p99",
        read=_figure("latency_p99_s"),
        most=3.0,
        slack=0.100,
        why="a few utterances wait, which the median round does not show",
    ),
    Limit(
        name="slowest over median round",
        read=_slowest_round,
        most=3.0,
        slack=2.0,
        why="a round stood still, which the median does not show",
    ),
    Limit(
        name="warm-up",
        read=_warm_up_s,
        most=5.0,
        slack=10.0,
        why="captures or compiles far more; against cold warm-ups where the baseline knows them, "
        "so was the recipe cache cleared?",
    ),
    Limit(
        name="peak memory",
        read=_figure("peak_memory_bytes"),
        most=1.5,
        slack=256 * 2**20,
        why="a larger set, model or batch would no longer fit",
    ),
    Limit(
        name="graph captures",
        read=_figure("graph_captures"),
        least=1.0,
        most=1.0,
        why="the same buckets are captured each time: were the graphs used?",
    ),
    Limit(
        name="padding efficiency",
        read=_figure("padding_efficiency"),
        least=0.98,
        why="the same set in the same plan is padded alike: did bucketing change?",
    ),
    Limit(
        name="energy a round",
        read=_figure("energy_j"),
        most=2.0,
        slack=1.0,
        why="the same work takes more energy: clocks, cooling, or other work on the card",
    ),
)
"""Every limit, in the order in which reasons name them. Ratios, chosen and not measured: the widest
run-to-run spread that Gaudi, CUDA and CPU leave in these figures is not known here."""


def beyond_limits(record: CellRecord, baseline: Sequence[CellRecord]) -> list[Finding]:
    """Return a FAIL for each figure that left its limit; empty where none did."""
    found = []
    for limit in LIMITS:
        value = limit.read(record)
        known = [v for v in map(limit.read, baseline) if v is not None]
        if value is None or not known:
            continue
        low, high = min(known), max(known)
        if value > high * limit.most and value - high > limit.slack:
            found.append(_failed(limit, value, high))
        elif value < low * limit.least and low - value > limit.slack:
            found.append(_failed(limit, value, low))
    return found


def _failed(limit: Limit, value: float, known: float) -> Finding:
    times = f", {value / known:.3g} times as much" if known else ""
    return failed(
        "secondary",
        f"{limit.name} {value:.4g}{times}, against {known:.4g} in the baseline: {limit.why}",
    )
