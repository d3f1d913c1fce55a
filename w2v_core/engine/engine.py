"""The engine: a checkpoint on a backend, from waveforms to transcripts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from w2v_core.backends.base import Backend
from w2v_core.config import BatchPlan, EngineConfig, PlanKind
from w2v_core.data.audio import check, scaled
from w2v_core.engine.bucketing import form_batches, plan_buckets
from w2v_core.engine.graphs import CtcStep, StepRunner
from w2v_core.engine.pipeline import Pipeline
from w2v_core.engine.slots import SlotRing
from w2v_core.errors import ConfigError, DataError, EngineError
from w2v_core.model.checkpoint import Checkpoint
from w2v_core.model.forward import build_forward
from w2v_core.model.layers import can_prepack
from w2v_core.progress import Advance, Progress, silent
from w2v_core.types import (
    RECEPTIVE_FIELD,
    Batch,
    Bucket,
    Hypothesis,
    Transcription,
    Utterance,
    num_frames,
)

__all__ = ["Engine"]

# On a host, packing pays from here on: base (94 M) is faster packed, the canary (4 M) sorted.
PACKED_PARAMETERS = 50_000_000
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
        self._model = build_forward(
            checkpoint.module,
            name=config.forward,
            dtype="float32" if config.autocast else config.dtype,
            device=backend.device,
            attention_mask=checkpoint.attention_mask,
            float64_statistics=backend.supports_float64,
            packed=self.plan.kind == "packed",
            prepack=_prepacks(backend, config),
        )
        step = CtcStep(self._model, backend, autocast=config.autocast)
        self.runner = StepRunner(backend, step, graphs=config.graphs, strict=config.strict)
        self._buckets: tuple[Bucket, ...] = ()
        self._ring: SlotRing | None = None

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The static shapes planned in warm-up, smallest first."""
        return self._buckets

    @property
    def ring(self) -> SlotRing:
        """The slots.

        Raises:
            ConfigError: before warm-up.
        """
        if self._ring is None:
            raise ConfigError("the engine is cold; call warm_up(lengths) before transcribing")
        return self._ring

    def warm_up(self, num_samples: Sequence[int], *, progress: Progress = silent) -> float:
        """Plan buckets from these lengths, then compile or capture and run each; blocks.

        The largest bucket goes first, so that later captures can reuse its memory.

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
        self._buckets = plan_buckets(lengths, self.plan) if lengths else ()
        if not self._buckets:
            self._buckets = (Bucket.holding(RECEPTIVE_FIELD, batch_size=1),)
        self._ring = SlotRing(self.backend, num_slots=self.config.num_slots, buckets=self._buckets)
        slot = self._ring.free[0]
        largest_first = sorted(
            self._buckets, key=lambda b: b.batch_size * b.num_samples, reverse=True
        )
        with progress("warm-up", total=len(largest_first), unit="buckets") as advance:
            for bucket in largest_first:
                with self.backend.compute():
                    waveforms, counts = slot.stage(_noise_batch(bucket))
                    # Collecting compiles too: the copy into the slot is a recipe of its own on
                    # Gaudi.
                    slot.collect(self.runner.warm_up(bucket, waveforms, counts))
                self.backend.synchronize()
                slot.clear()
                advance(1)
        return time.perf_counter() - started_s

    def transcribe(
        self,
        utterances: Iterable[Utterance],
        *,
        record_failures: bool = False,
        keep_frame_ids: bool = False,
        advance: Advance | None = None,
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

        Raises:
            EngineError: a stage failed, with all ids concerned (unless ``record_failures``).
            DataError: an id occurs twice, or an utterance is normalised and the checkpoint wants
                raw waveforms.
            AudioError: a sample is NaN, infinite or above 1e9, or the waveform is no (S,) float32.
            BucketOverflowError: an utterance is longer than the largest bucket.
        """
        ring = self.ring
        started_s = time.perf_counter()
        order: dict[str, None] = {}
        short: dict[str, Hypothesis] = {}
        audio_s: dict[str, float] = {}
        pipeline = Pipeline(
            self.backend,
            self.runner,
            ring,
            self.checkpoint.vocabulary,
            decode_workers=self.config.decode_workers,
            keep_frame_ids=keep_frame_ids,
        )
        accepted = self._accept(utterances, order=order, short=short, audio_s=audio_s)
        batches = form_batches(accepted, self._buckets, window=WINDOW)
        result = pipeline.run(batches if advance is None else _watched(batches, advance))
        wall_s = time.perf_counter() - started_s
        found = {**result.hypotheses, **short}
        transcription = Transcription(
            hypotheses=tuple(found[i] for i in order if i in found),
            failures=tuple(result.failures[i] for i in order if i in result.failures),
            wall_s=wall_s,
            audio_s=sum(audio_s[i] for i in order if i in found),
            padded_samples=result.padded_samples,
            real_samples=result.real_samples,
            stages=result.stages,
        )
        if transcription.failures and not record_failures:
            raise _engine_error(transcription)
        return transcription

    def logits(self, utterances: Sequence[Utterance]) -> dict[str, npt.NDArray[np.float32]]:
        """Compute float32 logits (T, V) by utterance id, through the same buckets; for parity.

        Synchronous and never captured; not for timing.
        """
        found: dict[str, npt.NDArray[np.float32]] = {}
        slot = self.ring.free[0]
        for batch in self.batches(utterances):
            with self.backend.compute():
                waveforms, counts = slot.stage(batch)
                with self.backend.autocast() if self.config.autocast else nullcontext():
                    logits = self._model(waveforms, counts)
                values = logits.float().cpu().numpy()
                slot.clear()
            for row, utterance in enumerate(batch.utterances):
                rows = values[row, : num_frames(utterance.num_samples)]
                found[utterance.utterance_id] = np.array(rows, dtype=np.float32)
        return found

    def batches(self, utterances: Iterable[Utterance]) -> Iterator[Batch]:
        """Form the batches that ``transcribe`` forms; utterances below one frame are left out."""
        ready = (self._ready(u) for u in utterances if u.num_samples >= RECEPTIVE_FIELD)
        return form_batches(ready, self._buckets, window=WINDOW)

    def _accept(
        self,
        utterances: Iterable[Utterance],
        *,
        order: dict[str, None],
        short: dict[str, Hypothesis],
        audio_s: dict[str, float],
    ) -> Iterator[Utterance]:
        """Check ids and waveforms, answer utterances below one frame, pass the rest on."""
        for utterance in utterances:
            utterance_id = utterance.utterance_id
            if utterance_id in order:
                raise DataError(f"utterance id {utterance_id!r} occurs twice; ids must be unique")
            order[utterance_id] = None
            audio_s[utterance_id] = utterance.audio_s
            if utterance.num_samples < RECEPTIVE_FIELD:
                short[utterance_id] = Hypothesis(
                    utterance_id=utterance_id, text="", num_frames=0, latency_s=0.0
                )
                continue
            yield self._ready(utterance)

    def _ready(self, utterance: Utterance) -> Utterance:
        """Check a waveform and find how staging must scale it."""
        if utterance.normalised and not self.checkpoint.do_normalize:
            raise DataError(
                f"utterance {utterance.utterance_id!r} is normalised, and checkpoint "
                f"{self.checkpoint.name!r} wants it raw; pass the waveform as it was decoded"
            )
        if self.checkpoint.do_normalize:
            return scaled(utterance)
        check(utterance)
        return utterance


