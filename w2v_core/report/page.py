"""The frame of a page: one self-contained file without scripts, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from w2v_core.report.text import html_safe

__all__ = ["STYLE", "Cell", "chart", "document", "missing", "note", "section", "table"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""No script and no network, whatever gets into the page."""

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--muted:#57606a;--grid:#d5dae0;
--panel:#f4f6f8;--link:#0550ae;--good:#116329;--bad:#b3182a;--doubt:#7d4e00;
--good-back:#dff5e3;--bad-back:#ffe3e3;--doubt-back:#fff3cd;
--series-1:#0b62c4;--series-2:#b35900;--series-3:#2c7a3f;--series-4:#8250df;
--h1:#f0f5fd;--h2:#dbe8fb;--h3:#c3d9f7;--h4:#a9c8f2}
@media(prefers-color-scheme:dark){:root{--back:#0f1419;--text:#e6eaee;--muted:#a3adb8;
--grid:#3a434d;--panel:#1a2129;--link:#7ab7ff;--good:#7ee29a;--bad:#ff9a9a;--doubt:#f2c55c;
--good-back:#12341d;--bad-back:#4a1519;--doubt-back:#3d2e05;
--series-1:#6cb2ff;--series-2:#ffa657;--series-3:#7ee29a;--series-4:#d2a8ff;
--h1:#16212e;--h2:#1a2c42;--h3:#1e3857;--h4:#22456d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--back);color:var(--text);
font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25;margin:.3rem 0;padding:.6rem .8rem;border-radius:6px;
border-left:.5rem solid var(--doubt);background:var(--doubt-back)}
h1.plain{border-color:var(--muted);background:var(--panel)}
h1.good{border-color:var(--good);background:var(--good-back)}
h1.bad{border-color:var(--bad);background:var(--bad-back)}
h2{font-size:1.15rem;margin:2rem 0 .5rem;padding-top:.6rem;border-top:1px solid var(--grid)}
p{margin:.4rem 0;max-width:60rem}.note{color:var(--muted)}a{color:var(--link)}
.scroll{overflow-x:auto;max-width:100%}.scroll svg{display:block;width:100%;min-width:36rem;
height:auto}svg text{font-family:system-ui,sans-serif}
table{border-collapse:collapse;font-size:.87rem}
th,td{padding:.22rem .55rem;text-align:left;border-bottom:1px solid var(--grid);vertical-align:top}
thead th{background:var(--panel);white-space:nowrap}
tbody th{font-weight:500;min-width:13rem}.fit tbody th{min-width:0;white-space:nowrap}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.h1{background:var(--h1)}td.h2{background:var(--h2)}td.h3{background:var(--h3)}
td.h4{background:var(--h4)}
td.good,td.bad,td.doubt{font-weight:600;white-space:nowrap}td.good{color:var(--good)}
td.bad{color:var(--bad)}td.doubt{color:var(--doubt)}td.wide{min-width:20rem}
code,pre{font:.87em/1.45 ui-monospace,monospace}
pre{background:var(--panel);padding:.6rem .8rem;border-radius:6px;overflow-x:auto}
@media(max-width:40rem){.stack thead{display:none}.stack,.stack tbody{display:block}
.stack tr{display:block;border-bottom:1px solid var(--grid);padding:.3rem 0}
.stack th,.stack td,.stack td.n{display:block;border:0;text-align:left;min-width:0;
padding:.05rem 0}}
del{color:var(--bad);background:var(--bad-back)}ins{color:var(--good);background:var(--good-back)}
"""


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
    """Put markup below a heading."""
    return "\n".join((f"<section>\n<h2>{html_safe(title)}</h2>", *parts, "</section>"))


def note(text: str) -> str:
    """Say how a figure is meant."""
    return f'<p class="note">{html_safe(text, limit=2000)}</p>'


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
    narrow screen.
    """
    head = "".join(f'<th scope="col">{html_safe(h)}</th>' for h in headers)
    lines = ["<tr>" + "".join(_cell(c, i) for i, c in enumerate(row)) + "</tr>" for row in rows]
    classes = f' class="{kind}"' if kind else ""
    markup = f"<table{classes}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
    return _scroll(markup + "\n".join(lines) + "\n</tbody>\n</table>", label=label)


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
