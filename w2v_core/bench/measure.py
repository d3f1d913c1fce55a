"""One cell to one record: warm-up, a scored pass, timed rounds, and the proof that they agree."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from w2v_core.backends.base import Counters
from w2v_core.backends.power import PowerLog, Sensor, find_sensor, power_log
from w2v_core.bench.figures import latency_s, stage_s, utterance_scores
from w2v_core.bench.parity import GoldenFinding, check_goldens
from w2v_core.bench.stages import StagePass, measure_stages
from w2v_core.data.catalog import Corpus
from w2v_core.engine.engine import Engine
from w2v_core.progress import Advance, Progress, silent
from w2v_core.records.cell import Cell
from w2v_core.records.claims import denied
from w2v_core.records.record import CellRecord, PowerUse
from w2v_core.scoring.text import DEFAULT_RECIPE
from w2v_core.scoring.wer import corpus_wer, score
from w2v_core.types import Transcription, Utterance

__all__ = ["Provenance", "Round", "RoundTimer", "TimedPass", "measure_cell", "time_rounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One timed pass over the whole set."""

    transcription: Transcription
    wall_s: float


class TimedPass:
    """One pass over the whole set, for a timer to call."""

    def __init__(self, engine: Engine, utterances: Sequence[Utterance], advance: Advance) -> None:
        self._engine = engine
        self._utterances = utterances
        self._advance = advance

    def __call__(self) -> Transcription:
        """Transcribe the set; blocks until the last transcript."""
        return self._engine.transcribe(self._utterances, record_failures=True)

    def count(self) -> None:
        """Show a pass as done; call it when no clock runs."""
        self._advance(sum(u.audio_s for u in self._utterances))


RoundTimer = Callable[[TimedPass], Sequence[Round]]
"""Runs the pass as often as it wants and times each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a record comes from; the same for all cells of a process run."""

    run_id: str
    created_utc: str
    release: str
    command: str
    environment: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measurement:
    warm_up_s: float
    captures: int
    scored: Transcription
    rounds: Sequence[Round]
    captures_timed: int
    counters_timed: Counters
    compile_s: float | None
    power: PowerLog
    peak_memory_bytes: int
    stages: StagePass | None


def time_rounds(rounds: int) -> RoundTimer:
    """Time ``rounds`` passes by the engine's own wall clock; for use without pytest-benchmark."""

    def timer(run: TimedPass) -> Sequence[Round]:
        passes = []
        for _ in range(rounds):
            passes.append(run())
            run.count()
        return [Round(transcription=p, wall_s=p.wall_s) for p in passes]

    return timer


def measure_cell(
    engine: Engine,
    corpus: Corpus,
    cell: Cell,
    *,
    timer: RoundTimer,
    provenance: Provenance,
    limit: int | None = None,
    rounds: int = 1,
    progress: Progress = silent,
) -> CellRecord:
    """Measure a cell; blocks for warm-up, scored pass, timed rounds, stages and the parity pass.

    The record is valid only where every utterance is accounted for, every round returned the scored
    transcripts, nothing was captured, compiled or handed to the host in a timed round, and the
    golden transcripts were met. WER thresholds are judged by ``verdict``, not here.
    ``rounds`` is how many ``timer`` will run, for ``progress``.
    """
    measured = _run(
        engine,
        corpus.utterances,
        timer=timer,
        rounds=rounds,
        progress=progress,
        sensor=_sensor(engine, provenance.environment),
    )
    lost = [] if engine.lost is None else [f"the device was lost: {engine.lost}"]
    finding = GoldenFinding() if lost else check_goldens(engine, corpus, measured.scored)
    reasons = [
        *denied("accounting", lost),
        *denied("accounting", _accounting_reasons(corpus, measured.scored)),
        *denied("steady state", _round_reasons(measured)),
        *denied("goldens", finding.reasons),
    ]
    return _record(
        engine,
        corpus,
        cell,
        measured,
        finding=finding,
        reasons=reasons,
        provenance=provenance,
        limit=limit,
    )


