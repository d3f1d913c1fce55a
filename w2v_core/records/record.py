"""What one measured cell leaves behind. JSON, versioned, raw SI numbers. No torch here.

Everything downstream (verdicts, reports, comparisons) is computed from records and formats late.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from w2v_core.errors import RecordError

__all__ = [
    "SCHEMA_VERSION",
    "SERIAL_STAGES",
    "BucketUse",
    "CellRecord",
    "UtteranceScore",
    "from_json",
    "to_json",
]

SCHEMA_VERSION = 2
_SINCE = {"buckets": 2, "serial_stage_s": 2}
"""Fields by the schema version that brought them; those that are not here are in every version.
A record of an earlier version is read with the defaults in their place."""

SERIAL_STAGES = ("h2d", "compute", "d2h", "decode")
"""The stages of an utterance's way in order, as ``bench/stages.py`` times them."""

TIMED_REGION = (
    "timed from the first utterance's staging (waveforms in host memory) to the last transcript on "
    "the host, normalising included; decoding audio files and warm-up are outside"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceScore:
    """One utterance's transcript and word edits; the unit of paired WER statistics."""

    utterance_id: str
    speaker: str | None
    reference: str
    hypothesis: str
    substitutions: int
    deletions: int
    insertions: int
    reference_words: int
    audio_s: float
    latency_s: float | None = None
    """From its batch's staging to its transcript, median over the timed rounds; None where no round
    transcribed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketUse:
    """How one pass over the set used a bucket."""

    num_frames: int
    """Frames per row of the static shape."""
    batch_size: int
    """Rows, padding rows included."""
    num_batches: int
    num_utterances: int
    real_frames: int
    """Frames of the utterances themselves."""
    padded_frames: int
    """Frames of the static shapes, padding and padding rows included; all are computed unless the
    plan is packed."""

    @property
    def padding_efficiency(self) -> float:
        """Real frames over padded frames, a fraction."""
        return self.real_frames / self.padded_frames if self.padded_frames else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """One cell from one process run: the unit of sampling for every verdict."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    """UTC start, device and commit of the process run; the same for all its cells."""
    created_utc: str
    """ISO 8601 with seconds, UTC."""
    release: str
    cell: str
    """``base-bfloat16-test_clean-graphs-exact``"""
    device: str
    device_name: str
    model: str
    dtype: str
    dataset: str
    graphs: bool
    forward: str
    batch_plan: str
    autocast: bool
    num_utterances: int
    limit: int | None
    audio_s: float
    wer: float | None
    """Corpus WER, a fraction; None where no reference exists."""
    substitutions: int
    deletions: int
    insertions: int
    reference_words: int
    text_normalisation: str
    """Name and version of the scoring recipe."""
    rounds_s: tuple[float, ...]
    """Wall seconds of each timed round, in order."""
    warm_up_s: float
    rtfx: float
    """audio_s over the median round."""
    utterances_per_s: float
    latency_s: Mapping[str, float]
    """p50, p90, p99 over all utterances of all rounds."""
    stage_s: Mapping[str, float]
    """stage, forward, wait, decode: host seconds per round, mean over rounds."""
    padding_efficiency: float
    """Real over padded audio samples, padding rows counted; a fraction."""
    buckets: tuple[BucketUse, ...] | None = None
    """Use of each bucket in one pass, smallest first; None in a record of schema version 1."""
    serial_stage_s: Mapping[str, float] | None = None
    """Seconds of a pass by stage (``SERIAL_STAGES``) where no two overlap; outside the timed
    region. None where utterances failed, and in a record of schema version 1."""
    graph_captures: int
    """Captures in warm-up, total."""
    captures_timed: int
    compilations_timed: int
    cpu_fallbacks_timed: int
    peak_memory_bytes: int
    failed: tuple[str, ...]
    """Ids that have no transcript."""
    excluded: Mapping[str, str]
    """Ids left out by a stated rule, and the rule."""
    changed_vs_golden: tuple[str, ...] | None
    """Ids whose transcript differs from the golden one; None where no golden exists."""
    golden_wer: float | None = None
    """Corpus WER of the golden transcripts over the same utterances; None where none exist."""
    logit_distance: float | None = None
    """Largest estimated RMS logit difference from a golden (scoring/goldens.py); None as above."""
    valid: bool
    invalid_reasons: tuple[str, ...]
    environment: Mapping[str, Any]
    """The fingerprint (records/fingerprint.py)."""
    command: str
    scores: tuple[UtteranceScore, ...] = field(repr=False)

    @property
    def is_simulated(self) -> bool:
        """Whether the device was simulated; such a record never becomes a baseline."""
        return self.device_name == "simulated"


def _checksum(payload: Mapping[str, Any]) -> str:
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def to_json(record: CellRecord) -> dict[str, Any]:
    """Return the record as JSON values with its checksum beside them."""
    payload: dict[str, Any] = json.loads(json.dumps(asdict(record), allow_nan=False))
    return {"record": payload, "sha256": _checksum(payload)}


def from_json(data: Mapping[str, Any], *, source: str = "record") -> CellRecord:
    """Read a record back.

    Raises:
        RecordError: the checksum, the schema version or the fields do not fit; names ``source``.
    """
    payload, checksum = data.get("record"), data.get("sha256")
    if not isinstance(payload, dict) or not isinstance(checksum, str):
        raise RecordError(f"{source}: no record with a checksum; was the file cut off?")
    version = payload.get("schema_version")
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise RecordError(
            f"{source}: schema version {version!r}; this version reads 1 to {SCHEMA_VERSION}"
        )
    if _checksum(payload) != checksum:
        raise RecordError(f"{source}: checksum does not fit; the record was edited or cut off")
    names = {f.name for f in fields(CellRecord) if _SINCE.get(f.name, 1) <= version}
    if set(payload) != names:
        odd = ", ".join(sorted(set(payload) ^ names))
        raise RecordError(f"{source}: fields do not fit the schema: {odd}")
    values: dict[str, Any] = {**payload, "schema_version": SCHEMA_VERSION}
    for name in ("rounds_s", "failed", "invalid_reasons"):
        values[name] = tuple(values[name])
    if values["changed_vs_golden"] is not None:
        values["changed_vs_golden"] = tuple(values["changed_vs_golden"])
    if values.get("buckets") is not None:
        values["buckets"] = tuple(BucketUse(**use) for use in values["buckets"])
    values["scores"] = tuple(UtteranceScore(**score) for score in values["scores"])
    return CellRecord(**values)
