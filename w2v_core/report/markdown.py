"""summary.md: the verdict first, then the cells that most speaks against. At most 60 kB.

Sixty kilobytes are what a CI's step summary takes; a longer one is dropped as a whole there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from w2v_core.printable import printable, shorten
from w2v_core.records.fields import MACHINE_KEYS, RELEASE_KEYS
from w2v_core.records.record import TIMED_REGION, CellRecord
from w2v_core.report.tables import markdown_table, matrix
from w2v_core.report.text import markdown_safe
from w2v_core.report.views.ranking import Standing, absent, doubts, headline, is_alone, standings
from w2v_core.verdict.outcome import GateResult
from w2v_core.verdict.run import Run

MAX_BYTES = 60_000
MOST_CELLS = 20
MOST_REASONS = 3
REASON_CHARS = 240
NAME_CHARS = 120
COMMAND_CHARS = 4000
_NOTE_BYTES = 120  # kept free for what was left out
_PAGE = "[summary.html](summary.html)"


def render_markdown(run: Run, *, left_out: Sequence[str] = ()) -> str:
    """Render a run as Markdown: the verdict, the top 20 by evidence, where the rest is.

    Args:
        run: The run and what was made of it.
        left_out: Files that this run's directory lacks, each with its reason.
    """
    order = standings(run)
    lines = [
        f"# {markdown_safe(headline(run))}",
        "",
        *_run(run.records),
        *_cells(order, run.verdict),
        *_evidence(order, run),
        *(f"- left out: {markdown_safe(reason)}" for reason in left_out),
        *_provenance(run.records),
    ]
    return bounded(lines, rest=f"; the rest is in {_PAGE}")


def bounded(lines: Sequence[str], *, limit: int | None = None, rest: str = "") -> str:
    """Join lines up to ``limit`` bytes (``MAX_BYTES``), and say how many were left out."""
    limit = MAX_BYTES if limit is None else limit
    kept: list[str] = []
    size, whole = 0, sum(len(line.encode()) + 1 for line in lines)
    for index, line in enumerate(lines):
        size += len(line.encode()) + 1
        if whole > limit and size > limit - _NOTE_BYTES:
            return "\n".join([*kept, "", f"{len(lines) - index} more lines left out{rest}."]) + "\n"
        kept.append(line)
    return "\n".join(kept) + "\n"


def _run(records: Sequence[CellRecord]) -> list[str]:
    if not records:
        return ["No cell.", ""]
    first = records[0]
    names = (_code(first.release), _code(first.run_id), _code(first.device_name))
    return ["Release {}, run {},\ndevice {}.".format(*names), ""]


def _cells(order: Sequence[Standing], verdict: GateResult | None) -> list[str]:
    if not order:
        return []
    rows = matrix([cell.record for cell in order[:MOST_CELLS]])
    if not is_alone(verdict):
        rows = [{**row, "verdict": c.status} for c, row in zip(order, rows, strict=False)]
    left = len(order) - MOST_CELLS
    return [
        *markdown_table(rows),
        "",
        *([f"{left} more cells, less in question, are in {_PAGE}.", ""] if left > 0 else []),
        f"RTFx is audio seconds per wall second of the median round; {TIMED_REGION}.",
        "WER is corpus-level. *changed* counts transcripts that differ from the golden ones.",
        f"All figures: {_PAGE}, [summary.csv](summary.csv).",
        "",
    ]


def _evidence(order: Sequence[Standing], run: Run) -> Iterator[str]:
    for lost in absent(run)[:MOST_CELLS]:
        yield f"- **{_name(lost.cell)}** {lost.status}: {_reason(lost.why)}"
    for cell in order[:MOST_CELLS]:
        name, against = _name(cell.record.cell), cell.reasons
        state = cell.status if cell.record.valid else "invalid"
        yield from (f"- **{name}** is {state}: {_reason(r)}" for r in against[:MOST_REASONS])
        if len(against) > MOST_REASONS:
            yield f"- **{name}**: {len(against) - MOST_REASONS} more reasons"
    for cells, doubt in doubts(order[:MOST_CELLS]):
        yield f"- **{_name(cells)}**: {markdown_safe(doubt)}"


def _provenance(records: Sequence[CellRecord]) -> list[str]:
    if not records:
        return []
    known = records[0].environment
    told = [
        f"{key} {markdown_safe(str(known[key]), limit=NAME_CHARS)}"
        for key in (*RELEASE_KEYS, *MACHINE_KEYS)
        if known.get(key) is not None
    ]
    return ["", f"Environment: {', '.join(told)}.", "", "Command:", "", _block(records[0].command)]


def _reason(text: str) -> str:
    return markdown_safe(text, limit=REASON_CHARS)


def _name(cell: str) -> str:
    return markdown_safe(cell, limit=NAME_CHARS)


def _code(text: str) -> str:
    return f"`{printable(shorten(text, 200)).replace('`', chr(39))}`"


def _block(text: str) -> str:
    kept = shorten(text, COMMAND_CHARS)
    return "\n".join(f"    {printable(line)}" for line in kept.splitlines())
