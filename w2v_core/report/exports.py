"""A run in the formats of other tools: Open ASR Leaderboard, NIST sclite, OpenMetrics.

- ``leaderboard``: a prediction manifest a cell, JSON lines as the leaderboard's ``normalizer/
  eval_utils.py`` reads them. ``time`` is the utterance's share, by audio, of the median round, so
  that its RTFx (sum of durations over sum of times) is the cell's.
- ``trn``: sclite's transcripts, ``words (utterance)``, under the record's text normalisation; score
  them with ``sclite -i rm -r CELL.ref.trn trn -h CELL.hyp.trn trn``.
- ``openmetrics``: gauges of each cell, without timestamps, as node exporter's textfile collector
  wants them; its directory takes a file that ends in ``.prom``.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from w2v_core.errors import ReportError
from w2v_core.printable import printable, shorten
from w2v_core.records.fields import FIGURES
from w2v_core.records.record import CellRecord
from w2v_core.report.text import json_line_safe
from w2v_core.report.views.ranking import status
from w2v_core.scoring.text import DEFAULT_RECIPE, RECIPES
from w2v_core.verdict.outcome import GateResult
from w2v_core.verdict.run import Run

LEADERBOARD_SETS = {"test-clean": "librispeech_test.clean", "test-other": "librispeech_test.other"}
"""How the leaderboard names its public sets."""
METRICS_FILE = "w2v.prom"
LABELS = ("cell", "model", "dtype", "dataset", "forward", "device", "release")
_LABEL_CHARS = 200
_SCLITE_READS = re.compile(r"[{}()/\\@;]|\*")  # alternations, optional words, nulls, comments
_UNITS = {"_s": "seconds", "_bytes": "bytes", "_j": "joules"}
_RATIOS = ("wer", "golden_wer", "padding_efficiency")


def leaderboard(run: Run) -> dict[str, str]:
    """Return a manifest by file name; the leaderboard's tools take names apart at ``DATASET_``."""
    files = {}
    for record in run.records:
        model = f"w2v-{record.model}-{record.dtype}-{_graphs(record)}-{record.forward}"
        dataset = LEADERBOARD_SETS.get(record.dataset, record.dataset)
        name = f"MODEL_{_file_name(model)}_DATASET_{_file_name(dataset)}.jsonl"
        files[name] = "".join(_manifest(record))
    return files


def trn(run: Run) -> dict[str, str]:
    """Return reference and hypothesis transcripts by file name.

    Raises:
        ReportError: a transcript holds a character that sclite reads as its own syntax.
    """
    files = {}
    for record in run.records:
        recipe = RECIPES.get(record.text_normalisation, DEFAULT_RECIPE)
        for side, attribute in (("ref", "reference"), ("hyp", "hypothesis")):
            lines = (
                _transcript(recipe(getattr(score, attribute)), score.utterance_id)
                for score in record.scores
            )
            files[f"{_file_name(record.cell)}.{side}.trn"] = "".join(lines)
    return files


def openmetrics(run: Run) -> dict[str, str]:
    """Return the figures of each cell as gauges; a figure that is not held is left out."""
    records = {record.cell: record for record in run.records}  # a series is there once
    lines = list(_timestamp(run.records))
    for name, figure in FIGURES.items():
        metric, unit = _metric(name)
        values = [(r, value) for r in records.values() if (value := figure.of(r)) is not None]
        lines += _family(metric, figure.why or figure.header, unit, values)
    sound = [(r, int(r.valid)) for r in records.values()]
    lines += _family("w2v_valid", "whether the measurement is sound", "", sound)
    lines += _verdicts(tuple(records.values()), run.verdict)
    return {METRICS_FILE: "\n".join((*lines, "# EOF")) + "\n"}


EXPORTS: Mapping[str, Callable[[Run], dict[str, str]]] = {
    "leaderboard": leaderboard,
    "trn": trn,
    "openmetrics": openmetrics,
}
"""What ``w2v report --export`` knows: each returns the text of files by their names."""


def _manifest(record: CellRecord) -> Iterator[str]:
    round_s = statistics.median(record.rounds_s) if record.rounds_s else None
    for score in record.scores:
        share = score.audio_s / record.audio_s if record.audio_s else 0.0
        line = {
            "audio_filepath": score.utterance_id,
            "duration": score.audio_s,
            "time": None if round_s is None else round_s * share,
            "text": score.reference,
            "pred_text": score.hypothesis,
        }
        yield json_line_safe(json.dumps(line, ensure_ascii=False)) + "\n"


def _transcript(text: str, utterance_id: str) -> str:
    syntax = _SCLITE_READS.search(text)
    if syntax is not None:
        raise ReportError(
            f"utterance {printable(shorten(utterance_id, _LABEL_CHARS))} holds {syntax[0]!r}, "
            "which sclite reads as its own syntax; export it as leaderboard instead"
        )
    words = f"{printable(text)} " if text else ""
    return f"{words}({quote(utterance_id, safe='', errors='backslashreplace')})\n"


def _timestamp(records: tuple[CellRecord, ...]) -> Iterator[str]:
    try:
        ends = [datetime.fromisoformat(r.created_utc.replace("Z", "+00:00")) for r in records]
    except ValueError:
        return
    if ends:
        name = "w2v_last_run_timestamp_seconds"
        yield from _head(name, "when the last cell was measured", "seconds")
        yield f"{name} {max(ends).timestamp():.0f}"


def _verdicts(records: tuple[CellRecord, ...], verdict: GateResult | None) -> Iterator[str]:
    if records:
        yield from _head("w2v_verdict", "1 for the verdict that the cell has", "")
    for record in records:
        yield f"w2v_verdict{_labels(record, verdict=status(record, verdict))} 1"


def _family(
    metric: str, told: str, unit: str, values: Sequence[tuple[CellRecord, float]]
) -> Iterator[str]:
    finite = [(record, value) for record, value in values if math.isfinite(value)]
    if finite:
        yield from _head(metric, told, unit)
    for record, value in finite:
        yield f"{metric}{_labels(record)} {value!r}"


def _head(metric: str, told: str, unit: str) -> Iterator[str]:
    yield f"# HELP {metric} {told}."
    yield f"# TYPE {metric} gauge"
    if unit:
        yield f"# UNIT {metric} {unit}"


def _metric(name: str) -> tuple[str, str]:
    """Return the name and unit of a figure; OpenMetrics wants the unit at the name's end."""
    if name in _RATIOS:
        return f"w2v_{name}_ratio", "ratio"
    if name.endswith("_per_s"):
        return f"w2v_{name}econd", ""
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return f"w2v_{name.removesuffix(ending)}_{unit}", unit
    return f"w2v_{name}", ""


def _labels(record: CellRecord, **more: str) -> str:
    values = {name: str(getattr(record, name)) for name in LABELS}
    pairs = {**values, "graphs": _graphs(record), **more}.items()
    return "{" + ",".join(f'{name}="{_label(value)}"' for name, value in pairs) + "}"


def _label(text: str) -> str:
    shown = printable(shorten(text, _LABEL_CHARS))
    return shown.replace("\\", "\\\\").replace('"', '\\"')


def _graphs(record: CellRecord) -> str:
    return "graphs" if record.graphs else "nographs"


def _file_name(text: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._+@-]", lambda m: f"%{ord(m[0]):02X}", text)
    return shorten(safe, _LABEL_CHARS).replace("\u2026 ", "-").replace(" ", "-") or "-"
