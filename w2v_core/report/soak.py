"""The page of a soak: its series over the passes, what grows, which passes returned other ids."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from w2v_core.report.cards import Json, cards_text, render_cards, what_cards_are, wrong_row
from w2v_core.report.charts import LineChart, Series, lines
from w2v_core.report.tables import NOT_MEASURED
from w2v_core.report.text import figure
from w2v_core.verdict.outcome import GateResult

DONE = (
    "The same cells, pass after pass, in one process a card; every pass is held against the first, "
    "and the weights on the device behind it against those that were loaded."
)
LEAKS = (
    "A level leaks where its Theil-Sen slope over the batches, after the first fifth of a "
    "process's passes, exceeds the limit with its whole interval, and goes on doing so in the "
    "later half. Intervals hold for all levels and cards at once."
)
AXES = {
    "temperature_c": ("Temperature", "C, the highest of a pass", 1.0),
    "power_w": ("Power", "W, the mean of a pass", 1.0),
    "host_bytes": ("Host memory", "MB, resident and not shared", 1e6),
    "heap_bytes": ("Given out by malloc", "MB", 1e6),
    "python_blocks": ("Python's blocks", "count", 1.0),
    "device_bytes": ("Device memory", "MB, the peak of a pass", 1e6),
    "pinned_bytes": ("Pinned memory", "MB", 1e6),
    "descriptors": ("File descriptors", "count", 1.0),
    "threads": ("Threads", "count", 1.0),
    "graphs": ("Graphs", "captured so far", 1.0),
    "compilations": ("Compilations", "so far", 1.0),
}
"""Title, axis and unit of the series; others are speeds."""
LINES_A_CHART = 4
DIGEST_CHARS = 16
MOST_WRONG = 20  # passes of a cell in the page; a fault that stays is in all that follow


def render_soak_text(soak: Json, result: GateResult) -> str:
    """Return the soak for a terminal: the verdict, its tables, the reasons."""
    tables = (rows for _, rows in _tables(soak))
    notes = (what_cards_are(soak["cards"]), *_unread(soak))
    return cards_text(_headline(soak, result), tables, result, notes=notes)


def render_soak(soak: Json, result: GateResult) -> str:
    """Return the soak as a self-contained page."""
    return render_cards(
        result,
        _tables(soak),
        headline=_headline(soak, result),
        about=(DONE, LEAKS, what_cards_are(soak["cards"])),
        notes=_unread(soak),
        charts=_charts(soak["series"]),
        width=soak["series"]["passes_a_point"],
    )


def _headline(soak: Json, result: GateResult) -> str:
    hours = max((card["wall_s"] for card in soak["cards"]), default=0.0) / 3600
    passes = sum(card["passes"] for card in soak["cards"])
    batches = sum(card["batches"] for card in soak["cards"])
    ended = ", interrupted" if soak["interrupted"] else ""
    told = f"{passes} passes and {batches} batches on {len(soak['cards'])} cards in {hours:.2g} h"
    return f"{result.verdict}: {told}{ended}"


def _tables(soak: Json) -> list[tuple[str, list[dict[str, str]]]]:
    return [
        ("Cells", [_cell_row(row) for row in soak["cells"]]),
        (
            f"Passes that returned other ids, the first {MOST_WRONG} of a cell",
            [
                wrong_row(r, w, others="the first pass's", at=_at(w))
                for r in soak["cells"]
                for w in r["wrong"][:MOST_WRONG]
            ],
        ),
        (
            "Weights that are not as they were loaded",
            [_altered_row(r, a) for r in soak["cells"] for a in r["altered"]],
        ),
        ("Asked again", [{k: str(v) for k, v in row.items()} for row in soak["again"]]),
        ("Levels", [_level_row(c, *level) for c in soak["cards"] for level in c["levels"].items()]),
        ("Cards", [_card_row(card) for card in soak["cards"]]),
    ]


def _cell_row(row: Json) -> dict[str, str]:
    return {
        "card": row["card"],
        "cell": row["cell"],
        "passes": str(row["passes"]),
        "RTFx": figure(row["rtfx"]),
        "wrong passes": str(row["wrong_passes"]),
        "altered passes": NOT_MEASURED if row["weights_unread"] else str(row["altered_passes"]),
        "tensors": str(row["tensors"]),
        "read MB": figure(row["weights_bytes"] / 1e6),
        "digest s": figure(row["digest_s"]),
        "verdict": row["verdict"],
    }


def _at(wrong: Json) -> dict[str, str]:
    return {"pass": str(wrong["pass"]), "ended": wrong["at_utc"]}


def _altered_row(row: Json, altered: Json) -> dict[str, str]:
    """Return a row for where a pass's weights became other ones than those of the pass before."""
    own, others = (altered[side] or NOT_MEASURED for side in ("own", "others"))
    return {
        "card": row["card"],
        "cell": row["cell"],
        "from pass": str(altered["pass"]),
        "ended": altered["at_utc"],
        "tensor": altered["tensor"],
        "its SHA-256": own[:DIGEST_CHARS],
        "as loaded": others[:DIGEST_CHARS],
        "tensors": str(altered["tensors"]),
    }


def _unread(soak: Json) -> Sequence[str]:
    """Say of which cells the weights were not read, and why."""
    told = (
        f"{row['cell']}: its weights are not read: {row['weights_unread']}"
        for row in soak["cells"]
        if row["weights_unread"]
    )
    return list(dict.fromkeys(told))


def _level_row(card: Json, level: str, slope: Json) -> dict[str, str]:
    return {
        "card": card["card"],
        "level": level,
        "last": figure(slope["last"]),
        "a batch": f"{slope['slope']:.4g} [{slope['lower']:.4g}, {slope['upper']:.4g}]",
        "limit": f"{slope['limit']:g}",
        "over batches": str(slope["batches"]),
        "verdict": "FAIL" if slope["leaks"] else "PASS",
    }


def _card_row(card: Json) -> dict[str, str]:
    return {
        "card": card["card"],
        "passes": str(card["passes"]),
        "batches": str(card["batches"]),
        "processes": str(card["processes"]),
        "hours": f"{card['wall_s'] / 3600:.3g}",
        "problem": "; ".join(card["problems"]),
    }


def _charts(series: Json) -> list[LineChart]:
    """Return the charts, all over the same passes: speeds, then sensors, then levels."""
    found = []
    for quantity, by_card in series["points"].items():
        title, axis, unit = AXES.get(quantity, (quantity, "seconds of audio a second", 1.0))
        cards = list(by_card.items())
        for first in range(0, len(cards), LINES_A_CHART):
            part = cards[first : first + LINES_A_CHART]
            found.append(_chart(title, axis, unit, part, series))
    return found


def _chart(
    title: str,
    axis: str,
    unit: float,
    cards: Sequence[tuple[str, Sequence[Sequence[float]]]],
    series: Json,
) -> LineChart:
    width, last = series["passes_a_point"], series["last_pass"]
    drawn = [
        Series(
            card,
            tuple((x - 1) / width for x, _ in points),
            tuple(y / unit for _, y in points),
        )
        for card, points in cards
    ]
    level = median(y for line in drawn for y in line.y)
    return lines(
        drawn,
        title=title,
        axis=f"{title}, {axis}",
        dates=[f"pass {n}" for n in range(1, last + 1, width)],
        level=(level, f"median {figure(level)}"),
    )
