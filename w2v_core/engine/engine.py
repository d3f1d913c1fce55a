"""The engine: a checkpoint on a backend, from waveforms to transcripts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from w2v_core.backends.base import Backend
from w2v_core.backends.watchdog import settle
from w2v_core.config import EngineConfig
from w2v_core.engine.bucketing import form_batches, plan_buckets, resolve_plan
from w2v_core.engine.ctc import Ids
from w2v_core.engine.graphs import CtcStep, KeepLogits, Run, StepRunner, noise_batch
from w2v_core.engine.intake import Intake, ready
from w2v_core.engine.pipeline import Deliver, OnLogits, Pipeline
from w2v_core.engine.slots import SlotRing
from w2v_core.errors import ConfigError, DeviceLostError, EngineError
from w2v_core.model.checkpoint import Checkpoint
from w2v_core.model.forward import build_forward
from w2v_core.model.layers import can_prepack
from w2v_core.progress import Advance, Progress, silent
from w2v_core.types import (
    RECEPTIVE_FIELD,
    Batch,
    Bucket,
    Stage,
    Transcription,
    Utterance,
)

WARM_UP_PATIENCE = 10  # times the timeout of an event: a first run may compile behind it
WINDOW = 512  # utterances looked ahead when batches are formed; bounds memory on a stream


class Engine:
    """Transcribes utterances; ``warm_up`` first, then ``transcribe`` as often as wanted.

    The constructor loads weights to the device; nothing is compiled or captured before ``warm_up``.
    Only the constructing thread may call it.
    """

    def __init__(self, checkpoint: Checkpoint, backend: Backend, config: EngineConfig) -> None:
        """Put the checkpoint on the device.

        Raises:
            DeviceError: the device cannot compute in the dtype, or has no graphs and they are on.
            CheckpointError: the checkpoint is outside the two families.
        """
        backend.check_dtype(config.dtype)
        self.checkpoint = checkpoint
        self.backend = backend
        self.config = config
        self.plan = resolve_plan(config, backend, num_parameters=checkpoint.num_parameters)
        is_compiled = backend.is_host and config.graphs  # no compiler of a host keeps float64
        self._forward = build_forward(
            checkpoint.module,
            name=config.forward,
            dtype="float32" if config.autocast else config.dtype,
            device=backend.device,
            attention_mask=checkpoint.attention_mask,
            float64_statistics=backend.supports_float64 and not is_compiled,
            packed=self.plan.packed,
            prepack=_prepacks(backend, config),
        )
        step = CtcStep(self._forward, backend, autocast=config.autocast)
        self.runner = StepRunner(
            backend,
            step,
            graphs=config.graphs,
            strict=config.strict,
            dtype=config.dtype,
            capture_timeout_s=WARM_UP_PATIENCE * config.event_timeout_s,
        )
        self._buckets: tuple[Bucket, ...] = ()
        self._ring: SlotRing | None = None

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The static shapes planned in warm-up, smallest first."""
        return self._buckets

    @property
    def choices(self) -> dict[str, str]:
        """What computes here, for the record: the forward's kernels, and who captured them."""
        chosen = {"kernels": str(self._forward.kernels)}
        if self.config.graphs:
            chosen["graphs_by"] = self.backend.graph_support(self.config.dtype).by
        return chosen

    @property
    def ring(self) -> SlotRing:
        """The slots.

        Raises:
            ConfigError: before warm-up.
        """
        if self._ring is None:
            raise ConfigError("the engine is cold; call warm_up(lengths) before transcribing")
        return self._ring

    @property
    def lost(self) -> DeviceLostError | None:
        """Why the engine cannot go on: its device was lost. None where it can."""
        return None if self._ring is None else self._ring.lost

    def warm_up(self, num_samples: Sequence[int], *, progress: Progress = silent) -> float:
        """Plan buckets from these lengths, then compile or capture and run each; blocks.

        The largest bucket goes first, so that later captures can reuse its memory. Where nothing is
        compiled, on a host without graphs, it is the only one that is run.

        Args:
            num_samples: Lengths of the utterances to come, in samples.
            progress: Told of each bucket that is warm.

        Returns:
            Wall seconds.
        """
        started_s = time.perf_counter()
        lengths = [n for n in num_samples if n >= RECEPTIVE_FIELD]
        if self.plan.at_most and 0 < len(lengths) < self.plan.num_buckets:
            self.plan = replace(self.plan, num_buckets=len(lengths))
        step = self.backend.frame_step
        self._buckets = plan_buckets(lengths, self.plan, frame_step=step) if lengths else ()
        if not self._buckets:
            self._buckets = (Bucket.holding(RECEPTIVE_FIELD, batch_size=1),)
        self._ring = SlotRing(self.backend, num_slots=self.config.num_slots, buckets=self._buckets)
        largest_first = sorted(
            self._buckets, key=lambda b: b.batch_size * b.num_samples, reverse=True
        )
        with progress("warm-up", total=len(largest_first), unit="buckets") as advance:
            for bucket in largest_first:
                if bucket is largest_first[0] or self.runner.compiles:
                    self.run_alone(
                        noise_batch(bucket),
                        run=self.runner.warm_up,
                        timeout_s=WARM_UP_PATIENCE * self.config.event_timeout_s,
                    )
                else:
                    self.runner.admit(bucket)
                advance(1)
        return time.perf_counter() - started_s

    def transcribe(
        self,
        utterances: Iterable[Utterance],
        *,
        record_failures: bool = False,
        keep_frame_ids: bool = False,
        advance: Advance | None = None,
        on_logits: OnLogits | None = None,
    ) -> Transcription:
        """Transcribe every utterance; blocks until the last transcript is on the host.

        Args:
            utterances: Normalised here where the checkpoint wants it and they are not. A stream
                is read with a bounded look-ahead. An utterance shorter than one frame (400
                samples) gets an empty hypothesis without touching the device.
            record_failures: Return failures beside the hypotheses instead of raising on the first.
            keep_frame_ids: Keep each hypothesis' arg-max ids, for parity checks.
            advance: Told the audio seconds of each batch after its launch; leave it out where the
                pass is timed.
            on_logits: Handed what ``logits`` computes, batch by batch: on a host by the very step
                that is timed, on a device beside its captures.

        Raises:
            EngineError: a stage failed, with all ids concerned (unless ``record_failures``).
            DataError: an id occurs twice, or an utterance is normalised and the checkpoint wants
                raw waveforms.
            AudioError: a sample is NaN, infinite or above 1e9, or the waveform is no (S,) float32.
            BucketOverflowError: an utterance is longer than the largest bucket.
        """
        ring = self.ring
        started_s = time.perf_counter()
        intake = Intake(self.checkpoint)
        one_pass = self.pipeline(keep_frame_ids=keep_frame_ids, on_logits=on_logits)
        batches = form_batches(intake.accept(utterances), self._buckets, window=WINDOW)
        one_pass.run(batches if advance is None else _watched(batches, advance))
        wall_s = time.perf_counter() - started_s
        transcription = _transcription(one_pass, intake, wall_s=wall_s)
        if transcription.failures and not record_failures:
            raise _engine_error(transcription, lost=ring.lost)
        return transcription

    def pipeline(
        self,
        *,
        keep_frame_ids: bool = False,
        deliver: Deliver | None = None,
        on_logits: OnLogits | None = None,
    ) -> Pipeline:
        """Return one pass that is still to run; raises ConfigError before warm-up."""
        return Pipeline(
            self.runner,
            self.ring,
            self.checkpoint.vocabulary,
            decode_workers=self.config.decode_workers,
            keep_frame_ids=keep_frame_ids,
            event_timeout_s=self.config.event_timeout_s,
            deliver=deliver,
            on_logits=on_logits,
        )

    def logits(self, utterances: Sequence[Utterance]) -> dict[str, npt.NDArray[np.float32]]:
        """Compute float32 logits (T, V) by utterance id, through the same buckets; for parity.

        Synchronous; of a host's graphs what was compiled, else never captured; not for timing.
        """
        by_id: dict[str, npt.NDArray[np.float32]] = {}
        for batch in self.batches(utterances):
            run = KeepLogits(self.runner)
            self.run_alone(batch, run=run)
            by_id.update(run.by_id(batch))
        return by_id

    def run_alone(
        self,
        batch: Batch,
        *,
        run: Run | None = None,
        enter: Callable[[Stage], object] = lambda _stage: None,
        timeout_s: float | None = None,
    ) -> Ids:
        """Run one batch with nothing else in flight; returns its ids (B, T) int32. Blocks.

        Args:
            batch: What to run.
            run: In place of the bucket's replay, see ``StepRunner.launch``.
            enter: Told of each stage as it begins.
            timeout_s: In place of the configuration's.

        Raises:
            DeviceLostError: the device did not finish in time, now or before.
        """
        ring = self.ring
        if ring.lost is not None:
            raise ring.lost
        slot, timeout_s = ring.free.popleft(), timeout_s or self.config.event_timeout_s
        try:
            self.runner.launch(slot, batch, run=run, enter=enter)
            ids = slot.finish(timeout_s=timeout_s)
            settle(self.backend, timeout_s=timeout_s)
        except Exception as error:
            ring.recover([slot], timeout_s=timeout_s, error=error)
            raise
        ring.free.appendleft(slot)
        slot.clear()
        return ids

    def batches(self, utterances: Iterable[Utterance]) -> Iterator[Batch]:
        """Form the batches that ``transcribe`` forms; utterances below one frame are left out."""
        used = (ready(u, self.checkpoint) for u in utterances if u.num_samples >= RECEPTIVE_FIELD)
        return form_batches(used, self._buckets, window=WINDOW)


