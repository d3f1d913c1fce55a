"""The step, its captures (one per bucket, all made in warm-up), and the one way to run a batch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from w2v_core.backends.base import CAPTURE_TIMEOUT_S, Backend, Replay
from w2v_core.engine.ctc import NOT_FINITE
from w2v_core.engine.slots import Slot
from w2v_core.errors import GraphError
from w2v_core.types import Batch, Bucket, Dtype, Stage, Utterance, num_frames

Run = Callable[[Bucket, torch.Tensor, torch.Tensor], torch.Tensor]
"""Bucket, waveforms (B, S) float32 and num_samples (B,) int32 -> ids (B, T) int32, enqueued."""


class CtcStep(torch.nn.Module):
    """Waveforms to arg-max ids on the device; ids leave the device, logits do not.

    Where a frame's logits are NaN or infinite its id is ``ctc.NOT_FINITE``, so that the decoder can
    name the utterance without copying logits.
    """

    def __init__(self, model: torch.nn.Module, backend: Backend, *, autocast: bool) -> None:
        super().__init__()
        self.model = model
        self._autocast = backend.autocast if autocast else contextlib.nullcontext

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) float32 and (B,) int32 to ids (B, T) int32."""
        return self.ids(self.logits(waveforms, num_samples))

    def logits(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        """Map (B, S) float32 and (B,) int32 to logits (B, T, V)."""
        with self._autocast():
            logits: torch.Tensor = self.model(waveforms, num_samples)
        return logits

    @staticmethod
    def ids(logits: torch.Tensor) -> torch.Tensor:
        """Map logits (B, T, V) to ids (B, T) int32."""
        best, ids = logits.max(dim=-1)
        # int32: a 64-bit D2H copy blocks the host on Gaudi (contract, section 3).
        return ids.to(torch.int32).masked_fill(~torch.isfinite(best), NOT_FINITE)


class StepRunner:
    """Runs the step for a bucket, replaying its capture where graphs are on."""

    def __init__(
        self,
        backend: Backend,
        step: CtcStep,
        *,
        graphs: bool,
        strict: bool,
        dtype: Dtype = "float32",
        capture_timeout_s: float = CAPTURE_TIMEOUT_S,
    ) -> None:
        """Keep the step; nothing is compiled or captured yet.

        Raises:
            GraphError: graphs were asked for and the backend has none.
        """
        if graphs and (reason := backend.graph_support(dtype).unsupported) is not None:
            text = f"graphs are on but {reason}; {{use:graphs off}}"
            raise GraphError(text, field="graphs", value="on")
        self.backend = backend
        self.step = step
        self._graphs = graphs
        self._strict = strict
        self._dtype = dtype
        self._capture_timeout_s = capture_timeout_s
        self._replays: dict[Bucket, Replay] = {}
        self._logits: dict[Bucket, Replay] = {}
        self.captures = 0
        """Graph captures so far."""
        self.runs = 0
        """Batches launched so far."""

    @property
    def compiles(self) -> bool:
        """Whether a bucket's first run costs more than its next: it is captured or compiled."""
        return self._graphs or self.backend.asynchronous

    def admit(self, bucket: Bucket) -> None:
        """Let ``bucket`` run as it is, with nothing to warm up."""
        self._replays[bucket] = self.step

    def launch(
        self,
        slot: Slot,
        batch: Batch,
        *,
        run: Run | None = None,
        enter: Callable[[Stage], object] = lambda _stage: None,
    ) -> None:
        """Upload a batch, run it and start the copy of its ids; returns before any is done.

        Every batch goes this way: those of warm-up, of a pass, of the stages and of the logits.

        Args:
            slot: A free one; its ``finish`` waits for the ids.
            batch: What to put into it.
            run: In place of the bucket's replay.
            enter: Told of each stage as it begins.
        """
        self.runs += 1
        slot.run, slot.started_s = self.runs, time.perf_counter()
        with self.backend.compute():
            enter("h2d")
            waveforms, num_samples = slot.upload(batch)
            enter("compute")
            ids = (run or self)(batch.bucket, waveforms, num_samples)
            enter("d2h")
            # Warm-up needs it as well: the copy into the slot is a recipe of its own on Gaudi.
            slot.download(ids)

    def warm_up(
        self, bucket: Bucket, waveforms: torch.Tensor, num_samples: torch.Tensor
    ) -> torch.Tensor:
        """Compile or capture ``bucket`` and run it until the next run is the steady state.

        Returns:
            The last run's ids (B, T) int32, on the device.
        """
        if bucket not in self._replays:
            if self._graphs:
                self._replays[bucket] = self._capture(bucket, waveforms, num_samples)
                self.captures += 1
            else:
                self.admit(bucket)
        if self.backend.asynchronous:  # the first replay still pays; on the host the first run does
            self(bucket, waveforms, num_samples)
        return self(bucket, waveforms, num_samples)

    def _capture(
        self, bucket: Bucket, waveforms: torch.Tensor, num_samples: torch.Tensor
    ) -> Replay:
        """Capture the step; on a host, where ids need no copy, the logits of the step.

        What a compiler made of the model is then what the parity pass looks at, and the check for
        NaN stays torch's.
        """
        step = self.step.logits if self.backend.is_host else self.step
        found = self.backend.capture(
            step, waveforms, num_samples, dtype=self._dtype, timeout_s=self._capture_timeout_s
        )
        if not self.backend.is_host:
            return found
        self._logits[bucket] = found
        return lambda *inputs: self.step.ids(found(*inputs))

    def logits(
        self, bucket: Bucket, waveforms: torch.Tensor, num_samples: torch.Tensor
    ) -> torch.Tensor:
        """Compute logits (B, T, V): compiled where they were, on a device without the capture."""
        return self._logits.get(bucket, self.step.logits)(waveforms, num_samples)

    def __call__(
        self, bucket: Bucket, waveforms: torch.Tensor, num_samples: torch.Tensor
    ) -> torch.Tensor:
        """Enqueue the step; returns ids (B, T) int32 that the next call may overwrite.

        Raises:
            GraphError: the bucket was never warmed up and the run is strict.
        """
        if bucket not in self._replays:
            if self._strict:
                raise GraphError(
                    f"bucket of {bucket.batch_size} x {bucket.num_samples} samples was never "
                    "warmed up, and a strict run compiles nothing; warm up with its lengths"
                )
            self.warm_up(bucket, waveforms, num_samples)
        ids = self._replays[bucket](waveforms, num_samples)
        self.backend.mark_step()
        return ids


class KeepLogits:
    """Runs a bucket's step and keeps its logits."""

    logits: torch.Tensor

    def __init__(self, runner: StepRunner) -> None:
        self._runner = runner

    def __call__(self, bucket: Bucket, *inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, S) and (B,) to ids (B, T) int32; the logits are (B, T, V)."""
        self.logits = self._runner.logits(bucket, *inputs)
        return self._runner.step.ids(self.logits)

    def by_id(self, batch: Batch) -> dict[str, npt.NDArray[np.float32]]:
        """Copy each utterance's own frames (T, V) of the batch that was run; blocks."""
        values = self.logits.float().cpu().numpy()
        return {
            utterance.utterance_id: np.array(values[row, : num_frames(utterance.num_samples)])
            for row, utterance in enumerate(batch.utterances)
        }


def noise_batch(bucket: Bucket) -> Batch:
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
