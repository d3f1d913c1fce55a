"""``reports/<release>/<run>/``: written whole or marked incomplete, never half."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.errors import ReportError
from w2v_core.records.record import CellRecord, to_json
from w2v_core.report.index import INCOMPLETE, render_index
from w2v_core.report.perf_metric import perf_metric
from w2v_core.report.tables import summary
from w2v_core.report.text import json_line_safe

if TYPE_CHECKING:
    import pandas as pd

    from w2v_core.records.store import Session
    from w2v_core.report.trend import History
    from w2v_core.verdict.baseline import Baseline
    from w2v_core.verdict.calibrate import Calibration
    from w2v_core.verdict.outcome import GateResult

__all__ = ["INCOMPLETE", "reserve", "write_file", "write_index", "write_run"]

MAX_NAME_CHARS = 120  # file systems take 255 bytes


def reserve(reports_dir: Path, *, release: str, run_id: str) -> Path:
    """Create the run's directory, marked incomplete, before anything is measured.

    A reports directory that cannot be written is found out here, not after an hour of measuring.

    Raises:
        ReportError: the directory cannot be created or written.
    """
    directory = reports_dir / _safe(release) / _safe(run_id)
    with _as_report_error(directory):
        directory.mkdir(parents=True)  # an earlier run of this name is never written over
        (directory / INCOMPLETE).write_text("the run has not finished\n")
    return directory


def write_run(
    directory: Path,
    records: Sequence[CellRecord],
    *,
    gate: GateResult | None = None,
    calibration: Calibration | None = None,
    history: History | None = None,
    baseline: Baseline | None = None,
    session: Session | None = None,
) -> None:
    """Write the files of a run, drop the mark, then list the run in ``index.html``.

    ``run.json summary.csv summary.parquet summary.md summary.html perf_metric.csv
    hypotheses.jsonl``; each is there whole or not at all. The Parquet file needs pyarrow and is
    left out without it, which ``summary.md`` then says. The arguments are those of
    ``report.html.render_page``.

    Raises:
        ReportError: a file cannot be written (read-only, full disk); the mark stays.
    """
    from w2v_core.report.html import render_page  # with scipy, jiwer and matplotlib behind it
    from w2v_core.report.markdown import render

    run: dict[str, object] = {"schema_version": 1, "records": [to_json(r) for r in records]}
    if session is not None:
        run["session"] = asdict(session)
    table = summary(records)
    with _as_report_error(directory):
        reserved = (directory / INCOMPLETE).exists()
        _write(directory / "run.json", json.dumps(run, indent=1) + "\n")
        _write(directory / "hypotheses.jsonl", "".join(_hypotheses(records)))
        _write(directory / "summary.csv", table.to_csv(index=False))
        _write(directory / "perf_metric.csv", perf_metric(records).to_csv(index=False))
        left_out = _write_parquet(directory / "summary.parquet", table)
        _write(directory / "summary.md", render(records, gate=gate, left_out=left_out))
        page = render_page(
            records, gate=gate, calibration=calibration, history=history, baseline=baseline
        )
        _write(directory / "summary.html", page)
        (directory / INCOMPLETE).unlink(missing_ok=True)
        if reserved:  # by reserve(), so the reports directory is two levels up
            write_index(directory.parent.parent)


def write_index(reports_dir: Path) -> None:
    """List the runs below the reports directory in its ``index.html``, newest first.

    Raises:
        ReportError: it cannot be written.
    """
    with _as_report_error(reports_dir):
        _write(reports_dir / "index.html", render_index(reports_dir))


def write_file(path: Path, content: str) -> None:
    """Write a file whole or not at all, with the directories above it.

    Raises:
        ReportError: it cannot be written.
    """
    with _as_report_error(path.parent, remedy="give another with -o"):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)


def _hypotheses(records: Sequence[CellRecord]) -> Iterator[str]:
    for record in records:
        for score in record.scores:
            line = {
                "cell": record.cell,
                "utterance_id": score.utterance_id,
                "reference": score.reference,
                "hypothesis": score.hypothesis,
                "errors": score.substitutions + score.deletions + score.insertions,
            }
            yield json_line_safe(json.dumps(line, ensure_ascii=False)) + "\n"


def _write_parquet(path: Path, table: pd.DataFrame) -> tuple[str, ...]:
    """Write the table's Parquet twin; return what was left out and why."""
    if find_spec("pyarrow") is None:
        return ("summary.parquet: pyarrow is not installed; pip install 'w2v-core[report]'",)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    _write(path, buffer.getvalue())
    return ()


def _write(path: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _as_report_error(
    directory: Path, *, remedy: str = "give another with --reports-dir"
) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(
            f"reports directory {directory} cannot be written: {error.strerror or error}; {remedy}"
        ) from error


def _safe(name: str) -> str:
    """Keep a release or run name within its directory, and short enough to be one."""
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip(".") or "_"
    if len(safe) <= MAX_NAME_CHARS:
        return safe
    return (
        f"{safe[:MAX_NAME_CHARS]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
    )