def _prepacks(backend: Backend, config: EngineConfig) -> bool:
    """Whether weights are packed for oneDNN: bfloat16 on the host; a compiler packs its own."""
    suits = config.forward == "exact" and config.dtype == "bfloat16" and not config.autocast
    return backend.is_host and suits and not config.graphs and can_prepack()


def _watched(batches: Iterable[Batch], advance: Advance) -> Iterator[Batch]:
    """Pass batches on; the pipeline asks for the next one when it has launched the last."""
    for batch in batches:
        yield batch
        advance(sum(utterance.audio_s for utterance in batch.utterances))


def _transcription(one_pass: Pipeline, intake: Intake, *, wall_s: float) -> Transcription:
    """Put what a pass has found into the order of its input."""
    hypotheses, failures = {**one_pass.hypotheses, **intake.short}, one_pass.failures
    return Transcription(
        hypotheses=tuple(hypotheses[i] for i in intake.audio_s if i in hypotheses),
        failures=tuple(failures[i] for i in intake.audio_s if i in failures),
        wall_s=wall_s,
        audio_s=sum(s for i, s in intake.audio_s.items() if i in hypotheses),
        padded_samples=one_pass.padded_samples,
        real_samples=one_pass.real_samples,
        host_times=one_pass.host_times,
    )


def _engine_error(transcription: Transcription, *, lost: Exception | None) -> EngineError:
    failures = transcription.failures
    ids = [f.utterance_id for f in failures]
    shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    first = failures[0]
    return EngineError(
        f"{len(ids)} of {len(ids) + len(transcription.hypotheses)} utterances have no transcript "
        f"({shown}); the first failed in stage {first.stage!r}: {first.error}; "
        + ("the engine can go on" if lost is None else "the engine cannot go on"),
        utterance_ids=ids,
        stage=first.stage,
    )
