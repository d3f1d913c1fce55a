"""The engine for requests that come one by one: ``submit`` from any thread.

The thread that opened the device serves; the others only ever see futures.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from w2v_core.engine.bucketing import form_batches
from w2v_core.engine.engine import WINDOW, Engine
from w2v_core.engine.intake import ready
from w2v_core.errors import BucketOverflowError, EngineBusyError, EngineError
from w2v_core.types import RECEPTIVE_FIELD, Batch, Failure, Hypothesis, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    utterance: Utterance
    utterance_id: str
    """As it was submitted; ids within a batch are numbers, as one may be asked for twice."""
    submitted_s: float
    future: Future[Hypothesis] = field(default_factory=Future)


class Online:
    """Answers utterances as they come; each answer is its own, whatever the order of the batches.

    A batch leaves when the device is idle and the oldest request has waited ``max_wait_s``, or when
    there is enough for a batch. Requests that come while a batch is computed wait for the next.
    """

    def __init__(
        self, engine: Engine, *, max_wait_s: float = 0.005, max_pending: int = 4 * WINDOW
    ) -> None:
        """Serve nothing yet.

        Args:
            engine: Warm; its buckets must hold what will be submitted.
            max_wait_s: How long a request waits for others to share its batch.
            max_pending: Requests that may be unanswered; ``submit`` blocks beyond it.
        """
        self._engine = engine
        self._max_wait_s = max_wait_s
        self._longest = max(bucket.capacity_samples for bucket in engine.buckets)
        self._rows = max(bucket.batch_size for bucket in engine.buckets)
        self._room = threading.BoundedSemaphore(max_pending)
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._computing: dict[str, _Request] = {}
        self._numbers = 0
        self._is_closed = False

    def submit(self, utterance: Utterance, *, timeout_s: float | None = None) -> Future[Hypothesis]:
        """Ask for a transcript, from any thread; its ``latency_s`` counts from here.

        The future can be cancelled until its batch leaves. It raises EngineError where the device
        or the decoding failed. Blocks while ``max_pending`` requests are unanswered. What is called
        back by a future runs in the serving thread, and must not submit.

        Raises:
            EngineBusyError: it blocked for ``timeout_s``; nothing was submitted.
            EngineError: ``close`` was called.
            BucketOverflowError: it is longer than the largest bucket.
            DataError, AudioError: as ``Engine.transcribe``.
        """
        submitted_s = time.perf_counter()
        if utterance.num_samples > self._longest:
            raise BucketOverflowError(
                f"utterance {utterance.utterance_id!r} has {utterance.num_samples} samples, the "
                f"largest bucket holds {self._longest}; warm up with its length"
            )
        is_short = utterance.num_samples < RECEPTIVE_FIELD
        taken = utterance if is_short else ready(utterance, self._engine.checkpoint)
        if not self._room.acquire(timeout=timeout_s):
            raise EngineBusyError(
                f"no answer came within {timeout_s} s while the engine was full; submit fewer at "
                "once, or wait longer"
            )
        request = _Request(
            utterance=taken, utterance_id=utterance.utterance_id, submitted_s=submitted_s
        )
        request.future.add_done_callback(lambda _: self._room.release())
        self._queue(request, is_short=is_short)
        return request.future

    def serve(self) -> None:
        """Answer until ``close``, and what was submitted before it; in the device's own thread.

        Where it raises, every future that has no answer yet raises EngineError.
        """
        try:
            self._engine.pipeline(deliver=self._answer).run(self._batches())
        finally:
            self.close()
            waiting = [r for r in self._waiting if r.future.set_running_or_notify_cancel()]
            for request in [*self._computing.values(), *waiting]:
                request.future.set_exception(_lost(request, "the engine stopped serving"))
            self._computing.clear()
            self._waiting.clear()

    def close(self) -> None:
        """Accept nothing more; ``serve`` returns when all is answered. From any thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _queue(self, request: _Request, *, is_short: bool) -> None:
        with self._changed:
            if self._is_closed:
                self._room.release()
                raise EngineError(
                    "the engine is closed; open another to submit more",
                    utterance_ids=[request.utterance_id],
                    stage="h2d",
                )
            if not is_short:
                self._waiting.append(request)
                self._changed.notify_all()
        if is_short:
            request.future.set_result(
                Hypothesis(utterance_id=request.utterance_id, text="", num_frames=0, latency_s=0.0)
            )

    def _batches(self) -> Iterator[Batch | None]:
        while True:
            with self._changed:
                if not self._waiting and not self._computing:
                    self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting and not self._computing:
                    return
                requests = self._take() if self._waiting else []
            if not requests:
                yield None  # what is in flight is delivered before anything else is waited for
                continue
            yield from form_batches(
                (r.utterance for r in requests), self._engine.buckets, window=WINDOW
            )

    def _take(self) -> list[_Request]:
        """Wait for a batch's worth, or the oldest request's deadline; holds the condition."""
        if not self._computing:
            left_s = self._waiting[0].submitted_s + self._max_wait_s - time.perf_counter()
            self._changed.wait_for(
                lambda: len(self._waiting) >= self._rows or self._is_closed, max(0.0, left_s)
            )
        taken: list[_Request] = []
        while self._waiting and len(taken) < WINDOW:
            request = self._waiting.popleft()
            if not request.future.set_running_or_notify_cancel():
                continue
            self._numbers += 1
            number = str(self._numbers)
            numbered = replace(request, utterance=replace(request.utterance, utterance_id=number))
            self._computing[number] = numbered
            taken.append(numbered)
        return taken

    def _answer(self, hypotheses: Sequence[Hypothesis], failures: Sequence[Failure]) -> None:
        for found in hypotheses:
            request = self._computing.pop(found.utterance_id)
            # Each by its own end: answering the rows before takes time.
            latency_s = time.perf_counter() - request.submitted_s
            request.future.set_result(
                replace(found, utterance_id=request.utterance_id, latency_s=latency_s)
            )
        for failure in failures:
            request = self._computing.pop(failure.utterance_id)
            request.future.set_exception(_lost(request, failure.error, failure=failure))


def _lost(request: _Request, why: str, *, failure: Failure | None = None) -> EngineError:
    return EngineError(
        f"utterance {request.utterance_id!r} has no transcript: {why}",
        utterance_ids=[request.utterance_id],
        stage="h2d" if failure is None else failure.stage,
    )
