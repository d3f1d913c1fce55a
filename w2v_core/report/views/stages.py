"""Where a pass spends its time and its frames: stages, buckets."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from w2v_core.records.record import SERIAL_STAGES, BucketUse
from w2v_core.report.charts import Bar, Chart, shares
from w2v_core.report.views.ranking import Standing
from w2v_core.types import FRAME_STRIDE, SAMPLE_RATE_HZ

STAGE_NAMES = ("staging and H2D", "compute", "D2H", "CTC decoding")  # in SERIAL_STAGES' order
MOST_USES = 4


class StageRow(NamedTuple):
    """A serial pass of one cell by stage, beside its timed round."""

    label: str
    stages_s: tuple[float, ...]
    median_s: float | None

    @property
    def serial_s(self) -> float:
        """Seconds of the pass when no two stages overlap."""
        return sum(self.stages_s)

    @property
    def gain(self) -> float | None:
        """What overlapping saves: serial seconds over the median round."""
        return self.serial_s / self.median_s if self.median_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How the cells of one set and plan use their buckets."""

    dataset: str
    plan: str
    num_cells: int
    buckets: tuple[BucketUse, ...]

    @property
    def total(self) -> BucketUse:
        """The sums over the buckets."""
        names = ("num_batches", "num_utterances", "real_frames", "padded_frames")
        sums = {name: sum(getattr(use, name) for use in self.buckets) for name in names}
        return BucketUse(num_frames=0, batch_size=0, **sums)

    def share(self, use: BucketUse) -> float:
        """Return a bucket's part of all padded frames, a fraction."""
        total = self.total.padded_frames
        return use.padded_frames / total if total else 0.0


def row_s(use: BucketUse) -> float:
    """Return the seconds of audio that one row of a bucket holds."""
    return use.num_frames * FRAME_STRIDE / SAMPLE_RATE_HZ


def stage_rows(order: Sequence[Standing]) -> list[StageRow]:
    """Return the cells that hold stage times."""
    rows = [
        StageRow(
            cell.label,
            tuple((cell.record.serial_stage_s or {}).get(stage, 0.0) for stage in SERIAL_STAGES),
            statistics.median(cell.record.rounds_s) if cell.record.rounds_s else None,
        )
        for cell in order
    ]
    return [row for row in rows if row.serial_s > 0]


def stage_chart(rows: Sequence[StageRow]) -> Chart | None:
    """Place each stage's share of a serial pass; None where no cell holds stage times."""
    bars = [
        Bar(
            row.label,
            tuple(round(value / row.serial_s * 100, 2) for value in row.stages_s),
            "" if row.gain is None else f"{row.gain:.2f} \u00d7",
        )
        for row in rows
    ]
    return shares(
        bars,
        parts=STAGE_NAMES,
        title="Share of a serial pass by stage and cell",
        axis="% of a serial pass; the figure is the gain",
    )


def uses(order: Sequence[Standing]) -> list[Use]:
    """Group the cells that use their buckets alike."""
    records = [cell.record for cell in order]
    groups = Counter((r.dataset, r.batch_plan, r.buckets) for r in records if r.buckets)
    return [
        Use(dataset=dataset, plan=plan, num_cells=count, buckets=buckets)
        for (dataset, plan, buckets), count in groups.items()
    ]
