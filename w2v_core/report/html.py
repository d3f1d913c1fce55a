"""summary.html: a run on one page, the verdict first. The same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2v_core.records.record import CellRecord
from w2v_core.report import accuracy_sections, speed_sections, stage_sections, verdict_sections
from w2v_core.report.matrix import matrix
from w2v_core.report.overview import header
from w2v_core.report.page import document, navigation
from w2v_core.report.ranking import headline, ranked
from w2v_core.report.trend import History, trends

if TYPE_CHECKING:
    from w2v_core.verdict.baseline import Baseline
    from w2v_core.verdict.calibrate import Calibration
    from w2v_core.verdict.outcome import GateResult

__all__ = ["SECTIONS", "render_page"]

SECTIONS = (
    "Worst cells",
    "Matrix",
    "Throughput",
    "WER",
    "WER cost of stock padding",
    "Latency",
    "Stages",
    "Buckets and padding",
    "Nights",
    "Warnings",
    "Worst utterances",
    "Fingerprint",
    "Command",
)


def render_page(
    records: Sequence[CellRecord],
    *,
    gate: GateResult | None = None,
    calibration: Calibration | None = None,
    history: History | None = None,
    baseline: Baseline | None = None,
) -> str:
    """Render a run as a self-contained page; blocks for about a second.

    A section whose data is missing says so and what would bring it.

    Args:
        records: The cells of one run.
        gate: What the gate made of them.
        calibration: The gate's measured error rates.
        history: Earlier nights by cell, for the trend; this run is added to them.
        baseline: The baseline in force, whose anchor the trend is drawn against.
    """
    order = ranked(records, gate)
    nights = trends(history, records, baseline) if history is not None else None
    body = [
        header(records, gate, calibration),
        navigation(SECTIONS),
        verdict_sections.worst_cells(order, gate),
        matrix(order, gate),
        speed_sections.throughput(order, gate),
        accuracy_sections.wer(order),
        accuracy_sections.padding(records),
        speed_sections.latency(order),
        stage_sections.stages(order),
        stage_sections.batching(order),
        speed_sections.trend(nights, has_anchor=baseline is not None),
        verdict_sections.doubts(order),
        accuracy_sections.worst_utterances(records),
        verdict_sections.fingerprint(records),
        verdict_sections.command(records),
    ]
    return document(title=f"{headline(records, gate)} - w2v", body=body)
