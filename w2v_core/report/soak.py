"""The page of a soak: its series over the passes, what grows, which passes returned other ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from w2v_core.report.charts import LineChart, Series, lines
from w2v_core.report.page import render
from w2v_core.report.tables import text_table
from w2v_core.report.text import figure
from w2v_core.verdict.outcome import GateResult

KINDS = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "doubt"}
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
NUMBERS = frozenset(
    (
        *("passes", "batches", "processes", "hours", "RTFx", "wrong passes", "pass", "frame"),
        *("its id", "the first pass's id", "frames", "a batch", "limit", "over batches", "last"),
    )
)
LINES_A_CHART = 4
Json = Mapping[str, Any]


def render_soak_text(soak: Json, result: GateResult) -> str:
    """Return the soak for a terminal: the verdict, its tables, the reasons."""
    tables = [text_table(rows) for _, rows in _tables(soak) if rows]
    reasons = [f"- {reason}" for reason in soak["findings"]] if result.verdict != "PASS" else []
    return "\n".join([_headline(soak, result), *tables, *reasons])


def render_soak(soak: Json, result: GateResult) -> str:
    """Return the soak as a self-contained page."""
    return render(
        "soak.html.j2",
        headline=_headline(soak, result),
        kind=KINDS[result.verdict],
        kinds=KINDS,
        numbers=NUMBERS,
        reasons=soak["findings"] if result.verdict != "PASS" else (),
        tables=_tables(soak),
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
            "Passes that returned other ids",
            [_wrong_row(r, w) for r in soak["cells"] for w in r["wrong"]],
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
        "verdict": row["verdict"],
    }


def _wrong_row(row: Json, wrong: Json) -> dict[str, str]:
    return {
        "card": row["card"],
        "cell": row["cell"],
        "pass": str(wrong["pass"]),
        "ended": wrong["at_utc"],
        "utterance": wrong["utterance_id"],
        "frame": str(wrong["frame"]),
        "its id": str(wrong["own"]),
        "the first pass's id": str(wrong["others"]),
        "frames": str(wrong["num_frames"]),
    }


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
