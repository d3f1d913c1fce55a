"""Text that others wrote (ids, paths, transcripts, errors), made fit to be shown.

A report is read in terminals, spreadsheets, Markdown viewers and browsers. Each of them executes
something: escape sequences, formulas, markup, scripts. Nothing foreign enters a report but through
one of these functions.
"""

from __future__ import annotations

import html
import re

from w2v_core.printable import printable, shorten

_JSON_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MARKUP = re.compile(r"[\\<>|*`\[\]~$]|(?<!\w)_|_(?!\w)")
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?\d*\.?\d+(e[+-]?\d+)?$", re.IGNORECASE)


def html_safe(text: str, *, limit: int = 400) -> str:
    """Make text part of an HTML page, in an element or in a quoted attribute."""
    return html.escape(printable(shorten(text, limit)), quote=True)


def markdown_safe(text: str, *, limit: int = 400) -> str:
    """Make text part of a line of Markdown, inside or outside of a table."""
    flat = printable(shorten(" ".join(text.split()), limit))
    return _MARKUP.sub(lambda match: f"\\{match.group()}", flat.replace("&", "&amp;"))


def csv_safe(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula: an apostrophe goes before it."""
    shown = printable(text)
    is_formula = shown.startswith(_FORMULA) and not _NUMBER.match(shown)
    return f"'{shown}" if is_formula else shown


def figure(value: float | None) -> str:
    """Show a number with four digits and no exponent where it can be read without."""
    if value is None:
        return "-"
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"


def json_line_safe(line: str) -> str:
    """Escape within JSON text what splits lines, steers a terminal or does not encode."""
    return _JSON_UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", line)
