"""Batches through the slots: stage, H2D, forward, D2H, decode, overlapped.

The calling thread owns the device. It stages a batch into a free slot, enqueues its forward and
copies, and goes on with the next batch; when no slot is free it waits for the oldest one's event.
Decode workers see finished host arrays only.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from w2v_core.backends.base import Backend
from w2v_core.engine.ctc import NOT_FINITE, decode_batch
from w2v_core.engine.graphs import StepRunner
from w2v_core.engine.slots import Slot, SlotRing
from w2v_core.types import Batch, Failure, Hypothesis, StageTimes, Vocabulary, num_frames

__all__ = ["Pipeline", "PipelineResult"]

Ids = npt.NDArray[np.int32]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class PipelineResult:
    """What a run gathers while it goes on."""

    hypotheses: dict[str, Hypothesis] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    padded_samples: int = 0
    real_samples: int = 0
    stage_s: float = 0.0
    forward_s: float = 0.0
    wait_s: float = 0.0
    decode_s: float = 0.0

    @property
    def stages(self) -> StageTimes:
        """Host seconds by stage."""
        return StageTimes(
            stage_s=self.stage_s,
            forward_s=self.forward_s,
            wait_s=self.wait_s,
            decode_s=self.decode_s,
        )

    def fail(self, batch: Batch, *, stage: str, error: BaseException) -> None:
        """Account for every utterance of a batch that has no transcript."""
        text = f"{type(error).__name__}: {error}"
        for utterance_id in batch.utterance_ids:
            self.failures[utterance_id] = Failure(
                utterance_id=utterance_id, stage=stage, error=text
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    hypotheses: list[Hypothesis]
    failures: list[Failure]
    decode_s: float


class Pipeline:
    """Runs batches over a ring of slots; reusable, one pass at a time."""

    def __init__(
        self,
        backend: Backend,
        runner: StepRunner,
        ring: SlotRing,
        vocabulary: Vocabulary,
        *,
        decode_workers: int,
        keep_frame_ids: bool,
    ) -> None:
        self.backend = backend
        self.runner = runner
        self.ring = ring
        self.vocabulary = vocabulary
        self.decode_workers = decode_workers
        self.keep_frame_ids = keep_frame_ids

    def run(self, batches: Iterable[Batch]) -> PipelineResult:
        """Transcribe every batch; blocks until the last transcript.

        A stage that raises makes failures of that batch's utterances, by id; the other batches go
        on. What ``batches`` itself raises is raised here, after the work in flight is retired.
        """
        with _open_pool(self.decode_workers) as pool:
            one = _Pass(self, pool)
            try:
                for batch in batches:
                    if not self.ring.free:
                        one.retire_oldest()
                    one.launch(batch)
                    one.retire_finished()
            finally:
                while self.ring.in_flight:
                    one.retire_oldest()
                one.gather(leave=0)
        return one.result


def _open_pool(workers: int) -> Executor:
    return ThreadPoolExecutor(workers, thread_name_prefix="decode") if workers else _Here()


class _Here(Executor):
    """No pool: the work is done by the time ``submit`` returns, in the calling thread."""

    def submit(self, fn: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*arguments, **options))
        except Exception as error:  # noqa: BLE001 - as a worker's: whoever looks at it handles it
            done.set_exception(error)
        return done


class _Pass:
    """The state of one run."""

    def __init__(self, pipeline: Pipeline, pool: Executor) -> None:
        self.result = PipelineResult()
        self._backend = pipeline.backend
        self._runner = pipeline.runner
        self._ring = pipeline.ring
        self._vocabulary = pipeline.vocabulary
        self._keep_frame_ids = pipeline.keep_frame_ids
        self._most_pending = 4 * pipeline.decode_workers
        self._pool = pool
        self._decoding: deque[tuple[Batch, Future[_Decoded]]] = deque()

    def launch(self, batch: Batch) -> None:
        """Put the batch into a free slot and enqueue all its work; returns before it is done."""
        slot = self._ring.free.popleft()
        stage = "stage"
        slot.staged_at_s = time.perf_counter()
        try:
            with self._backend.compute():
                waveforms, num_samples = slot.stage(batch)
                staged_s = time.perf_counter()
                stage = "forward"
                ids = self._runner(batch.bucket, waveforms, num_samples)
                stage = "copy"
                slot.collect(ids)
        except Exception as error:  # noqa: BLE001 - becomes a failure of each utterance, by id
            self._abandon(slot, batch, stage=stage, error=error)
            return
        self.result.stage_s += staged_s - slot.staged_at_s
        self.result.forward_s += time.perf_counter() - staged_s
        self.result.padded_samples += batch.bucket.batch_size * batch.bucket.num_samples
        self.result.real_samples += sum(u.num_samples for u in batch.utterances)
        self._ring.in_flight.append(slot)

    def retire_finished(self) -> None:
        """Retire slots from the oldest on, as long as their events have passed; never blocks."""
        while self._ring.in_flight:
            slot = self._ring.in_flight[0]
            try:
                if slot.event is not None and not slot.event.query():
                    return
            except Exception as error:  # noqa: BLE001 - a device error surfaces at the first look
                self._ring.in_flight.popleft()
                self._abandon(slot, slot.batch, stage="copy", error=error)
                continue
            self.retire_oldest()

    def retire_oldest(self) -> None:
        """Wait for the oldest slot, hand a copy of its ids to a worker and free the slot."""
        slot = self._ring.in_flight.popleft()
        batch, event = slot.batch, slot.event
        if batch is None or event is None:
            self._ring.release(slot)
            return
        waited_s = time.perf_counter()
        try:
            event.synchronize()
            ids = slot.take_ids()
        except Exception as error:  # noqa: BLE001 - an asynchronous device error surfaces here
            self._abandon(slot, batch, stage="copy", error=error)
            return
        self.result.wait_s += time.perf_counter() - waited_s
        staged_at_s = slot.staged_at_s
        self._ring.release(slot)
        self._decoding.append((batch, self._pool.submit(self._decode, batch, ids, staged_at_s)))
        self.gather(leave=self._most_pending)

    def gather(self, *, leave: int) -> None:
        """Take results of decode workers in order, waiting until at most ``leave`` are pending."""
        while len(self._decoding) > leave or (self._decoding and self._decoding[0][1].done()):
            batch, future = self._decoding.popleft()
            error = future.exception()
            if error is not None:
                self.result.fail(batch, stage="decode", error=error)
                continue
            decoded = future.result()
            self.result.hypotheses.update((h.utterance_id, h) for h in decoded.hypotheses)
            self.result.failures.update((f.utterance_id, f) for f in decoded.failures)
            self.result.decode_s += decoded.decode_s

    def _abandon(
        self, slot: Slot, batch: Batch | None, *, stage: str, error: BaseException
    ) -> None:
        """Account for a failed batch and free its slot, whose copies may still be in flight."""
        if batch is not None:
            self.result.fail(batch, stage=stage, error=error)
        with contextlib.suppress(Exception):  # the failure is on record; this wait is for the slot
            self._backend.synchronize()
        self._ring.release(slot)

    def _decode(self, batch: Batch, ids: Ids, staged_at_s: float) -> _Decoded:
        """Decode finished ids; runs in a worker thread."""
        started_s = time.perf_counter()
        frames = [num_frames(u.num_samples) for u in batch.utterances]
        ids = ids[: len(frames)]
        broken = {row: b for row, b in enumerate(map(self._find_broken, ids, frames)) if b}
        texts = decode_batch(
            ids, [0 if r in broken else n for r, n in enumerate(frames)], self._vocabulary
        )
        finished_s = time.perf_counter()
        rows = list(enumerate(batch.utterances))
        hypotheses = [
            Hypothesis(
                utterance_id=utterance.utterance_id,
                text=texts[row],
                num_frames=frames[row],
                latency_s=finished_s - staged_at_s,
                frame_ids=ids[row, : frames[row]].copy() if self._keep_frame_ids else None,
            )
            for row, utterance in rows
            if row not in broken
        ]
        failures = [
            Failure(utterance_id=utterance.utterance_id, stage="forward", error=broken[row])
            for row, utterance in rows
            if row in broken
        ]
        return _Decoded(
            hypotheses=hypotheses, failures=failures, decode_s=time.perf_counter() - started_s
        )

    def _find_broken(self, ids: Ids, frames: int) -> str:
        """Say why a row of ids cannot be a transcript; empty where it can."""
        bad = np.flatnonzero((ids[:frames] < 0) | (ids[:frames] >= len(self._vocabulary.tokens)))
        if not bad.size:
            return ""
        frame = int(bad[0])
        if ids[frame] == NOT_FINITE:
            return f"logits are NaN or infinite at frame {frame} of {frames}"
        return f"id {ids[frame]} at frame {frame} is outside the vocabulary: an unfinished copy"
