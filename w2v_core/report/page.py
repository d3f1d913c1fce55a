"""The frame of a page: one self-contained file without scripts, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from w2v_core.report.style import STYLE
from w2v_core.report.text import html_safe

__all__ = [
    "Cell",
    "chart",
    "document",
    "lines",
    "missing",
    "navigation",
    "note",
    "section",
    "subsection",
    "table",
]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""No script and no network, whatever gets into the page."""


class Cell(NamedTuple):
    """A table cell: text that is escaped, and its classes (n number, h1-h4 heat, good, bad)."""

    text: str
    classes: str = ""
    is_markup: bool = False
    """Whether the text is markup made here, to be taken as it is."""


def document(*, title: str, body: Iterable[str]) -> str:
    """Frame a page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{html_safe(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Put markup below a heading that ``navigation`` can point at."""
    head = f'<section id="{_anchor(title)}">\n<h2>{html_safe(title)}</h2>'
    return "\n".join((head, *parts, "</section>"))


def subsection(title: str, *parts: str) -> str:
    """Put markup below a heading within a section."""
    return "\n".join((f"<h3>{html_safe(title)}</h3>", *parts))


def navigation(titles: Iterable[str]) -> str:
    """Link the sections of a page."""
    links = (f'<a href="#{_anchor(title)}">{html_safe(title)}</a>' for title in titles)
    return f'<nav aria-label="Sections">{" ".join(links)}</nav>'


def note(text: str) -> str:
    """Say how a figure is meant."""
    return f'<p class="note">{html_safe(text, limit=2000)}</p>'


def lines(texts: Iterable[str]) -> str:
    """Put each text on a line of its own; markup for a cell."""
    return "<br>".join(html_safe(text) for text in texts)


def missing(text: str) -> str:
    """Say that data is missing, and what would bring it."""
    return f"<p>Not shown: {html_safe(text, limit=2000)}</p>"


def chart(svg: str, *, label: str) -> str:
    """Let a drawing scroll within the page where the page is narrower."""
    return _scroll(svg, label=label)


def table(
    headers: Sequence[str], rows: Iterable[Sequence[Cell]], *, label: str, kind: str = ""
) -> str:
    """Write a table; the first cell of a row is its heading.

    ``kind`` is ``fit`` for short headings, ``stack`` for a table whose rows become paragraphs on a
    narrow screen, ``grid`` for tiles, ``total`` where the last row sums up the others.
    """
    head = "".join(f'<th scope="col">{html_safe(h)}</th>' for h in headers)
    body = ["<tr>" + "".join(_cell(c, i) for i, c in enumerate(row)) + "</tr>" for row in rows]
    if body and "total" in kind.split():
        body[-1] = body[-1].replace("<tr>", '<tr class="total">', 1)
    classes = f' class="{kind}"' if kind else ""
    markup = f"<table{classes}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
    return _scroll(markup + "\n".join(body) + "\n</tbody>\n</table>", label=label)


def _anchor(title: str) -> str:
    return "-".join(title.lower().split())


def _cell(cell: Cell, column: int) -> str:
    text = cell.text if cell.is_markup else html_safe(cell.text)
    kind = f' class="{cell.classes}"' if cell.classes else ""
    return f'<th scope="row"{kind}>{text}</th>' if column == 0 else f"<td{kind}>{text}</td>"


def _scroll(markup: str, *, label: str) -> str:
    """Wrap what may be wide; focusable, so that a keyboard can scroll it."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html_safe(label)}">'
        f"{markup}</div>"
    )
