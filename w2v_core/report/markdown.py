"""summary.md: the verdict first, then the cells that most speaks against. At most 60 kB.

Sixty kilobytes are what a CI's step summary takes; a longer one is dropped as a whole there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2v_core.records.record import TIMED_REGION, CellRecord
from w2v_core.report.ranking import headline, ranked, reasons, status, vanished, warnings
from w2v_core.report.tables import matrix
from w2v_core.report.text import markdown_safe, printable, shorten

if TYPE_CHECKING:
    from w2v_core.verdict.outcome import GateResult

__all__ = ["MAX_BYTES", "render"]

MAX_BYTES = 60_000
MOST_CELLS = 20
MOST_REASONS = 3
REASON_CHARS = 240
COMMAND_CHARS = 4000

SHOWN_FIELDS = (
    "processor",
    "card",
    "synapse_ai",
    "driver",
    "torch",
    "transformers",
    "python",
    "num_threads",
    "commit",
)


def render(
    records: Sequence[CellRecord],
    *,
    gate: GateResult | None = None,
    left_out: Sequence[str] = (),
) -> str:
    """Render a run as Markdown: the verdict, the top 20 by evidence, where the rest is.

    Args:
        records: The cells of one run.
        gate: What the gate made of them.
        left_out: Files that this run's directory lacks, each with its reason.
    """
    order = ranked(records, gate)
    lines = [
        f"# {markdown_safe(headline(records, gate))}",
        "",
        *_run(records),
        *_cells(order, gate),
        *_evidence(order, records, gate),
        *(f"- left out: {markdown_safe(reason)}" for reason in left_out),
        *_provenance(records),
    ]
    return _bounded("\n".join(lines) + "\n")


def _run(records: Sequence[CellRecord]) -> list[str]:
    if not records:
        return ["No cell.", ""]
    first = records[0]
    names = (_code(first.release), _code(first.run_id), _code(first.device_name))
    return ["Release {}, run {},\ndevice {}.".format(*names), ""]


def _cells(order: Sequence[CellRecord], gate: GateResult | None) -> list[str]:
    if not order:
        return []
    shown = matrix(order[:MOST_CELLS])
    shown["cell"] = [markdown_safe(r.cell, limit=120) for r in order[:MOST_CELLS]]
    if gate is not None:
        shown["verdict"] = [status(r, gate) for r in order[:MOST_CELLS]]
    left = len(order) - MOST_CELLS
    return [
        shown.to_markdown(index=False, disable_numparse=True),
        "",
        *([f"{left} more cells, less in question, are in [summary.html](summary.html).", ""])
        * (left > 0),
        f"RTFx is audio seconds per wall second of the median round; {TIMED_REGION}.",
        "WER is corpus-level. *changed* counts transcripts that differ from the golden ones.",
        "All figures: [summary.html](summary.html), [summary.csv](summary.csv).",
        "",
    ]


def _evidence(
    order: Sequence[CellRecord], records: Sequence[CellRecord], gate: GateResult | None
) -> list[str]:
    lines = [
        f"- **{markdown_safe(cell, limit=120)}** vanished: {markdown_safe(why, limit=REASON_CHARS)}"
        for cell, why in vanished(records, gate)[:MOST_CELLS]
    ]
    for record in order[:MOST_CELLS]:
        name = markdown_safe(record.cell, limit=120)
        against = reasons(record, gate)
        lines += [
            f"- **{name}** is {'invalid' if not record.valid else status(record, gate)}: "
            f"{markdown_safe(reason, limit=REASON_CHARS)}"
            for reason in against[:MOST_REASONS]
        ]
        if len(against) > MOST_REASONS:
            lines.append(f"- **{name}**: {len(against) - MOST_REASONS} more reasons")
        lines += [f"- **{name}**: {markdown_safe(w)}" for w in warnings(record)]
    return lines


def _provenance(records: Sequence[CellRecord]) -> list[str]:
    if not records:
        return []
    first = records[0]
    known = {name: first.environment.get(name) for name in SHOWN_FIELDS}
    shown = ", ".join(
        f"{k} {markdown_safe(str(v), limit=120)}" for k, v in known.items() if v is not None
    )
    return ["", f"Environment: {shown}.", "", "Command:", "", _block(first.command)]


def _bounded(text: str) -> str:
    """Cut at a line's end what is beyond the limit, as the last resort."""
    data = text.encode()
    if len(data) <= MAX_BYTES:
        return text
    ending = "\n\nCut off here; the rest is in [summary.html](summary.html).\n"
    kept = data[: MAX_BYTES - len(ending)].decode(errors="ignore")
    return kept[: kept.rfind("\n")] + ending


def _code(text: str) -> str:
    return f"`{printable(shorten(text, 200)).replace('`', chr(39))}`"


def _block(text: str) -> str:
    kept = shorten(text, COMMAND_CHARS)
    return "\n".join(f"    {printable(line)}" for line in kept.splitlines())
