"""Text that others wrote (ids, paths, transcripts, errors), made fit for a terminal and a message.

No control, no direction override and no lone surrogate gets through, and one name's output is
bounded, whatever the name holds.
"""

from __future__ import annotations

import re

# Controls (C0, DEL, C1), line and paragraph separators, direction overrides, the byte-order mark,
# tags, and lone surrogates, which no UTF-8 file can hold.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_NAMED = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
VALUE_CHARS = 80
"""Characters of a value that a message shows."""


def printable(text: str) -> str:
    r"""Show what a terminal would obey: ESC becomes ``\x1b``, a newline ``\n``."""
    return _UNPRINTABLE.sub(_escaped, text)


def shorten(text: str, limit: int) -> str:
    """Cut text beyond ``limit`` characters and say how long it was."""
    return text if len(text) <= limit else f"{text[:limit]}\u2026 ({len(text)} characters)"


def shown(value: object, *, limit: int = VALUE_CHARS) -> str:
    """Return a value as a message quotes it: its repr, printable, at most about ``limit`` long."""
    if isinstance(value, str):
        value = shorten(value, limit)
    elif isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    elif isinstance(value, int) and abs(value).bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    return shorten(printable(repr(value)), 2 * limit)


def one_line(error: BaseException) -> str:
    """Return an exception's class and what it says first, printable and bounded."""
    text = printable(first_said(str(error))[:300])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def first_said(text: str) -> str:
    """Return a text's first line, with those behind it that a colon at a line's end announces."""
    said = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        said = f"{said} {line}".strip()
        if not line.endswith(":"):
            break
    return said


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return _NAMED.get(match.group()) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
