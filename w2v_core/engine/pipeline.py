"""Batches through the slots: stage, H2D, forward, D2H, decode, overlapped.

The calling thread owns the device. It stages a batch into a free slot, enqueues its forward and
copies, and goes on with the next batch; when no slot is free it waits for the oldest one's event.
Decode workers see finished host arrays only.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from w2v_core.backends.base import Backend
from w2v_core.engine.ctc import NOT_FINITE, decode_batch
from w2v_core.engine.graphs import StepRunner
from w2v_core.engine.slots import Slot, SlotRing
from w2v_core.types import Batch, Failure, Hypothesis, StageTimes, Vocabulary, num_frames

__all__ = ["Pipeline", "PipelineResult"]

Ids = npt.NDArray[np.int32]


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
    """One pass machine over a ring of slots; reusable, one pass at a time."""

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
        self._backend = backend
        self._runner = runner
        self._ring = ring
        self._vocabulary = vocabulary
        self._workers = decode_workers
        self._keep_frame_ids = keep_frame_ids

    def run(self, batches: Iterable[Batch]) -> PipelineResult:
        """Transcribe every batch; blocks until the last transcript.

        A stage that raises makes failures of that batch's utterances, by id; the other batches go
        on. What ``batches`` itself raises is raised here, after the work in flight is retired.
        """
        result = PipelineResult()
        decoding: deque[tuple[Batch, Future[_Decoded]]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="decode") as pool:
            try:
                for batch in batches:
                    if not self._ring.free:
                        self._retire(result, pool, decoding)
                    self._launch(result, batch)
                    self._retire_finished(result, pool, decoding)
            finally:
                while self._ring.in_flight:
                    self._retire(result, pool, decoding)
                self._gather(result, decoding, leave=0)
        return result

    def _launch(self, result: PipelineResult, batch: Batch) -> None:
        slot = self._ring.free.popleft()
        stage = "stage"
        started_s = time.perf_counter()
        slot.staged_at_s = started_s
        try:
            with self._backend.compute():
                waveforms, num_samples = slot.stage(batch)
                staged_s = time.perf_counter()
                stage = "forward"
                ids = self._runner(batch.bucket, waveforms, num_samples)
                stage = "copy"
                slot.collect(ids)
        except Exception as error:  # noqa: BLE001 - becomes a failure of each utterance, by id
            result.fail(batch, stage=stage, error=error)
            self._drain(slot)
            return
        result.stage_s += staged_s - started_s
        result.forward_s += time.perf_counter() - staged_s
        result.padded_samples += batch.bucket.batch_size * batch.bucket.num_samples
        result.real_samples += sum(u.num_samples for u in batch.utterances)
        self._ring.in_flight.append(slot)

    def _drain(self, slot: Slot) -> None:
        """Free the slot of a failed launch; its H2D copy may still read the host buffer."""
        with contextlib.suppress(Exception):  # the failure is on record; this wait is for the slot
            self._backend.synchronize()
        self._ring.release(slot)

    def _retire_finished(
        self,
        result: PipelineResult,
        pool: ThreadPoolExecutor,
        decoding: deque[tuple[Batch, Future[_Decoded]]],
    ) -> None:
        while self._ring.in_flight:
            event = self._ring.in_flight[0].event
            if event is not None and not event.query():
                return
            self._retire(result, pool, decoding)

    def _retire(
        self,
        result: PipelineResult,
        pool: ThreadPoolExecutor,
        decoding: deque[tuple[Batch, Future[_Decoded]]],
    ) -> None:
        """Wait for the oldest slot, hand a copy of its ids to a worker and free the slot."""
        slot = self._ring.in_flight.popleft()
        batch = slot.batch
        if batch is None or slot.event is None:
            self._ring.release(slot)
            return
        waited_s = time.perf_counter()
        try:
            slot.event.synchronize()
            ids = slot.take_ids()
        except Exception as error:  # noqa: BLE001 - an asynchronous device error surfaces here
            result.fail(batch, stage="copy", error=error)
            return
        finally:
            result.wait_s += time.perf_counter() - waited_s
            staged_at_s = slot.staged_at_s
            self._ring.release(slot)
        decoding.append((batch, pool.submit(self._decode, batch, ids, staged_at_s)))
        self._gather(result, decoding, leave=4 * self._workers)

    def _decode(self, batch: Batch, ids: Ids, staged_at_s: float) -> _Decoded:
        started_s = time.perf_counter()
        frames = [num_frames(u.num_samples) for u in batch.utterances]
        ids = ids[: len(frames)]
        texts = decode_batch(ids, frames, self._vocabulary)
        finished_s = time.perf_counter()
        hypotheses: list[Hypothesis] = []
        failures: list[Failure] = []
        for row, utterance in enumerate(batch.utterances):
            frame_ids = ids[row, : frames[row]]
            bad = np.flatnonzero(frame_ids == NOT_FINITE)
            if bad.size:
                message = f"logits are NaN or infinite at frame {bad[0]} of {frames[row]}"
                failures.append(
                    Failure(utterance_id=utterance.utterance_id, stage="forward", error=message)
                )
                continue
            hypotheses.append(
                Hypothesis(
                    utterance_id=utterance.utterance_id,
                    text=texts[row],
                    num_frames=frames[row],
                    latency_s=finished_s - staged_at_s,
                    frame_ids=frame_ids.copy() if self._keep_frame_ids else None,
                )
            )
        return _Decoded(
            hypotheses=hypotheses, failures=failures, decode_s=time.perf_counter() - started_s
        )

    def _gather(
        self,
        result: PipelineResult,
        decoding: deque[tuple[Batch, Future[_Decoded]]],
        *,
        leave: int,
    ) -> None:
        """Take results of decode workers in order, waiting until at most ``leave`` are pending."""
        while len(decoding) > leave or (decoding and decoding[0][1].done()):
            batch, future = decoding.popleft()
            error = future.exception()
            if error is not None:
                result.fail(batch, stage="decode", error=error)
                continue
            decoded = future.result()
            result.hypotheses.update((h.utterance_id, h) for h in decoded.hypotheses)
            result.failures.update((f.utterance_id, f) for f in decoded.failures)
            result.decode_s += decoded.decode_s
