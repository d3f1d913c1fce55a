"""Batches through the slots: h2d, compute, d2h, decode, overlapped.

The calling thread owns the device. It puts a batch into a free slot, enqueues its compute and
copies, and goes on with the next batch; when no slot is free it waits for the oldest one's event.
Decode workers see finished host arrays only.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from w2v_core.engine.ctc import Ids, transcripts
from w2v_core.engine.graphs import KeepLogits, StepRunner
from w2v_core.engine.slots import Slot, SlotRing
from w2v_core.errors import DeviceLostError, W2VError
from w2v_core.types import Batch, Failure, HostTimes, Hypothesis, Stage, Vocabulary, num_frames

P = ParamSpec("P")
T = TypeVar("T")
Decoded = tuple[list[Hypothesis], list[Failure], float]
"""Of a batch: its hypotheses, the utterances whose ids are no transcript, and decode seconds."""
Deliver = Callable[[Sequence[Hypothesis], Sequence[Failure]], None]
"""Takes what is known of some utterances, in the thread that owns the device."""
OnLogits = Callable[[Mapping[str, npt.NDArray[np.float32]]], None]
"""Takes the logits (T, V) of a batch's utterances, by id."""


class Pipeline:
    """One pass of batches over a ring of slots, and what it has found so far."""

    def __init__(
        self,
        runner: StepRunner,
        ring: SlotRing,
        vocabulary: Vocabulary,
        *,
        decode_workers: int,
        keep_frame_ids: bool,
        event_timeout_s: float,
        deliver: Deliver | None = None,
        on_logits: OnLogits | None = None,
    ) -> None:
        """Launch nothing yet. What is found goes to ``deliver``, or is kept where there is none."""
        self._on_logits = on_logits
        self._deliver = deliver or self._keep
        self.hypotheses: dict[str, Hypothesis] = {}
        self.failures: dict[str, Failure] = {}
        self.padded_samples = self.real_samples = 0
        self._runner = runner
        self._ring = ring
        self._vocabulary = vocabulary
        self._keep_frame_ids = keep_frame_ids
        self._event_timeout_s = event_timeout_s
        self._decode_workers = decode_workers
        self._decoding: deque[tuple[Batch, Future[Decoded]]] = deque()
        self._host_s = dict.fromkeys(("h2d", "compute", "d2h", "wait", "decode"), 0.0)
        self._stage: Stage = "h2d"
        self._entered_s = 0.0

    @property
    def host_times(self) -> HostTimes:
        """Host seconds by what they went into."""
        return HostTimes(**{f"{name}_s": seconds for name, seconds in self._host_s.items()})

    def _keep(self, hypotheses: Sequence[Hypothesis], failures: Sequence[Failure]) -> None:
        self.hypotheses.update((h.utterance_id, h) for h in hypotheses)
        self.failures.update((f.utterance_id, f) for f in failures)

    def run(self, batches: Iterable[Batch | None]) -> None:
        """Transcribe every batch; blocks until the last transcript. Once in a pipeline's life.

        None in place of a batch says that none is there for now: all in flight is delivered first.

        A stage that raises makes failures of that batch's utterances, by id. After an error of the
        device, all batches in flight with it fail as well; the others go on where the device comes
        to rest, and fail by id where it does not. What ``batches`` itself raises is raised here,
        after the work in flight is retired.
        """
        with _open_pool(self._decode_workers) as pool:
            try:
                for batch in batches:
                    if batch is None:
                        self._drain(pool)
                        continue
                    if not self._ring.free and self._ring.lost is None:
                        self._retire_oldest(pool)
                    if self._ring.lost is not None:
                        self._fail(batch, stage="h2d", reason=f"not begun: {self._ring.lost}")
                        continue
                    self._launch(batch)
                    self._retire_finished(pool)
            finally:
                self._drain(pool)

    def _drain(self, pool: Executor) -> None:
        while self._ring.in_flight:
            self._retire_oldest(pool)
        self._gather(leave=0)

    def _launch(self, batch: Batch) -> None:
        """Put the batch into a free slot and enqueue all its work; returns before it is done."""
        slot = self._ring.free.popleft()
        self._entered_s = time.perf_counter()
        try:
            self._run(slot, batch)
        except Exception as error:  # noqa: BLE001 - becomes a failure of each utterance, by id
            self._abandon(slot, batch, stage=self._stage, error=error)
            return
        self._enter("h2d")  # the next batch's
        self.padded_samples += batch.bucket.batch_size * batch.bucket.num_samples
        self.real_samples += sum(u.num_samples for u in batch.utterances)
        self._ring.in_flight.append(slot)

    def _run(self, slot: Slot, batch: Batch) -> None:
        if self._on_logits is None:
            self._runner.launch(slot, batch, enter=self._enter)
            return
        kept = KeepLogits(self._runner)
        self._runner.launch(slot, batch, run=kept, enter=self._enter)
        self._on_logits(kept.by_id(batch))

    def _enter(self, stage: Stage) -> None:
        now_s = time.perf_counter()
        self._host_s[self._stage] += now_s - self._entered_s
        self._stage, self._entered_s = stage, now_s

    def _retire_finished(self, pool: Executor) -> None:
        """Retire slots from the oldest on, as long as their events have passed; never blocks."""
        while self._ring.in_flight:
            slot = self._ring.in_flight[0]
            try:
                if slot.event is not None and not slot.event.query():
                    return
            except Exception as error:  # noqa: BLE001 - a device error surfaces at the first look
                self._ring.in_flight.popleft()
                self._abandon(slot, slot.batch, stage="d2h", error=error)
                continue
            self._retire_oldest(pool)

    def _retire_oldest(self, pool: Executor) -> None:
        """Wait for the oldest slot, hand a copy of its ids to a worker and free the slot."""
        slot = self._ring.in_flight.popleft()
        batch = slot.batch
        waited_s = time.perf_counter()
        try:
            ids = slot.finish(timeout_s=self._event_timeout_s)
        except Exception as error:  # noqa: BLE001 - an asynchronous device error surfaces here
            self._abandon(slot, batch, stage="d2h", error=error)
            return
        self._host_s["wait"] += time.perf_counter() - waited_s
        started_s = slot.started_s
        self._ring.release(slot)
        if batch is not None:
            self._decoding.append((batch, pool.submit(self._decode, batch, ids, started_s)))
            self._gather(leave=4 * self._decode_workers)

    def _gather(self, *, leave: int) -> None:
        """Take results of decode workers in order, waiting until at most ``leave`` are pending."""
        while len(self._decoding) > leave or (self._decoding and self._decoding[0][1].done()):
            batch, future = self._decoding.popleft()
            error = future.exception()
            if error is not None:
                reason = f"{type(error).__name__}: {error}"
                self._fail(batch, stage="decode", reason=reason)
                continue
            hypotheses, failures, decode_s = future.result()
            self._deliver(hypotheses, failures)
            self._host_s["decode"] += decode_s

    def _abandon(self, slot: Slot, batch: Batch | None, *, stage: Stage, error: Exception) -> None:
        """Account for a batch that failed, and for all that an error of the device takes along.

        An asynchronous error surfaces wherever the host looks next, so after one no batch in flight
        is trusted. Our own refusals are no such error: the device has done nothing wrong.
        """
        if batch is not None:
            self._fail(batch, stage=stage, reason=f"{type(error).__name__}: {error}")
        suspects, timeout_s = [slot], self._event_timeout_s
        if isinstance(error, W2VError) and not isinstance(error, DeviceLostError):
            surfaced = self._ring.recover(suspects, timeout_s=timeout_s)
            if surfaced is None:
                return
            error, suspects = surfaced, []
        suspects += self._ring.in_flight
        neighbours = [s.batch for s in self._ring.in_flight if s.batch is not None]
        self._ring.in_flight.clear()
        self._ring.recover(suspects, timeout_s=timeout_s, error=error)
        after = "the engine goes on" if self._ring.lost is None else "the engine cannot go on"
        for neighbour in neighbours:
            reason = (
                f"was in flight when the device failed ({error}), so it is not trusted; {after}"
            )
            self._fail(neighbour, stage="compute", reason=reason)

    def _fail(self, batch: Batch, *, stage: Stage, reason: str) -> None:
        """Account for every utterance of a batch that has no transcript."""
        failures = [Failure(utterance_id=i, stage=stage, error=reason) for i in batch.utterance_ids]
        self._deliver((), failures)

    def _decode(self, batch: Batch, ids: Ids, started_s: float) -> Decoded:
        """Decode finished ids; runs in a worker thread."""
        decoding_s = time.perf_counter()
        texts, broken = transcripts(batch, ids, self._vocabulary)
        finished_s = time.perf_counter()
        hypotheses = []
        for row, text in texts.items():
            frames = num_frames(batch.utterances[row].num_samples)
            hypothesis = Hypothesis(
                utterance_id=batch.utterances[row].utterance_id,
                text=text,
                num_frames=frames,
                latency_s=finished_s - started_s,
                frame_ids=ids[row, :frames].copy() if self._keep_frame_ids else None,
            )
            hypotheses.append(hypothesis)
        failures = [
            Failure(utterance_id=batch.utterances[row].utterance_id, stage="compute", error=reason)
            for row, reason in broken.items()
        ]
        return hypotheses, failures, time.perf_counter() - decoding_s


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
