"""One cell to one record: warm-up, a scored pass, timed rounds, and the proof that they agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from w2v_core._moved import names_of
from w2v_core.backends.power import Sensor, power_log
from w2v_core.bench.cell_record import Measurement, Provenance, cell_record
from w2v_core.bench.energy import sensor_of
from w2v_core.bench.parity import GoldenCheck, GoldenFinding
from w2v_core.bench.phases import Phases
from w2v_core.bench.reasons import accounting_reasons, round_reasons
from w2v_core.bench.rounds import OnScored, RoundTimer, TimedPass
from w2v_core.bench.stages import measure_stages
from w2v_core.data.catalog import Corpus
from w2v_core.engine.engine import Engine
from w2v_core.engine.pipeline import OnLogits
from w2v_core.progress import Progress, silent
from w2v_core.records.cell import Cell
from w2v_core.records.claims import denied
from w2v_core.records.record import CellRecord
from w2v_core.types import Utterance


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
    on_scored: OnScored = lambda _: None,
    phases: Phases | None = None,
) -> CellRecord:
    """Measure a cell; blocks for warm-up, scored pass, timed rounds, stages and the parity pass.

    The record is valid only where every utterance is accounted for, every round returned the scored
    transcripts, nothing was captured, compiled or handed to the host in a timed round, and the
    goldens were met. WER ceilings are for ``verdict``. ``on_scored`` is handed the scored pass,
    frame ids included, after all rounds; ``phases`` has what was spent before.
    """
    goldens = GoldenCheck(engine, corpus)
    measured = _run(
        engine,
        corpus.utterances,
        timer=timer,
        phases=(phases := phases or Phases()),
        rounds=rounds,
        progress=progress,
        sensor=sensor_of(engine.backend, provenance.environment),
        on_logits=goldens.on_logits,
    )
    on_scored(scored := measured.scored)
    lost = [f"the device was lost: {engine.lost}"] if engine.lost is not None else []
    with phases.of("stages"):  # now: what the measurement has counted must not see it
        stages = None if lost or scored.failures else measure_stages(engine, corpus.utterances)
    with phases.of("goldens"):
        finding = GoldenFinding() if lost else goldens.check(scored)
    return cell_record(
        *(engine, corpus, cell, measured),
        stages=stages,
        finding=finding,
        reasons=[
            *denied("accounting", [*lost, *accounting_reasons(corpus, scored)]),
            *denied("steady state", round_reasons(measured)),
            *denied("goldens", finding.reasons),
        ],
        provenance=provenance,
        limit=limit,
        phase_s=phases.seconds,
    )


def _run(
    engine: Engine,
    utterances: Sequence[Utterance],
    *,
    timer: RoundTimer,
    phases: Phases,
    rounds: int,
    progress: Progress,
    sensor: Sensor | str,
    on_logits: OnLogits | None,
) -> Measurement:
    cold = engine.backend.counters()
    with phases.of("warm_up"):
        warm_up_s = engine.warm_up([u.num_samples for u in utterances], progress=progress)
    captures, warm = engine.runner.captures, engine.backend.counters()
    audio_s = sum(u.audio_s for u in utterances)
    scoring = progress("scored pass", total=audio_s, unit="audio s")
    with scoring as advance, phases.of("scored"):
        scored = engine.transcribe(
            utterances,
            record_failures=True,
            keep_frame_ids=True,
            advance=advance,
            on_logits=on_logits,
        )
    if engine.lost is None:
        engine.backend.reset_peak_memory()
    before = engine.backend.counters()
    progressing = progress("timed rounds", total=rounds * audio_s, unit="audio s")
    with progressing as advance, power_log(sensor) as power, phases.of("rounds"):
        timed = [] if engine.lost else timer(TimedPass(engine, utterances, advance))
    if engine.lost is not None:  # a pass that was refused takes no time: it is no figure
        timed = [one for one in timed if not one.transcription.failures]
    return Measurement(
        warm_up_s=warm_up_s,
        counters_warm_up=warm - cold,
        captures=captures,
        scored=scored,
        rounds=timed,
        captures_timed=engine.runner.captures - captures,
        counters_timed=engine.backend.counters() - before,
        power=power,
        peak_memory_bytes=0 if engine.lost else engine.backend.peak_memory_bytes(),
    )


if not TYPE_CHECKING:
    __getattr__ = names_of("bench.measure", ["bench.rounds"])
