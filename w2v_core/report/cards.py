"""What the pages of many cards share, a fleet's and a soak's: what cards are, tables, reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from w2v_core.report.charts import LineChart
from w2v_core.report.page import render
from w2v_core.report.tables import NOT_MEASURED, Row, text_table
from w2v_core.verdict.outcome import GateResult

KINDS = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "doubt"}
NUMBERS = frozenset(
    (
        *("runs", "RTFx", "against the others %", "WER %", "WER change, points", "C", "W", "s"),
        *("wrong ids", "frame", "its id", "the others' id", "the first pass's id", "frames"),
        *("alone RTFx", "together RTFx", "together / alone", "passes", "batches", "processes"),
        *("hours", "wrong passes", "pass", "a batch", "limit", "over batches", "last", "tensors"),
        *("read MB", "digest s", "altered passes", "from pass"),
    )
)
"""Columns of figures."""
Json = Mapping[str, Any]
Tables = Sequence[tuple[str, Sequence[Row]]]


def render_cards(
    result: GateResult,
    tables: Tables,
    *,
    headline: str,
    about: Sequence[str],
    notes: Sequence[str] = (),
    charts: Sequence[LineChart] = (),
    width: int = 1,
) -> str:
    """Return a self-contained page: headline, what was done, reasons, tables, series over passes.

    Args:
        result: Its reasons are shown where it is no PASS.
        tables: By title; one without rows is left out.
        headline: The verdict and who stands out.
        about: What was measured and on what, a paragraph each.
        notes: What else is to be known, behind the reasons.
        charts: All over the same passes.
        width: Passes a point of them.
    """
    return render(
        "cards.html.j2",
        headline=headline,
        kind=KINDS[result.verdict],
        kinds=KINDS,
        numbers=NUMBERS,
        about=[text for text in about if text],
        reasons=reasons(result),
        notes=notes,
        tables=tables,
        charts=charts,
        width=width,
    )


def cards_text(
    first: str, tables: Iterable[Sequence[Row]], result: GateResult, *, notes: Sequence[str] = ()
) -> str:
    """Return the same for a terminal: a line, tables, reasons, notes."""
    lines = [first, *(text_table(rows) for rows in tables if rows)]
    lines += [f"- {reason}" for reason in reasons(result)]
    return "\n".join([*lines, *(f"- {note}" for note in notes if note)])


def reasons(result: GateResult) -> tuple[str, ...]:
    """Return what speaks against the cards; nothing of a PASS."""
    return result.reasons if result.verdict != "PASS" else ()


def what_cards_are(cards: Sequence[Json]) -> str:
    """Say where cards are no accelerators, by ``device`` and ``device_name`` of each."""
    names = sorted({card["device_name"] for card in cards if card["device_name"]})
    if "simulated" in names:
        return "The cards are simulated: nothing here is about a real one."
    if any(card["device"] == "cpu" for card in cards):
        of = f" ({', '.join(names)})" if names else ""
        return (
            f"The cards are processes, each with its share of a processor's cores{of}: nothing "
            "here is about an accelerator."
        )
    return ""


def wrong_row(row: Json, wrong: Json, *, others: str, at: Row | None = None) -> dict[str, str]:
    """Return the row of an utterance whose frame ids differ from ``others``; ``at`` says when."""
    return {
        "card": row["card"],
        "cell": row["cell"],
        **(at or {}),
        "utterance": wrong["utterance_id"],
        "frame": str(wrong["frame"]),
        "its id": told(wrong["own"], "d"),
        f"{others} id": told(wrong["others"], "d"),
        "frames": str(wrong["num_frames"]),
    }


def told(value: float | None, spec: str) -> str:
    """Return a number as people read it."""
    return NOT_MEASURED if value is None else format(value, spec)
