"""The parts of a page about words: WER, what stock padding costs, the worst utterances."""

from __future__ import annotations

from collections.abc import Sequence

from w2v_core.records.record import CellRecord
from w2v_core.report import plots
from w2v_core.report.accuracy import Piece, align, padding_costs, wer_interval, worst
from w2v_core.report.names import labels, shared
from w2v_core.report.page import Cell, chart, missing, note, section, table
from w2v_core.report.speed_sections import MOST_ROWS, NO_CHARTS
from w2v_core.report.text import html_safe

__all__ = ["padding", "wer", "worst_utterances"]

WORD_CHARS = 60


def wer(order: Sequence[CellRecord]) -> str:
    """Draw the WER by cell with its interval."""
    title = "WER"
    measured = [r for r in order if r.wer is not None]
    if not measured:
        return section(title, missing("no cell has references."))
    if not plots.can_draw():
        return section(title, missing(NO_CHARTS))
    rows, name = [], labels(order)
    for record in measured[:MOST_ROWS]:
        value = (record.wer or 0.0) * 100
        low, high = wer_interval(record.scores) or (record.wer or 0.0, record.wer or 0.0)
        rows.append(
            plots.Bar(name[record.cell], (value, low * 100, high * 100), is_bad=not record.valid)
        )
    recipes = ", ".join(sorted({r.text_normalisation for r in measured}))
    left = len(measured) - len(rows)
    more = f" Drawn are {len(rows)} of {len(measured)} cells." if left else ""
    drawn = plots.points(
        rows, name="wer", title="Corpus WER by cell with its 95 % interval", axis="WER, %"
    )
    return section(
        title,
        note(
            "Corpus WER with the 95 % interval of its sampling error, speakers as units where "
            "there are eight or more, else utterances. Cells share their utterances, so the "
            f"difference of two is known much better than this. Text normalisation: {recipes}."
            f"{more}{shared(order)}"
        ),
        chart(drawn, label=title),
    )


def padding(records: Sequence[CellRecord]) -> str:
    """Show what the stock forward's padding costs beside the exact one."""
    title = "WER cost of stock padding"
    costs = padding_costs(records)
    if not costs:
        return section(title, missing("needs both forwards: pytest --forwards exact,stock."))
    rows = [
        [
            Cell(c.stock.cell),
            Cell(f"{(c.exact.wer or 0.0) * 100:.3f}", "n"),
            Cell(f"{(c.stock.wer or 0.0) * 100:.3f}", "n"),
            Cell(f"{c.delta * 100:+.3f}", "n bad" if c.delta > 0 else "n"),
            Cell(f"{c.exact.rtfx / c.stock.rtfx:.3f}" if c.stock.rtfx > 0 else "-", "n"),
        ]
        for c in costs[:MOST_ROWS]
    ]
    headers = ("stock cell", "exact WER %", "stock WER %", "cost, points", "exact / stock RTFx")
    return section(
        title,
        note("Stock is the Hugging Face forward, whose padding leaks into the transcripts."),
        table(headers, rows, label=title),
    )


def worst_utterances(records: Sequence[CellRecord]) -> str:
    """Align the utterances with most errors."""
    title = "Worst utterances"
    found = worst(records)
    if not found:
        has_words = any(r.wer is not None for r in records)
        text = "<p>Every transcript equals its reference.</p>"
        return section(title, text if has_words else missing("no cell has references."))
    rows = [
        [
            Cell(
                f"{html_safe(bad.score.utterance_id)}"
                f'<span class="sub">{html_safe(bad.cell)}</span>',
                is_markup=True,
            ),
            Cell(f"{bad.edits} / {bad.score.reference_words}", "n"),
            Cell(_markup(align(bad)), "wide", is_markup=True),
        ]
        for bad in found
    ]
    return section(
        title,
        note(
            "Each in its worst cell, up to 200 words: struck out is what the reference has, "
            "underlined what the hypothesis has instead."
        ),
        table(("utterance", "errors / words", "alignment"), rows, label=title, kind="stack"),
    )


def _markup(pieces: Sequence[Piece]) -> str:
    parts = []
    for piece in pieces:
        if piece.operation == "equal":
            parts.append(_words(piece.reference))
            continue
        parts += [f"<del>{_words(piece.reference)}</del>"] if piece.reference else []
        parts += [f"<ins>{_words(piece.hypothesis)}</ins>"] if piece.hypothesis else []
    return " ".join(parts)


def _words(words: Sequence[str]) -> str:
    return " ".join(html_safe(word, limit=WORD_CHARS) for word in words)
