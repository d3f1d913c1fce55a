"""What a fleet leaves: ``fleet.json``, its page, and the verdict as that of any run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from w2v_core.errors import RecordError
from w2v_core.fleet.cards import Card
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.verdict import CardCell
from w2v_core.fleet.ways import Again, SharedCost, result_of
from w2v_core.records.record import CellRecord
from w2v_core.records.store import FLEET, finish, write_text, write_verdict
from w2v_core.report.files import write_index, write_run
from w2v_core.report.fleet import render_fleet
from w2v_core.verdict.outcome import Finding, GateResult, failed
from w2v_core.verdict.run import judged

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRun:
    """A fleet's measurement."""

    way: str
    cards: tuple[Card, ...]
    outcomes: Mapping[str, Sequence[Outcome]]
    """By card, all processes that measured for the verdict."""
    judged: tuple[CardCell, ...] = ()
    """Cards against each other; none where they shared the sets."""
    again: tuple[Again, ...] = ()
    costs: tuple[SharedCost, ...] = ()
    merged: tuple[CellRecord, ...] = ()
    """Whole sets, where cards shared them."""
    notes: tuple[str, ...] = ()

    @property
    def result(self) -> GateResult:
        """The verdict: each card's of each cell, and what is about a card as a whole."""
        lost = tuple(_lost(o) for runs in self.outcomes.values() for o in runs if o.problem)
        if self.merged:
            result = judged(self.merged).verdict
            if result is None:
                raise RecordError("the merged records were not judged")
            return result
        return result_of(self.judged, self.again, lost)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; records are in the cards' own runs."""
        done = [o for runs in self.outcomes.values() for o in runs]
        names = {o.card: r.device_name for o in done for r in o.records.values()}
        return {
            "schema_version": SCHEMA_VERSION,
            "way": self.way,
            "cards": [
                {"name": str(card), **asdict(card), "device_name": names.get(str(card), "")}
                for card in self.cards
            ],
            "runs": [
                {
                    "card": o.card,
                    "share": o.share,
                    "folder": "/".join(o.folder.parts[-3:]),
                    "run_ids": sorted({r.run_id for r in o.records.values()}),
                    "problem": o.problem,
                    "wall_s": o.wall_s,
                }
                for o in done
            ],
            "cells": [_cell(c) for c in self.judged],
            "again": [asdict(a) for a in self.again],
            "costs": [asdict(c) for c in self.costs],
            "notes": list(self.notes),
        }


def write_fleet(directory: Path, run: FleetRun) -> None:
    """Write the fleet's files and take the mark off its directory.

    Raises:
        ReportError: one cannot be written.
    """
    data, result = run.to_json(), run.result
    page = render_fleet(data, result)
    if not run.merged:
        write_cards(directory, FLEET, data, result, page=page)
        return
    write_text(directory / FLEET, json.dumps(data, indent=1) + "\n")
    write_run(directory, judged(run.merged))
    write_text(directory / "fleet.html", page)


def write_cards(
    directory: Path, name: str, data: Mapping[str, Any], result: GateResult, *, page: str
) -> None:
    """Write what many cards left, the verdict and the page; take the mark off and list the run.

    Raises:
        ReportError: one cannot be written.
    """
    write_text(directory / name, json.dumps(data, indent=1) + "\n")
    write_verdict(directory, result.to_json())
    write_text(directory / "summary.html", page)
    if finish(directory):
        write_index(directory.parent.parent)


def _lost(outcome: Outcome) -> Finding:
    told = f"{outcome.card} was not measured: {outcome.problem}"
    if outcome.refused:
        return Finding(kind="integrity", verdict="INCONCLUSIVE", reason=told)
    return failed("integrity", told)


def _cell(judged: CardCell) -> dict[str, Any]:
    records = judged.records
    powers = [r.power.mean_w for r in records if r.power is not None and r.power.mean_w is not None]
    return {
        "card": judged.card,
        "cell": judged.cell,
        "verdict": judged.verdict.verdict,
        "runs": len(records),
        "rtfx": judged.rtfx,
        "speed": None if judged.throughput is None else asdict(judged.throughput),
        "wer": records[0].wer,
        "wer_delta": None if judged.wer is None else judged.wer.delta,
        "wer_lower": None if judged.wer is None else judged.wer.lower,
        "wer_upper": None if judged.wer is None else judged.wer.upper,
        "temperature_c": judged.temperature_c,
        "power_w": sum(powers) / len(powers) if powers else None,
        "device_name": records[0].device_name,
        "wrong": [asdict(d) for d in judged.wrong],
        "reasons": list(judged.verdict.reasons),
    }
