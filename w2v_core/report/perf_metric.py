"""perf_metric.csv: the columns of the vendor's wav2vec.py, one row an utterance.

A token is an audio sample there. Each row is about one utterance and no other:

- *End-to-End* is measured: the median over the timed rounds of the time from its batch's staging to
  its transcript on the host. Utterances of a batch wait for each other, so the rows do not add up
  to the wall time.
- *Tokenize* (staging; normalising is done before the timed region) and *Decode* are the round's
  host time by the utterance's share of the audio.
- *Compute* is the rest: the forward, the copies, and waiting in the pipeline.

A figure that the record does not hold stays empty. Two columns are added on the right: the cell and
the utterance id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2v_core.records.record import CellRecord
from w2v_core.report.text import csv_safe
from w2v_core.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "Sample Length(tokens)",
    "Tokenize(ms)",
    "Compute(ms)",
    "Decode(ms)",
    "End-to-End(ms)",
    "ThroughPut(ms/10k_tokens)",
    "cell",
    "utterance_id",
)


def perf_metric(records: Sequence[CellRecord]) -> pd.DataFrame:
    """Return one row an utterance of every cell, in the order measured; milliseconds."""
    import pandas as pd

    return pd.DataFrame([row for r in records for row in _rows(r)], columns=list(COLUMNS))


def _rows(record: CellRecord) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for score in record.scores:
        share = score.audio_s / record.audio_s if record.audio_s else 0.0
        tokenize = record.stage_s.get("stage", 0.0) * share * 1e3
        decode = record.stage_s.get("decode", 0.0) * share * 1e3
        tokens = round(score.audio_s * SAMPLE_RATE_HZ)
        total = None if score.latency_s is None else score.latency_s * 1e3
        timed = total is not None and tokens > 0
        rows.append(
            (
                tokens,
                tokenize if timed else None,
                max(0.0, total - tokenize - decode) if total is not None and timed else None,
                decode if timed else None,
                total,
                total / tokens * 1e4 if total is not None and timed else None,
                csv_safe(record.cell),
                csv_safe(score.utterance_id),
            )
        )
    return rows
