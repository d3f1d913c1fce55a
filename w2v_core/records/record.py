"""What one measured cell leaves behind. JSON, versioned, raw SI numbers. No torch here.

Everything downstream (verdicts, reports, comparisons) is computed from records and formats late.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, TypeAlias

import msgspec

from w2v_core.errors import RecordError
from w2v_core.jsonfile import canonical, convert
from w2v_core.printable import printable, shorten, shown

SCHEMA_VERSION = 4
_SINCE = {
    "buckets": 2,
    "serial_stage_s": 2,
    "energy_j": 3,
    "power": 3,
    "compile_s": 3,
    "warm_up_cold_s": 3,
    "notes": 3,
    "shard": 4,
    "merged": 4,
    "phase_s": 4,
    "recipe_hits": 4,
    "recipe_misses": 4,
}
"""Fields by the schema version that brought them; those that are not here are in every version.
A record of an earlier version is read with the defaults in their place."""
_VALID_IS_SOUND = 3  # before, a WER above its ceiling made a sound record invalid
_CEILING_REASON = re.compile(r"(WER \S+ % is above (the|its) ceiling|no WER, but .*is to be held)")

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Digest: TypeAlias = Callable[[Mapping[str, Any]], str]
Scalar: TypeAlias = str | Count | float | bool | None

SERIAL_STAGES = ("h2d", "compute", "d2h", "decode")
"""The stages of an utterance's way in order, as ``bench/stages.py`` times them."""

PHASES = ("checkpoint", "audio", "warm_up", "scored", "rounds", "stages", "goldens")
"""What a cell's wall time goes into, in order: loading, decoding, warm-up, the scored pass, the
timed rounds, the stages taken apart, the goldens."""

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
    substitutions: Count
    deletions: Count
    insertions: Count
    reference_words: Count
    audio_s: float
    latency_s: float | None = None
    """From its batch's staging to its transcript, median over the timed rounds; None where no round
    transcribed it."""

    @property
    def edits(self) -> int:
        """S + D + I."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketUse:
    """How one pass over the set used a bucket."""

    num_frames: Count
    """Frames per row of the static shape."""
    batch_size: Count
    """Rows, padding rows included."""
    num_batches: Count
    num_utterances: Count
    real_frames: Count
    """Frames of the utterances themselves."""
    padded_frames: Count
    """Frames of the static shapes, padding and padding rows included; all are computed unless the
    plan is packed."""

    @property
    def padding_efficiency(self) -> float:
        """Real frames over padded frames, a fraction."""
        return self.real_frames / self.padded_frames if self.padded_frames else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerUse:
    """Power from the first timed round to the last one, what lies between them included."""

    source: str
    """``pyhlml | nvml | rapl``; empty where none can be read."""
    reason: str
    """Why it cannot be read, or stopped being; empty where it was read to the end."""
    mean_w: float | None
    peak_w: float | None
    samples: Count
    gaps: Count
    """Waits between two samples that were longer than three periods."""
    period_s: float
    clock_min_hz: float | None
    clock_max_hz: float | None
    throttled: tuple[str, ...]
    """Reasons that the card gave for a lowered clock, as its library names them."""
    peak_temperature_c: float | None = None
    """Of the card itself; None where it is not told, and in a record of schema version 1 to 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Which part of a set a record is of."""

    number: Count
    """Counted from 1."""
    of: Count
    ids: tuple[str, ...]
    """What the shard accounts for: transcribed, failed or excluded."""
    whole: tuple[str, ...]
    """What all shards together account for."""


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
    num_utterances: Count
    limit: Count | None
    audio_s: float
    wer: float | None
    """Corpus WER, a fraction; None where no reference exists."""
    substitutions: Count
    deletions: Count
    insertions: Count
    reference_words: Count
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
    phase_s: Mapping[str, float] | None = None
    """Wall seconds by what the cell's time went into (``PHASES``); loading and decoding count for
    the cell that needed them first. None in a record of schema version 1 to 3."""
    graph_captures: Count
    """Captures in warm-up, total."""
    captures_timed: Count
    compilations_timed: Count
    cpu_fallbacks_timed: Count
    peak_memory_bytes: Count
    energy_j: float | None = None
    """Energy of the card over one timed round, joules, mean over the rounds; None where the device
    does not tell it, and in a record of schema version 1 or 2."""
    power: PowerUse | None = None
    """What was read of the card's power in the timed rounds; None in such a record."""
    compile_s: float | None = None
    """Seconds of the warm-up in which the device's compiler worked (hpu: ``graph_compilation``);
    None where the device does not tell it, and in such a record."""
    warm_up_cold_s: float | None = None
    """``warm_up_s`` of the first start with this recipe cache, when this one found its recipes
    there; None for a first start, without a cache, and in such a record."""
    recipe_hits: Count | None = None
    """Compiled recipes that the warm-up found in the device's cache (hpu: ``recipe_cache``); None
    where the device does not tell it, and in a record of schema version 1 to 3."""
    recipe_misses: Count | None = None
    """Recipes that it looked for and did not find; None as above."""
    failed: tuple[str, ...]
    """Ids that have no transcript."""
    excluded: Mapping[str, str]
    """Ids left out by a stated rule, and the rule."""
    notes: tuple[str, ...] = ()
    """What is odd about the references and the audio (data/plausibility.py); none in a record of
    schema version 1 or 2."""
    changed_vs_golden: tuple[str, ...] | None
    """Ids whose transcript differs from the golden one; None where no golden exists."""
    golden_wer: float | None = None
    """Corpus WER of the golden transcripts over the same utterances; None where none exist."""
    logit_distance: float | None = None
    """Largest estimated RMS logit difference from a golden (scoring/goldens.py); None as above."""
    valid: bool
    """Whether it is sound: accounted for, steady, repeatable, parity met. Good or bad is the
    verdict's: a WER above its ceiling is sound, and red as WER."""
    invalid_reasons: tuple[str, ...]
    environment: Mapping[str, Scalar]
    """The fingerprint (records/fingerprint.py)."""
    command: str
    shard: Shard | None = field(default=None, repr=False)
    """None for a whole set, and in a record of schema version 1 to 3."""
    merged: tuple[str, ...] = ()
    """Run ids of the shards that this record was made of (fleet/merge.py), by their numbers."""
    scores: tuple[UtteranceScore, ...] = field(repr=False)

    @property
    def num_shards(self) -> int:
        """How many processes shared the set that its throughput is about."""
        return self.shard.of if self.shard is not None else max(1, len(self.merged))

    @property
    def is_simulated(self) -> bool:
        """Whether the device was simulated; such a record never becomes a baseline."""
        return self.device_name == "simulated"


