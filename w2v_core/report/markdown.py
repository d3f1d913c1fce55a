"""summary.md: the verdict first, then the matrix, then what makes a cell invalid."""

from __future__ import annotations

from collections.abc import Sequence

from w2v_core.bench.record import TIMED_REGION, CellRecord
from w2v_core.report.tables import matrix

__all__ = ["render"]

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


def render(records: Sequence[CellRecord]) -> str:
    """Render a run as Markdown."""
    valid = sum(r.valid for r in records)
    first = records[0] if records else None
    lines = [f"# {valid} of {len(records)} cells valid", ""]
    if first is not None:
        lines += [
            f"Release `{_code(first.release)}`, run `{_code(first.run_id)}`,",
            f"device `{_code(first.device_name)}`.",
            "",
        ]
    lines += [
        matrix(records).to_markdown(index=False, disable_numparse=True) if records else "No cell.",
        "",
        f"RTFx is audio seconds per wall second of the median round; {TIMED_REGION}.",
        "WER is corpus-level. *changed* counts transcripts that differ from the golden ones.",
        "",
    ]
    lines += [
        f"- **{r.cell}** is invalid: {_text(reason)}"
        for r in records
        for reason in r.invalid_reasons
    ]
    if first is not None:
        known = {name: first.environment.get(name) for name in SHOWN_FIELDS}
        shown = ", ".join(f"{k} {v}" for k, v in known.items() if v is not None)
        lines += ["", f"Environment: {_text(shown)}.", "", "Command:", "", _block(first.command)]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ")


def _text(text: str) -> str:
    """Keep hostile text from becoming markup."""
    flat = " ".join(text.split())
    for mark in ("\\", "<", ">", "|", "*", "_", "`", "[", "]"):
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def _block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