def _run(
    engine: Engine,
    utterances: Sequence[Utterance],
    *,
    timer: RoundTimer,
    rounds: int,
    progress: Progress,
    sensor: Sensor | str,
) -> _Measurement:
    cold = engine.backend.counters()
    warm_up_s = engine.warm_up([u.num_samples for u in utterances], progress=progress)
    captures = engine.runner.captures
    compile_s = (engine.backend.counters() - cold).compile_s
    audio_s = sum(u.audio_s for u in utterances)
    with progress("scored pass", total=audio_s, unit="audio s") as advance:
        scored = engine.transcribe(
            utterances, record_failures=True, keep_frame_ids=True, advance=advance
        )
    if engine.lost is None:
        engine.backend.reset_peak_memory()
    before = engine.backend.counters()
    progressing = progress("timed rounds", total=rounds * audio_s, unit="audio s")
    timed: Sequence[Round] = ()
    with progressing as advance, power_log(sensor) as power:
        if engine.lost is None:
            timed = timer(TimedPass(engine, utterances, advance))
    if engine.lost is not None:  # a pass that was refused takes no time: it is no figure
        timed = [one for one in timed if not one.transcription.failures]
    return _Measurement(
        warm_up_s=warm_up_s,
        captures=captures,
        scored=scored,
        rounds=timed,
        captures_timed=engine.runner.captures - captures,
        counters_timed=engine.backend.counters() - before,
        compile_s=compile_s,
        power=power,
        peak_memory_bytes=0 if engine.lost else engine.backend.peak_memory_bytes(),
        stages=(  # last: what is counted above must not see it
            None if scored.failures or engine.lost else measure_stages(engine, utterances)
        ),
    )


def _sensor(engine: Engine, environment: Mapping[str, Any]) -> Sensor | str:
    backend = engine.backend
    if backend.device_name == "simulated":
        return "a simulated card draws nothing"
    card = environment.get("card_uuid" if backend.name == "cuda" else "module_id")
    return find_sensor(backend.name, card=None if card is None else str(card))


def _energy_j(power: PowerLog, rounds_s: Sequence[float]) -> float | None:
    """Mean power over the timed region, times the mean round."""
    if power.mean_w is None or not rounds_s:
        return None
    return power.mean_w * statistics.fmean(rounds_s)


def _power_use(power: PowerLog) -> PowerUse:
    low, high = power.clocks_hz or (None, None)
    return PowerUse(
        source=power.source,
        reason=power.reason,
        mean_w=power.mean_w,
        peak_w=power.peak_w,
        samples=len(power.readings),
        gaps=power.gaps,
        period_s=power.period_s,
        clock_min_hz=low,
        clock_max_hz=high,
        throttled=power.throttled,
    )


def _accounting_reasons(corpus: Corpus, scored: Transcription) -> list[str]:
    """Check expected = scored + failed + excluded, by id, exactly once."""
    reasons = []
    if scored.failures:
        first = scored.failures[0]
        reasons.append(
            f"{len(scored.failures)} utterances failed; first {first.utterance_id}: {first.error}"
        )
    accounted = [
        *(h.utterance_id for h in scored.hypotheses),
        *(f.utterance_id for f in scored.failures),
        *(e.utterance_id for e in corpus.exclusions),
    ]
    lost = sorted(set(corpus.expected) - set(accounted))
    extra = sorted(set(accounted) - set(corpus.expected))
    if lost or extra or len(accounted) != len(corpus.expected):
        reasons.append(
            f"utterances not accounted for exactly once: lost {lost[:5]}, unexpected {extra[:5]}, "
            f"{len(accounted)} accounted of {len(corpus.expected)} expected"
        )
    return reasons


def _round_reasons(measured: _Measurement) -> list[str]:
    reasons = []
    if not measured.rounds:
        reasons.append("no timed round")
    scored = measured.scored.texts
    for index, timed in enumerate(measured.rounds):
        texts = timed.transcription.texts
        if texts != scored:
            differing = sorted(
                i for i in scored.keys() | texts.keys() if scored.get(i) != texts.get(i)
            )
            reasons.append(
                f"round {index} returned other transcripts than the scored pass for "
                f"{len(differing)} utterances; first {differing[0]}"
            )
    steady = {
        "graph captures": measured.captures_timed,
        "compilations": measured.counters_timed.compilations,
        "cpu fallbacks": measured.counters_timed.cpu_fallbacks,
    }
    reasons += [f"{count} {what} in the timed region" for what, count in steady.items() if count]
    return reasons