def _prepacks(backend: Backend, config: EngineConfig) -> bool:
    """Whether weights are packed for oneDNN: bfloat16 on the host, where it pays."""
    suits = config.forward == "exact" and config.dtype == "bfloat16" and not config.autocast
    return backend.is_host and suits and can_prepack()


def resolve_plan(config: EngineConfig, backend: Backend, *, num_parameters: int) -> BatchPlan:
    """Return the plan with ``auto`` replaced by what the backend and the model's size prefer.

    A number of buckets that was asked for is kept: ``optimal`` is then the plan that uses it.
    """
    plan = config.plan
    if plan.kind != "auto":
        return plan
    kind = backend.default_plan if plan.at_most else "optimal"
    packs = backend.is_host and config.forward == "exact" and num_parameters >= PACKED_PARAMETERS
    if kind == "sorted" and packs:
        kind = "packed"
    return replace(plan, kind=cast("PlanKind", kind))


def _watched(batches: Iterable[Batch], advance: Advance) -> Iterator[Batch]:
    """Pass batches on; the pipeline asks for the next one when it has launched the last."""
    for batch in batches:
        yield batch
        advance(sum(utterance.audio_s for utterance in batch.utterances))


def _noise_batch(bucket: Bucket) -> Batch:
    """Fill a bucket with full-length seeded noise: zeros can run faster than speech does."""
    rng = np.random.default_rng(0)
    rows = tuple(
        Utterance(
            utterance_id=f"warm-up-{row}",
            waveform=rng.standard_normal(bucket.capacity_samples, dtype=np.float32),
            normalised=True,
        )
        for row in range(bucket.batch_size)
    )
    return Batch(bucket=bucket, utterances=rows)


def _engine_error(transcription: Transcription) -> EngineError:
    failures = transcription.failures
    ids = [f.utterance_id for f in failures]
    shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    first = failures[0]
    return EngineError(
        f"{len(ids)} of {len(ids) + len(transcription.hypotheses)} utterances have no transcript "
        f"({shown}); the first failed in stage {first.stage!r}: {first.error}",
        utterance_ids=ids,
        stage=first.stage,
    )
