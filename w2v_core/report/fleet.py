"""The page of a fleet: a table a card, who is slow, hot or wrong, and what sharing costs."""

from __future__ import annotations

from collections.abc import Sequence

from w2v_core.report.cards import Json, cards_text, render_cards, told, what_cards_are, wrong_row
from w2v_core.report.tables import NOT_MEASURED
from w2v_core.report.text import figure
from w2v_core.verdict.outcome import GateResult

ABOUT = {
    "each": "Every card measured every cell, all cards at the same time, each in a process of its "
    "own with its share of the host's cores.",
    "together": "Every card measured every cell alone, and then all of them at the same time. The "
    "cards' verdicts are of the runs alone.",
    "shard": "The cards shared each set; the shards are merged into the run of this directory.",
}
BOUNDS = "Bounds hold for all cards and cells at once."


def card_rows(fleet: Json) -> list[dict[str, str]]:
    """Return a row for each card and cell, as text."""
    return [
        {
            "card": row["card"],
            "cell": row["cell"],
            "runs": str(row["runs"]),
            "RTFx": figure(row["rtfx"]),
            "against the others %": _change(row["speed"]),
            "WER %": _percent(row["wer"]),
            "WER change, points": _points(row),
            "C": told(row["temperature_c"], ".0f"),
            "W": told(row["power_w"], ".0f"),
            "wrong ids": str(len(row["wrong"])),
            "verdict": row["verdict"],
        }
        for row in fleet["cells"]
    ]


def run_rows(fleet: Json) -> list[dict[str, str]]:
    """Return a row for each process: where it ran, and what became of it."""
    places = {card["name"]: card for card in fleet["cards"]}
    return [
        {
            "card": run["card"],
            "shard": run["share"] or "",
            "NUMA node": told(places[run["card"]]["numa_node"], "d"),
            "cores": cores(places[run["card"]]["cpus"]),
            "s": f"{run['wall_s']:.1f}",
            "run": run["folder"],
            "problem": run["problem"],
        }
        for run in fleet["runs"]
    ]


def cost_rows(fleet: Json) -> list[dict[str, str]]:
    """Return a row for each card and cell that was measured alone and together."""
    return [
        {
            "card": cost["card"],
            "cell": cost["cell"],
            "alone RTFx": figure(cost["alone"]),
            "together RTFx": figure(cost["together"]),
            "together / alone": f"{cost['ratio']:.3f}"
            + (f" [{cost['lower']:.3f}, {cost['upper']:.3f}]" if cost["lower"] is not None else ""),
        }
        for cost in fleet["costs"]
    ]


def wrong_rows(fleet: Json) -> list[dict[str, str]]:
    """Return a row for each utterance on which a card disagrees with most others."""
    return [
        wrong_row(row, wrong, others="the others'")
        for row in fleet["cells"]
        for wrong in row["wrong"]
    ]


def cores(cpus: Sequence[int]) -> str:
    """Write cores as the kernel does: ``0-3,8``."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def render_fleet_text(fleet: Json, result: GateResult) -> str:
    """Return the fleet for a terminal: a line, a table, the reasons."""
    problems = [f"{r['card']}: {r['problem']}" for r in fleet["runs"] if r["problem"]]
    notes = [f"note: {note}" for note in (*fleet["notes"], what_cards_are(fleet["cards"])) if note]
    tables = (card_rows(fleet) or run_rows(fleet), cost_rows(fleet))
    return cards_text(result.summary(), tables, result, notes=[*problems, *notes])


def render_fleet(fleet: Json, result: GateResult) -> str:
    """Return the fleet as a self-contained page."""
    tables = [
        ("Cards", card_rows(fleet)),
        ("Wrong frame ids", wrong_rows(fleet)),
        ("What sharing the host costs", cost_rows(fleet)),
        ("Processes", run_rows(fleet)),
    ]
    return render_cards(
        result,
        tables,
        headline=_headline(fleet, result),
        about=(f"{ABOUT[fleet['way']]} {BOUNDS}", what_cards_are(fleet["cards"])),
        notes=fleet["notes"],
    )


def _headline(fleet: Json, result: GateResult) -> str:
    bad = {c["card"] for c in fleet["cells"] if c["verdict"] == "FAIL"}
    bad |= {r["card"] for r in fleet["runs"] if r["problem"]}
    count = len(fleet["cards"])
    who = f"{len(bad)} of {count} cards: {', '.join(sorted(bad))}" if bad else f"{count} cards"
    return f"{result.verdict}: {who}"


def _change(speed: Json | None) -> str:
    if speed is None:
        return NOT_MEASURED
    change, low, high = ((speed[name] - 1) * 100 for name in ("ratio", "lower", "upper"))
    return f"{change:+.2f} [{low:+.2f}, {high:+.2f}]"


def _points(row: Json) -> str:
    if row["wer_delta"] is None:
        return NOT_MEASURED
    delta, low, high = (row[name] * 100 for name in ("wer_delta", "wer_lower", "wer_upper"))
    return f"{delta:+.3f} [{low:+.3f}, {high:+.3f}]"


def _percent(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value * 100:.2f}"
