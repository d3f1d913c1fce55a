"""The step, and its captures: one per bucket, all made in warm-up."""

from __future__ import annotations

import contextlib

import torch

from w2v_core.backends.base import Backend, Replay
from w2v_core.engine.ctc import NOT_FINITE
from w2v_core.errors import GraphError
from w2v_core.types import Bucket

__all__ = ["CtcStep", "StepRunner"]


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
        with self._autocast():
            logits: torch.Tensor = self.model(waveforms, num_samples)  # (B, T, V)
        best, ids = logits.max(dim=-1)
        # int32: a 64-bit D2H copy blocks the host on Gaudi (contract, section 3).
        return ids.to(torch.int32).masked_fill(~torch.isfinite(best), NOT_FINITE)


class StepRunner:
    """Runs the step for a bucket, replaying its capture where graphs are on."""

    def __init__(
        self, backend: Backend, step: torch.nn.Module, *, graphs: bool, strict: bool
    ) -> None:
        """Keep the step; nothing is compiled or captured yet.

        Raises:
            GraphError: graphs were asked for and the backend has none.
        """
        if graphs and backend.graphs_unsupported is not None:
            raise GraphError(f"graphs are on but {backend.graphs_unsupported}; use --graphs off")
        self._backend = backend
        self._step = step
        self._graphs = graphs
        self._strict = strict
        self._replays: dict[Bucket, Replay] = {}
        self.captures = 0
        """Graph captures so far."""

    @property
    def warm_buckets(self) -> frozenset[Bucket]:
        """Buckets that have been warmed up."""
        return frozenset(self._replays)

    def warm_up(
        self, bucket: Bucket, waveforms: torch.Tensor, num_samples: torch.Tensor
    ) -> torch.Tensor:
        """Compile or capture ``bucket`` and run it until the next run is the steady state.

        Returns:
            The last run's ids (B, T) int32, on the device.
        """
        if bucket not in self._replays:
            if self._graphs:
                self._replays[bucket] = self._backend.capture(self._step, waveforms, num_samples)
                self.captures += 1
            else:
                self._replays[bucket] = self._step
        if (
            self._backend.asynchronous
        ):  # the first replay still pays; on the host the first run does
            self(bucket, waveforms, num_samples)
        return self(bucket, waveforms, num_samples)

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
        self._backend.mark_step()
        return ids
