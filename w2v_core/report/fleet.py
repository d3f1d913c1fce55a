"""The page of a fleet: a table a card, who is slow, hot or wrong, and what sharing costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2v_core.report.page import render
from w2v_core.report.tables import NOT_MEASURED, text_table
from w2v_core.report.text import figure
from w2v_core.verdict.outcome import GateResult

KINDS = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "doubt"}
ABOUT = {
    "each": "Every card measured every cell, all cards at the same time, each in a process of its "
    "own with its share of the host's cores.",
    "together": "Every card measured every cell alone, and then all of them at the same time. The "
    "cards' verdicts are of the runs alone.",
    "shard": "The cards shared each set; the shards are merged into the run of this directory.",
}
NUMBERS = frozenset(
    (
        *("runs", "RTFx", "against the others %", "WER %", "WER change, points", "C", "W"),
        *("wrong ids", "frame", "its id", "the others' id", "frames", "s"),
        *("alone RTFx", "together RTFx", "together / alone"),
    )
)
"""Columns of figures."""
Json = Mapping[str, Any]


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
            "C": _shown(row["temperature_c"], ".0f"),
            "W": _shown(row["power_w"], ".0f"),
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
            "NUMA node": _shown(places[run["card"]]["numa_node"], "d"),
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
        {
            "card": row["card"],
            "cell": row["cell"],
            "utterance": wrong["utterance_id"],
            "frame": str(wrong["frame"]),
            "its id": _shown(wrong["own"], "d"),
            "the others' id": _shown(wrong["others"], "d"),
            "frames": str(wrong["num_frames"]),
        }
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
    rows = card_rows(fleet) or run_rows(fleet)
    lines = [result.summary(), text_table(rows)]
    lines += [text_table(cost_rows(fleet))] if fleet["costs"] else []
    lines += [f"- {reason}" for reason in result.reasons if result.verdict != "PASS"]
    lines += [f"- {r['card']}: {r['problem']}" for r in fleet["runs"] if r["problem"]]
    lines += [f"- note: {note}" for note in fleet["notes"]]
    return "\n".join(lines)


def render_fleet(fleet: Json, result: GateResult) -> str:
    """Return the fleet as a self-contained page."""
    return render(
        "fleet.html.j2",
        fleet=fleet,
        headline=_headline(fleet, result),
        kind=KINDS[result.verdict],
        kinds=KINDS,
        about=ABOUT[fleet["way"]],
        simulated=any(row["device_name"] == "simulated" for row in fleet["cells"]),
        numbers=NUMBERS,
        reasons=result.reasons if result.verdict != "PASS" else (),
        tables=[
            ("Cards", card_rows(fleet)),
            ("Wrong frame ids", wrong_rows(fleet)),
            ("What sharing the host costs", cost_rows(fleet)),
            ("Processes", run_rows(fleet)),
        ],
    )


def _headline(fleet: Json, result: GateResult) -> str:
    bad = {c["card"] for c in fleet["cells"] if c["verdict"] == "FAIL"}
    bad |= {r["card"] for r in fleet["runs"] if r["problem"]}
    count = len(fleet["cards"])
    told = f"{len(bad)} of {count} cards: {', '.join(sorted(bad))}" if bad else f"{count} cards"
    return f"{result.verdict}: {told}"


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


def _shown(value: float | None, spec: str) -> str:
    return NOT_MEASURED if value is None else format(value, spec)
