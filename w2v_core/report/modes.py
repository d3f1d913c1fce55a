"""Lazy and eager side by side: the same cells of one card, measured in two processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from w2v_core.records.fields import FIGURES
from w2v_core.records.fingerprint import difference
from w2v_core.records.record import CellRecord
from w2v_core.records.store import StoredRun
from w2v_core.report.page import render
from w2v_core.report.tables import NOT_MEASURED, markdown_table, shown

MAX_NAMED = 5  # changed utterances of a cell
COMPARED = (
    *("rtfx", "round_median_s", "wer", "warm_up_s", "compile_s", "graph_captures"),
    "peak_memory_bytes",
)
ABOUT = (
    "lazy runs graphs as HPU graphs, eager as torch.compile; each mode has a process and a run of "
    "its own, on the same card, one after the other. RTFx is audio seconds per wall second of the "
    "median round; warm-up and compilation are outside of it. One process a mode shows the size of "
    "a difference, not whether it would repeat: w2v pair decides that."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellModes:
    """One cell in both modes; a side is None where that mode left no record of it."""

    cell: str
    lazy: CellRecord | None
    eager: CellRecord | None

    @property
    def changed(self) -> tuple[str, ...] | None:
        """Ids whose transcripts differ between the modes; None where a side is missing."""
        if self.lazy is None or self.eager is None:
            return None
        texts = [{s.utterance_id: s.hypothesis for s in r.scores} for r in (self.lazy, self.eager)]
        ids = texts[0].keys() | texts[1].keys()
        return tuple(sorted(i for i in ids if texts[0].get(i) != texts[1].get(i)))

    @property
    def speed_ratio(self) -> float | None:
        """RTFx of eager over that of lazy; None where a side is missing."""
        if self.lazy is None or self.eager is None or not self.lazy.rtfx:
            return None
        return self.eager.rtfx / self.lazy.rtfx


def pair_modes(lazy: StoredRun, eager: StoredRun) -> tuple[CellModes, ...]:
    """Put the records of two runs together by cell, in the first run's order."""
    sides = [{r.cell: r for r in run.records} for run in (lazy, eager)]
    return tuple(
        CellModes(cell=cell, lazy=sides[0].get(cell), eager=sides[1].get(cell))
        for cell in dict.fromkeys((*sides[0], *sides[1]))
    )


def render_modes_markdown(lazy: StoredRun, eager: StoredRun) -> str:
    """Return the comparison as Markdown, for a terminal and a CI's summary."""
    pairs = pair_modes(lazy, eager)
    return "\n".join(
        (f"**{_headline(pairs)}**", "", *markdown_table(_rows(pairs)), "", *_changed(pairs))
    )


def render_modes_page(lazy: StoredRun, eager: StoredRun) -> str:
    """Return the comparison as a self-contained page."""
    pairs = pair_modes(lazy, eager)
    return render(
        "modes.html.j2",
        headline=_headline(pairs),
        about=ABOUT,
        rows=_rows(pairs),
        changed=_changed(pairs),
        fields=difference(lazy.records[0].environment, eager.records[0].environment),
        sources=(lazy.source, eager.source),
    )


def _headline(pairs: Sequence[CellModes]) -> str:
    ratios = [p.speed_ratio for p in pairs if p.speed_ratio is not None]
    if not ratios:
        return "lazy and eager: no cell has both"
    changed = sum(len(p.changed or ()) for p in pairs)
    return (
        f"eager runs at {median(ratios):.2f} times lazy's RTFx (median over cells: {len(ratios)}, "
        f"{min(ratios):.2f} to {max(ratios):.2f}); {changed} transcripts changed"
    )


def _rows(pairs: Sequence[CellModes]) -> list[dict[str, str]]:
    return [
        _row(pair, mode, record)
        for pair in pairs
        for mode, record in (("lazy", pair.lazy), ("eager", pair.eager))
    ]


def _row(pair: CellModes, mode: str, record: CellRecord | None) -> dict[str, str]:
    figures = [FIGURES[name] for name in COMPARED]
    texts = {f.header: NOT_MEASURED if record is None else shown(f, record) for f in figures}
    if record is not None and record.rounds_s:
        shortest, longest = min(record.rounds_s), max(record.rounds_s)
        texts[FIGURES["round_median_s"].header] += f" ({shortest:.4g} - {longest:.4g})"
    return {
        "cell": pair.cell,
        "mode": mode,
        **texts,
        "valid": NOT_MEASURED if record is None else "yes" if record.valid else "NO",
        "changed": NOT_MEASURED if pair.changed is None else str(len(pair.changed)),
    }


def _changed(pairs: Sequence[CellModes]) -> list[str]:
    """Name the utterances whose transcripts differ, a line a cell."""
    lines = []
    for pair in pairs:
        if not pair.changed:
            continue
        named = ", ".join(pair.changed[:MAX_NAMED])
        more = len(pair.changed) - MAX_NAMED
        lines.append(f"{pair.cell}: {named}" + (f" and {more} more" if more > 0 else ""))
    return lines or ["no transcript differs between the modes"]
