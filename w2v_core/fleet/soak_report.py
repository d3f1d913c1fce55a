"""What a soak leaves: ``soak.json``, its page, and the verdict as that of any run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from w2v_core.errors import ConfigError, RecordError
from w2v_core.fleet.job import Soak
from w2v_core.fleet.passes import Pass
from w2v_core.fleet.report import write_cards
from w2v_core.fleet.soak import Soaked
from w2v_core.fleet.steady import LEAST_PASSES
from w2v_core.jsonfile import convert, name_of, read_json
from w2v_core.records.store import INCOMPLETE, SOAK, write_text
from w2v_core.report.soak import render_soak
from w2v_core.verdict.outcome import GateResult

SCHEMA_VERSION = 1
MOST_POINTS = 200
"""Of a series in the JSON; a point is the median of as many passes as that takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a soak was asked for; it goes on by it."""

    options: Mapping[str, Any]
    """As argparse read them, but for its end."""
    passes: int | None = None
    hours: float | None = None
    cards: tuple[str, ...] = ()
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why earlier processes ended, by card."""

    def check(self) -> None:
        """Refuse a soak without an end, with two, or too short; raises ConfigError."""
        if (self.passes is None) == (self.hours is None):
            raise ConfigError("give {flag:passes} or {flag:hours}, one of them", field="passes")
        if self.passes is not None and self.passes < LEAST_PASSES:
            raise ConfigError(
                f"{{flag:passes}} is {self.passes}; levels are tested over {LEAST_PASSES} at least",
                field="passes",
                value=self.passes,
            )

    @property
    def soak(self) -> Soak:
        """As a card's process is asked."""
        return Soak(passes=self.passes, seconds=None if self.hours is None else self.hours * 3600)


def write_asked(directory: Path, asked: Asked) -> None:
    """Write what was asked for before the first pass; the run is marked incomplete."""
    write_text(directory / INCOMPLETE, "the soak has not finished\n")
    data = {"schema_version": SCHEMA_VERSION, "asked": asdict(asked)}
    write_text(directory / SOAK, json.dumps(data, indent=1) + "\n")


def read_asked(directory: Path) -> Asked:
    """Read what a soak was asked for; raises RecordError."""
    source = name_of(directory / SOAK)
    data = read_json(directory / SOAK, error=RecordError)
    if data.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(f"{source}: schema_version is not {SCHEMA_VERSION}")
    return convert(data.get("asked"), Asked, source=source, error=RecordError)


def write_soak(directory: Path, asked: Asked, run: Soaked) -> tuple[dict[str, Any], GateResult]:
    """Write the files of a soak and take the mark off; returns the JSON and the verdict.

    Raises:
        ReportError: one cannot be written.
    """
    result = run.result
    problems = {card.card: card.problems for card in run.cards}
    found = {
        "schema_version": SCHEMA_VERSION,
        "asked": {**asdict(asked), "problems": problems},
        "interrupted": run.interrupted,
        "cards": [_card(run, card.card) for card in run.cards],
        "cells": [_cell(run, c.card, c.cell) for c in run.judged if c.cell != "process"],
        "findings": list(result.reasons),
        "again": [asdict(a) for a in run.again],
        "series": _series(run),
    }
    write_cards(directory, SOAK, found, result, page=render_soak(found, result))
    return found, result


def _card(run: Soaked, name: str) -> dict[str, Any]:
    card = next(c for c in run.cards if c.card == name)
    return {
        "card": name,
        "device": card.device,
        "device_name": json.loads(card.software or "{}").get("card", ""),
        "passes": len(card.passes),
        "batches": sum(passes[-1].batches for passes in card.processes.values()),
        "processes": len(card.processes),
        "wall_s": sum(one.wall_s for one in card.passes),
        "problems": list(card.problems),
        "levels": {
            level: {**asdict(slope), "leaks": slope.is_leak, "last": _last(card.passes, level)}
            for level, slope in run.slopes[name].items()
        },
    }


def _last(passes: Sequence[Pass], level: str) -> int:
    """Return the last value; the process that a soak goes on with may not tell every level."""
    return next(one.levels[level] for one in reversed(passes) if level in one.levels)


def _cell(run: Soaked, name: str, cell: str) -> dict[str, Any]:
    judged = next(c for c in run.judged if (c.card, c.cell) == (name, cell))
    card = next(c for c in run.cards if c.card == name)
    passes, weights = card.of(cell), card.weights.get(cell)
    before = [None, *(c.weights for _, c in passes)]
    return {
        "card": name,
        "cell": cell,
        "verdict": judged.verdict.verdict,
        "passes": len(passes),
        "rtfx": median(c.rtfx for _, c in passes),
        "wrong_passes": sum(c.num_wrong > 0 for _, c in passes),
        "wrong": [
            {"pass": one.number, "at_utc": one.at_utc, **asdict(d)}
            for one, c in passes
            for d in c.wrong[:1]
        ],
        "tensors": 0 if weights is None else len(weights.digests),
        "weights_bytes": 0 if weights is None else weights.num_bytes,
        "weights_unread": "an older soak read none" if weights is None else weights.unread,
        "digest_s": median(c.digest_s for _, c in passes),
        "altered_passes": sum(c.num_altered > 0 for _, c in passes),
        "altered": [
            {"pass": one.number, "at_utc": one.at_utc, "tensors": c.num_altered, **asdict(d)}
            for (one, c), was in zip(passes, before, strict=False)
            if c.weights != was  # a flip stays; where it begins is told
            for d in c.altered[:1]
        ],
    }


def _series(run: Soaked) -> dict[str, Any]:
    """Return the time series, by quantity and card, as [pass, value] pairs."""
    last = max((card.passes[-1].number for card in run.cards if card.passes), default=1)
    width = -(-last // MOST_POINTS)
    points: dict[str, dict[str, list[list[float]]]] = {}
    for card in run.cards:
        series: dict[str, list[tuple[int, float]]] = {}
        for one in card.passes:
            for quantity, value in _values(one):
                series.setdefault(quantity, []).append((one.number, value))
        for quantity, values in series.items():
            points.setdefault(quantity, {})[card.card] = _thinned(values, width)
    return {"passes_a_point": width, "last_pass": last, "points": points}


def _values(one: Pass) -> Iterable[tuple[str, float]]:
    """Yield what a pass adds to the series: speeds, sensors, levels."""
    for cell in one.cells:
        yield f"RTFx of {cell.cell}", cell.rtfx
    for name in ("temperature_c", "power_w"):
        read = [v for c in one.cells if (v := getattr(c, name)) is not None]
        if read:
            yield name, max(read)
    yield from one.levels.items()


def _thinned(values: Iterable[tuple[int, float]], width: int) -> list[list[float]]:
    blocks: dict[int, list[float]] = {}
    for number, value in values:
        blocks.setdefault((number - 1) // width, []).append(value)
    return [[block * width + 1, median(found)] for block, found in sorted(blocks.items())]