def checksum(payload: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their keys."""
    return hashlib.sha256(canonical(payload).encode()).hexdigest()


def to_json(record: CellRecord) -> dict[str, Any]:
    """Return the record as JSON values with its checksum beside them."""
    payload: dict[str, Any] = json.loads(json.dumps(asdict(record), allow_nan=False))
    return {"record": payload, "sha256": checksum(payload)}


def from_json(data: object, *, source: str = "record", digest_of: Digest = checksum) -> CellRecord:
    """Read a record back, whatever JSON stands in its place.

    Args:
        data: What to_json() returns, decoded.
        source: Where it was read from, for messages.
        digest_of: The checksum, where the caller knows a part of its text.

    Raises:
        RecordError: the checksum, the schema version or the fields do not fit; names ``source``.
    """
    if not isinstance(data, Mapping):
        raise RecordError(f"{source}: {shown(data)} instead of a record with a checksum")
    payload, digest = data.get("record"), data.get("sha256")
    if not isinstance(payload, dict) or not isinstance(digest, str):
        raise RecordError(f"{source}: no record with a checksum; was the file cut off?")
    version = payload.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise RecordError(
            f"{source}: schema_version is {shown(version)}; this version reads 1 to "
            f"{SCHEMA_VERSION}"
        )
    if digest_of(payload) != digest:
        raise RecordError(f"{source}: checksum does not fit; the record was edited or cut off")
    names = {f.name for f in fields(CellRecord) if _SINCE.get(f.name, 1) <= version}
    if payload.keys() != names:
        odd = shorten(printable(", ".join(sorted(payload.keys() ^ names))), 200)
        raise RecordError(f"{source}: fields do not fit schema version {version}: {odd}")
    record = convert(payload, CellRecord, source=source, error=RecordError)
    if version != SCHEMA_VERSION:
        record = replace(record, schema_version=SCHEMA_VERSION)
    return record if version >= _VALID_IS_SOUND else _sound(record)


def _sound(record: CellRecord) -> CellRecord:
    """Read ``valid`` as later versions mean it: without what the WER ceiling had to say."""
    reasons = tuple(r for r in record.invalid_reasons if not _CEILING_REASON.match(r))
    if len(reasons) == len(record.invalid_reasons):
        return record
    return replace(record, invalid_reasons=reasons, valid=not reasons)