def _record(
    engine: Engine,
    corpus: Corpus,
    cell: Cell,
    measured: _Measurement,
    *,
    finding: GoldenFinding,
    reasons: Sequence[str],
    provenance: Provenance,
    limit: int | None,
) -> CellRecord:
    scored = measured.scored
    references = {u.utterance_id: u.reference for u in corpus.utterances if u.reference is not None}
    edits = score(references, {i: t for i, t in scored.texts.items() if i in references})
    rounds_s = tuple(r.wall_s for r in measured.rounds)
    passes = [r.transcription for r in measured.rounds]
    median_s = statistics.median(rounds_s) if rounds_s else float("inf")
    return CellRecord(
        run_id=provenance.run_id,
        created_utc=provenance.created_utc,
        release=provenance.release,
        cell=str(cell),
        device=engine.backend.name,
        device_name=engine.backend.device_name,
        model=engine.checkpoint.name,
        dtype=cell.dtype,
        dataset=corpus.spec.name,
        graphs=cell.graphs,
        forward=cell.forward,
        batch_plan=str(engine.plan) + ("" if engine.config.overlaps else "-serial"),
        autocast=cell.autocast,
        num_utterances=len(corpus.utterances),
        limit=limit,
        audio_s=scored.audio_s,
        wer=corpus_wer(edits),
        substitutions=sum(e.substitutions for e in edits),
        deletions=sum(e.deletions for e in edits),
        insertions=sum(e.insertions for e in edits),
        reference_words=sum(e.reference_words for e in edits),
        text_normalisation=str(DEFAULT_RECIPE),
        rounds_s=rounds_s,
        warm_up_s=measured.warm_up_s,
        rtfx=scored.audio_s / median_s,
        utterances_per_s=len(scored.hypotheses) / median_s,
        latency_s=latency_s(passes),
        stage_s=stage_s(passes),
        padding_efficiency=scored.padding_efficiency,
        buckets=measured.stages.buckets if measured.stages else None,
        serial_stage_s=measured.stages.serial_stage_s if measured.stages else None,
        graph_captures=measured.captures,
        captures_timed=measured.captures_timed,
        compilations_timed=measured.counters_timed.compilations,
        cpu_fallbacks_timed=measured.counters_timed.cpu_fallbacks,
        peak_memory_bytes=measured.peak_memory_bytes,
        energy_j=_energy_j(measured.power, rounds_s),
        power=_power_use(measured.power),
        compile_s=measured.compile_s,
        failed=tuple(f.utterance_id for f in scored.failures),
        excluded={e.utterance_id: e.reason for e in corpus.exclusions},
        notes=(*engine.checkpoint.notes, *corpus.notes, *_notes_on(engine)),
        changed_vs_golden=finding.changed,
        golden_wer=finding.golden_wer,
        logit_distance=finding.logit_distance,
        valid=not reasons,
        invalid_reasons=tuple(reasons),
        environment={
            **provenance.environment,
            "checkpoint_sha256": engine.checkpoint.sha256,
            "checkpoint_files": ", ".join(engine.checkpoint.files),
            "checkpoint_revision": engine.checkpoint.revision,
            "dataset_revision": corpus.revision,
        },
        command=provenance.command,
        scores=utterance_scores(corpus, edits, scored.texts, passes),
    )


def _notes_on(engine: Engine) -> tuple[str, ...]:
    """Say where the host has no bfloat16 arithmetic, so that its speed is not believed."""
    if not engine.backend.is_host or engine.config.dtype != "bfloat16":
        return ()
    from w2v_core.backends.cpu import why_bfloat16_is_emulated

    return tuple(filter(None, (why_bfloat16_is_emulated(),)))
