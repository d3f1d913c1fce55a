"""The files of a run in ``reports/<release>/<run>/``: whole, or the run stays marked incomplete."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.jsonfile import write_bytes
from w2v_core.records.record import CellRecord
from w2v_core.records.store import (
    as_report_error,
    finish,
    write_file_bytes,
    write_run_json,
    write_text,
    write_verdict,
)
from w2v_core.report.index import render_index
from w2v_core.report.perf_metric import perf_metric
from w2v_core.report.tables import summary
from w2v_core.report.text import json_line_safe

if TYPE_CHECKING:
    import pandas as pd

    from w2v_core.verdict.run import Run


def write_run(directory: Path, run: Run) -> None:
    """Write the files of a run, drop the mark, then list the run in ``index.html``.

    ``run.json verdict.json summary.csv summary.parquet summary.md summary.html perf_metric.csv
    hypotheses.jsonl``; each is there whole or not at all. The Parquet file needs
    pyarrow and is left out without it, which ``summary.md`` then says. A run without a verdict
    gets the one of its cells alone.

    Raises:
        ReportError: a file cannot be written (read-only, full disk); the mark stays.
    """
    from w2v_core.report.markdown import render_markdown
    from w2v_core.report.page import render_page  # with scipy and jiwer behind it

    records, run = run.records, replace(run, verdict=run.result)
    write_run_json(directory, records, session=run.session)
    write_verdict(directory, run.result.to_json())
    table = summary(records)
    write_text(directory / "hypotheses.jsonl", "".join(_hypotheses(records)))
    write_text(directory / "summary.csv", table.to_csv(index=False))
    write_text(directory / "perf_metric.csv", perf_metric(records).to_csv(index=False))
    left_out = _write_parquet(directory / "summary.parquet", table)
    write_text(directory / "summary.md", render_markdown(run, left_out=left_out))
    write_text(directory / "summary.html", render_page(run))
    if finish(directory):  # reserved, so the reports directory is two levels up
        write_index(directory.parent.parent)


def write_index(reports_dir: Path) -> None:
    """List the runs below the reports directory in its ``index.html``, newest first.

    Raises:
        ReportError: it cannot be written.
    """
    with as_report_error(reports_dir):
        write_text(reports_dir / "index.html", render_index(reports_dir))


def write_file(path: Path, content: str) -> None:
    """Write a file whole or not at all, with the directories above it.

    Raises:
        ReportError: it cannot be written.
    """
    with as_report_error(path.parent, remedy="{use:output FILE} to give another"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.encode())


def _hypotheses(records: Sequence[CellRecord]) -> Iterator[str]:
    for record in records:
        for score in record.scores:
            line = {
                "cell": record.cell,
                "utterance_id": score.utterance_id,
                "reference": score.reference,
                "hypothesis": score.hypothesis,
                "errors": score.edits,
            }
            yield json_line_safe(json.dumps(line, ensure_ascii=False)) + "\n"


def _write_parquet(path: Path, table: pd.DataFrame) -> tuple[str, ...]:
    """Write the table's Parquet twin; return what was left out and why."""
    if find_spec("pyarrow") is None:
        return ("summary.parquet: pyarrow is not installed; pip install 'w2v-core[report]'",)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_file_bytes(path, buffer.getvalue())
    return ()
