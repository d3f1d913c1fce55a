"""The record that a cell's measurement makes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from w2v_core.backends.base import Counters
from w2v_core.backends.power import PowerLog
from w2v_core.bench.energy import energy_j, power_use
from w2v_core.bench.figures import latency_s, stage_s, utterance_scores
from w2v_core.bench.parity import GoldenFinding
from w2v_core.bench.rounds import Round
from w2v_core.bench.stages import StagePass
from w2v_core.data.catalog import Corpus
from w2v_core.engine.engine import Engine
from w2v_core.records.cell import Cell
from w2v_core.records.record import CellRecord
from w2v_core.scoring.text import DEFAULT_RECIPE
from w2v_core.scoring.wer import WordEdits, corpus_wer, score
from w2v_core.types import Transcription

Fields = dict[str, Any]
"""Some fields of a ``CellRecord`` by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a record comes from; the same for all cells of a process run."""

    run_id: str
    created_utc: str
    release: str
    command: str
    environment: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What measuring a cell has seen; figures are taken from it afterwards."""

    warm_up_s: float
    counters_warm_up: Counters
    captures: int
    """Graphs captured in warm-up."""
    scored: Transcription
    rounds: Sequence[Round]
    captures_timed: int
    counters_timed: Counters
    power: PowerLog
    peak_memory_bytes: int

    @property
    def rounds_s(self) -> tuple[float, ...]:
        """Wall seconds of the rounds."""
        return tuple(r.wall_s for r in self.rounds)

    @property
    def passes(self) -> list[Transcription]:
        """What the rounds returned."""
        return [r.transcription for r in self.rounds]


def cell_record(
    engine: Engine,
    corpus: Corpus,
    cell: Cell,
    measured: Measurement,
    *,
    stages: StagePass | None,
    finding: GoldenFinding,
    reasons: Sequence[str],
    provenance: Provenance,
    limit: int | None,
    phase_s: Mapping[str, float],
) -> CellRecord:
    """Put everything that is known of a measured cell into its record."""
    scored = measured.scored
    references = corpus.references
    edits = score(references, {i: t for i, t in scored.texts.items() if i in references})
    return CellRecord(
        **_subject(engine, corpus, cell),
        limit=limit,
        phase_s=dict(phase_s),
        buckets=stages.buckets if stages else None,
        serial_stage_s=stages.serial_stage_s if stages else None,
        **_words(edits),
        **_times(measured),
        **_device(measured),
        audio_s=scored.audio_s,
        padding_efficiency=scored.padding_efficiency,
        failed=tuple(f.utterance_id for f in scored.failures),
        excluded={e.utterance_id: e.reason for e in corpus.exclusions},
        notes=(*engine.checkpoint.notes, *corpus.notes, *_notes_on(engine)),
        changed_vs_golden=finding.changed,
        golden_wer=finding.golden_wer,
        logit_distance=finding.logit_distance,
        valid=not reasons,
        invalid_reasons=tuple(reasons),
        run_id=provenance.run_id,
        created_utc=provenance.created_utc,
        release=provenance.release,
        command=provenance.command,
        environment={**provenance.environment, **_sources(engine, corpus)},
        scores=utterance_scores(corpus, edits, scored.texts, measured.passes),
    )


def _subject(engine: Engine, corpus: Corpus, cell: Cell) -> Fields:
    return {
        "cell": str(cell),
        "device": engine.backend.name,
        "device_name": engine.backend.device_name,
        "model": engine.checkpoint.name,
        "dtype": cell.dtype,
        "dataset": corpus.spec.name,
        "graphs": cell.graphs,
        "forward": cell.forward,
        "batch_plan": str(engine.plan) + ("" if engine.config.overlaps else "-serial"),
        "autocast": cell.autocast,
        "num_utterances": len(corpus.utterances),
    }


def _sources(engine: Engine, corpus: Corpus) -> Fields:
    """Return what the fingerprint says of weights and audio."""
    return {
        "checkpoint_sha256": engine.checkpoint.sha256,
        "checkpoint_files": ", ".join(engine.checkpoint.files),
        "checkpoint_revision": engine.checkpoint.revision,
        "dataset_revision": corpus.revision,
        **engine.choices,
    }


def _words(edits: Sequence[WordEdits]) -> Fields:
    return {
        "wer": corpus_wer(edits),
        "substitutions": sum(e.substitutions for e in edits),
        "deletions": sum(e.deletions for e in edits),
        "insertions": sum(e.insertions for e in edits),
        "reference_words": sum(e.reference_words for e in edits),
        "text_normalisation": str(DEFAULT_RECIPE),
    }


def _times(measured: Measurement) -> Fields:
    median_s = statistics.median(measured.rounds_s) if measured.rounds else float("inf")
    return {
        "rounds_s": measured.rounds_s,
        "warm_up_s": measured.warm_up_s,
        "compile_s": measured.counters_warm_up.compile_s,
        "rtfx": measured.scored.audio_s / median_s,
        "utterances_per_s": len(measured.scored.hypotheses) / median_s,
        "latency_s": latency_s(measured.passes),
        "stage_s": stage_s(measured.passes),
    }


def _device(measured: Measurement) -> Fields:
    return {
        "graph_captures": measured.captures,
        "captures_timed": measured.captures_timed,
        "recipe_hits": measured.counters_warm_up.recipe_hits,
        "recipe_misses": measured.counters_warm_up.recipe_misses,
        "compilations_timed": measured.counters_timed.compilations,
        "cpu_fallbacks_timed": measured.counters_timed.cpu_fallbacks,
        "peak_memory_bytes": measured.peak_memory_bytes,
        "energy_j": energy_j(measured.power, measured.rounds_s),
        "power": power_use(measured.power),
    }


def _notes_on(engine: Engine) -> tuple[str, ...]:
    """Say where the host has no bfloat16 arithmetic, so that its speed is not believed."""
    if not engine.backend.is_host or engine.config.dtype != "bfloat16":
        return ()
    from w2v_core.backends.processor import why_bfloat16_is_emulated

    return tuple(filter(None, (why_bfloat16_is_emulated(),)))
