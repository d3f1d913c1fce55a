"""The parts of a page about where a pass spends its time and its frames: stages, buckets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from w2v_core.records.record import SERIAL_STAGES, BucketUse, CellRecord
from w2v_core.report import plots
from w2v_core.report.names import labels, shared
from w2v_core.report.page import Cell, chart, missing, note, section, subsection, table
from w2v_core.report.speed_sections import MOST_ROWS, NO_CHARTS, drawn_of
from w2v_core.report.text import figure
from w2v_core.types import FRAME_STRIDE, SAMPLE_RATE_HZ

__all__ = ["batching", "stages"]

STAGE_NAMES = dict(
    zip(
        SERIAL_STAGES,
        ("staging and H2D", "compute", "D2H", "CTC decoding"),
        strict=True,
    )
)
MOST_USES = 4
LOW = 0.5  # padding efficiency below it is marked


def stages(order: Sequence[CellRecord]) -> str:
    """Draw where a pass spends its time when no two stages overlap, beside the timed round."""
    title = "Stages"
    measured = [r for r in order if sum(_seconds(r)) > 0]
    if not measured:
        return section(title, missing("no cell holds stage times; they come with every new run."))
    parts = [
        note(
            "One batch of each bucket, times its batches, with a synchronisation after every "
            "stage: seconds that add up, measured outside the timed region. In the timed rounds "
            "the stages overlap; the gain is what that saves: serial seconds over the median round."
            f"{drawn_of(measured)}{shared(order)}"
        )
    ]
    return section(title, *parts, _stage_chart(measured, order), _stage_table(measured, order))


def _stage_chart(measured: Sequence[CellRecord], order: Sequence[CellRecord]) -> str:
    if not plots.can_draw():
        return missing(NO_CHARTS)
    name = labels(order)
    rows = []
    for record in measured[:MOST_ROWS]:
        values = _seconds(record)
        shares = tuple(value / sum(values) * 100 for value in values)
        rows.append(plots.Bar(name[record.cell], shares))
    drawn = plots.bars(
        rows,
        parts=list(STAGE_NAMES.values()),
        name="stages",
        title="Share of a serial pass by stage and cell",
        axis="% of a serial pass",
        stacked=True,
    )
    return chart(drawn, label="Stages")


def _seconds(record: CellRecord) -> list[float]:
    found = record.serial_stage_s or {}
    return [found.get(stage, 0.0) for stage in SERIAL_STAGES]


def _stage_table(measured: Sequence[CellRecord], order: Sequence[CellRecord]) -> str:
    rows, name = [], labels(order)
    for record in measured[:MOST_ROWS]:
        values = _seconds(record)
        serial_s = sum(values)
        median_s = statistics.median(record.rounds_s) if record.rounds_s else 0.0
        rows.append(
            [
                Cell(name[record.cell]),
                *(Cell(figure(value * 1e3), "n") for value in values),
                Cell(figure(serial_s), "n"),
                Cell(figure(median_s) if median_s else "-", "n"),
                Cell(f"{serial_s / median_s:.2f}" if median_s else "-", "n"),
            ]
        )
    names = [f"{name} ms" for name in STAGE_NAMES.values()]
    headers = ("cell", *names, "serial s", "median round s", "gain \u00d7")
    return table(headers, rows, label="Stages by cell", kind="fit")


def batching(order: Sequence[CellRecord]) -> str:
    """Show how the plans use their buckets, and what warming them up took."""
    title = "Buckets and padding"
    if not order:
        return section(title, missing("no cell was measured."))
    groups: dict[tuple[str, str, tuple[BucketUse, ...]], list[CellRecord]] = {}
    for record in order:
        if record.buckets:
            key = (record.dataset, record.batch_plan, record.buckets)
            groups.setdefault(key, []).append(record)
    parts = [
        note(
            "A bucket is a static shape: frames of 20 ms by rows. Padded frames are all of the "
            "shape, padding rows included; efficiency is real over padded frames. A packed plan "
            "does not compute the padding. Cells of the same set and plan are shown once."
        )
    ]
    for (dataset, plan, uses), cells in list(groups.items())[:MOST_USES]:
        count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
        parts.append(subsection(f"{dataset}, plan {plan}: {count}", _use_table(uses)))
    if not groups:
        parts.append(missing("no cell holds the use of its buckets; new runs do."))
    elif len(groups) > MOST_USES:
        parts.append(note(f"{len(groups) - MOST_USES} more are in run.json."))
    return section(title, *parts, subsection("Warm-up and steady state", _plan_table(order)))


def _use_table(uses: Sequence[BucketUse]) -> str:
    padded = sum(use.padded_frames for use in uses)
    rows = [
        _use_row(
            f"{use.num_frames} \u00d7 {use.batch_size}",
            f"{use.num_frames * FRAME_STRIDE / SAMPLE_RATE_HZ:.2f}",
            use,
            share=use.padded_frames / padded if padded else 0.0,
        )
        for use in uses
    ]
    total = BucketUse(
        num_frames=0,
        batch_size=0,
        num_batches=sum(use.num_batches for use in uses),
        num_utterances=sum(use.num_utterances for use in uses),
        real_frames=sum(use.real_frames for use in uses),
        padded_frames=padded,
    )
    rows.append(_use_row("all", "", total, share=1.0))
    headers = (
        "bucket, frames \u00d7 rows",
        "seconds a row",
        "batches",
        "utterances",
        "real frames",
        "padded frames",
        "efficiency",
        "share of padded frames",
    )
    return table(headers, rows, label="Use of buckets", kind="fit total")


def _use_row(name: str, seconds: str, use: BucketUse, *, share: float) -> list[Cell]:
    efficiency = use.padding_efficiency
    meter = f'<span class="meter"><i style="width:{share * 100:.1f}%"></i></span>{share:.1%}'
    return [
        Cell(name),
        Cell(seconds, "n"),
        Cell(str(use.num_batches), "n"),
        Cell(str(use.num_utterances), "n"),
        Cell(f"{use.real_frames:,}", "n"),
        Cell(f"{use.padded_frames:,}", "n"),
        Cell(f"{efficiency:.3f}", "n doubt" if efficiency < LOW else "n"),
        Cell(meter, is_markup=True),
    ]


def _plan_table(order: Sequence[CellRecord]) -> str:
    rows = [
        [
            Cell(r.cell),
            Cell(r.batch_plan),
            Cell(f"{r.padding_efficiency:.3f}", "n"),
            Cell(str(r.graph_captures), "n"),
            Cell(f"{r.warm_up_s:.3g}", "n"),
            Cell(f"{r.captures_timed} / {r.compilations_timed} / {r.cpu_fallbacks_timed}", "n"),
        ]
        for r in order
    ]
    headers = (
        "cell",
        "plan",
        "efficiency in samples",
        "captures",
        "warm-up s",
        "timed captures / compilations / fallbacks",
    )
    return table(headers, rows, label="Warm-up and steady state by cell")
