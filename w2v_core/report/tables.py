"""Records as pandas tables: raw numbers for files, formatted ones for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2v_core.records.record import CellRecord
from w2v_core.report.text import csv_safe, figure, printable, shorten

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "matrix", "row", "summary"]

MAX_TEXT_CHARS = 30_000  # a spreadsheet's cell takes 32,767

COLUMNS = (
    "cell",
    "device",
    "device_name",
    "model",
    "dtype",
    "dataset",
    "graphs",
    "forward",
    "batch_plan",
    "num_utterances",
    "audio_s",
    "wer",
    "golden_wer",
    "substitutions",
    "deletions",
    "insertions",
    "reference_words",
    "rtfx",
    "utterances_per_s",
    "latency_p50_s",
    "latency_p90_s",
    "latency_p99_s",
    "round_median_s",
    "num_rounds",
    "warm_up_s",
    "padding_efficiency",
    "graph_captures",
    "compilations_timed",
    "cpu_fallbacks_timed",
    "peak_memory_bytes",
    "num_changed_vs_golden",
    "logit_distance",
    "valid",
    "invalid_reasons",
)


def row(record: CellRecord) -> dict[str, object]:
    """Return one record as a flat row of raw SI numbers."""
    changed = record.changed_vs_golden
    values: dict[str, object] = {
        name: getattr(record, name) for name in COLUMNS if hasattr(record, name)
    }
    rounds = record.rounds_s
    values.update(
        latency_p50_s=record.latency_s.get("p50"),
        latency_p90_s=record.latency_s.get("p90"),
        latency_p99_s=record.latency_s.get("p99"),
        round_median_s=statistics.median(rounds) if rounds else None,
        num_rounds=len(rounds),
        num_changed_vs_golden=None if changed is None else len(changed),
        invalid_reasons="; ".join(record.invalid_reasons),
    )
    return {name: values[name] for name in COLUMNS}


def summary(records: Sequence[CellRecord]) -> pd.DataFrame:
    """Return one row a cell, in the order measured: raw numbers, text fit for a spreadsheet."""
    import pandas as pd

    rows = [
        {
            name: csv_safe(shorten(value, MAX_TEXT_CHARS)) if isinstance(value, str) else value
            for name, value in row(r).items()
        }
        for r in records
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def matrix(records: Sequence[CellRecord]) -> pd.DataFrame:
    """Return the few columns that people look at, as text."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "cell": printable(shorten(r.cell, 200)),
                "WER %": "-" if r.wer is None else f"{r.wer * 100:.2f}",
                "RTFx": figure(r.rtfx),
                "p50 ms": figure(r.latency_s.get("p50", 0.0) * 1e3),
                "p99 ms": figure(r.latency_s.get("p99", 0.0) * 1e3),
                "padding eff.": f"{r.padding_efficiency:.0%}",
                "changed": "-" if r.changed_vs_golden is None else str(len(r.changed_vs_golden)),
                "valid": "yes" if r.valid else "NO",
            }
            for r in records
        ]
    )
