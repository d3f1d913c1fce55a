"""The ways to transcribe that are compared: the seed's algorithm, the peers, and ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tests.benchmarks.peers import OpenVino, Transcribe, hugging_face, onnx_runtime, seed
from tests.benchmarks.workload import Workload, checkpoint_of, corpus_lengths
from w2v_core.backends.cpu import CpuBackend
from w2v_core.backends.processor import why_bfloat16_is_emulated
from w2v_core.config import BatchPlan, EngineConfig, PlanKind
from w2v_core.data.audio import scaled
from w2v_core.engine.bucketing import form_batches, plan_buckets
from w2v_core.engine.ctc import decode_batch
from w2v_core.engine.engine import Engine
from w2v_core.model.encoder import attention
from w2v_core.model.forward import build_forward
from w2v_core.types import Batch, Bucket, Dtype, num_frames

CPU = torch.device("cpu")
WINDOW = 512  # utterances
UTTERANCES_PER_ROW = 6
PEER_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A row of the table."""

    name: str
    dtype: Dtype
    """Which peak its work is compared with."""
    build: Callable[[Workload], Transcribe]
    needs: tuple[str, ...] = ()
    """Modules of the extra ``bench``."""
    graphs: bool = False
    """Whether it needs a compiler for the processor's graphs."""

    @property
    def missing(self) -> str:
        """Why it is not timed here; empty where it is."""
        if self.dtype == "bfloat16" and (why := why_bfloat16_is_emulated()) is not None:
            return why
        support = CpuBackend().graph_support(self.dtype)
        if self.graphs and support.unsupported is not None:
            return support.unsupported
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not installed; the extra `bench` brings it" if absent else ""


def engine(workload: Workload, *, dtype: Dtype, graphs: bool = False) -> Transcribe:
    """What ships: the engine with its slots, threads and ``--batch-plan auto``.

    With ``graphs`` the buckets are those of the whole corpus, since padding is what they cost, as
    far as these utterances use them.
    """
    config = EngineConfig(dtype=dtype, graphs=graphs)
    shipped = Engine(checkpoint_of(workload), CpuBackend(), config)
    lengths = workload.lengths
    if graphs:
        planned = sorted(plan_buckets(corpus_lengths(), shipped.plan))
        used = {next(b for b in planned if b.capacity_samples >= n) for n in lengths}
        lengths = [bucket.capacity_samples for bucket in used]
    shipped.warm_up(lengths)

    def transcribe() -> dict[str, str]:
        return dict(shipped.transcribe(workload.utterances).texts)

    return transcribe


def exact(
    workload: Workload,
    *,
    dtype: Dtype,
    kind: PlanKind | None,
    prepack: bool = False,
    masks: bool = True,
) -> Transcribe:
    """Ours; ``kind`` None gives each utterance its own shape, batch 1.

    Without ``masks`` padding leaks: it is there to tell what exactness costs.
    """
    forward = build_forward(
        workload.module,
        name="exact",
        dtype=dtype,
        device=CPU,
        float64_statistics=True,
        prepack=prepack,
        packed=kind == "packed",
    )
    if not masks:
        forward = Unmasked(forward)
    buckets = buckets_of(workload.lengths, kind)

    def transcribe() -> dict[str, str]:
        texts: dict[str, str] = {}
        for batch in form_batches(map(scaled, workload.utterances), buckets, window=WINDOW):
            ids = forward(*stage(batch)).argmax(dim=-1).to(torch.int32).numpy()
            frames = [num_frames(utterance.num_samples) for utterance in batch.utterances]
            decoded = decode_batch(ids[: len(frames)], frames, workload.vocabulary)
            texts.update(zip(batch.utterance_ids, decoded, strict=True))
        return texts

    return transcribe


def buckets_of(lengths: Sequence[int], kind: PlanKind | None) -> tuple[Bucket, ...]:
    """Plan for the whole corpus; without a kind, give every utterance its smallest bucket."""
    if kind is None:
        return tuple({Bucket.holding(length, batch_size=1) for length in lengths})
    return plan_buckets(corpus_lengths(), BatchPlan(kind=kind, batch_size=rows_for(lengths)))


def rows_for(lengths: Sequence[int]) -> int:
    """Return a batch size that leaves several batches of a small sample."""
    return min(BatchPlan().batch_size, max(1, len(lengths) // UTTERANCES_PER_ROW))


def stage(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return waveforms (B, S) float32 and num_samples (B,) int32."""
    waveforms = torch.zeros(batch.bucket.batch_size, batch.bucket.num_samples)
    counts = torch.zeros(batch.bucket.batch_size, dtype=torch.int32)
    for row, utterance in enumerate(batch.utterances):
        utterance.write_to(waveforms[row].numpy())
        counts[row] = utterance.num_samples
    return waveforms, counts


class Unmasked(torch.nn.Module):
    """The exact forward's work without its three masks; the transcripts are wrong."""

    def __init__(self, exact: Any) -> None:
        super().__init__()
        self.exact = exact
        exact.front_end.layer0.statistics = self.statistics

    def statistics(
        self, windows: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layer0 = self.exact.front_end.layer0
        wide = windows.to(layer0.statistics_dtype)
        centred = wide - wide.mean(dim=1, keepdim=True)
        return centred, layer0._sum_of_squares(centred) / windows.shape[1]

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        exact, rows = self.exact, waveforms.shape[0]
        features = exact.front_end(waveforms, num_samples)
        hidden = exact.encoder.embed(features).unflatten(0, (rows, -1))
        hidden = hidden + exact.positions(hidden)

        def attend(joined: torch.Tensor) -> torch.Tensor:
            split = joined.unflatten(0, (rows, -1))
            return attention(split, num_heads=exact.encoder.num_heads, bias=None).flatten(0, 1)

        logits: torch.Tensor = exact.encoder(hidden.flatten(0, 1), attend)
        return logits.unflatten(0, (rows, -1))


def _exact(
    dtype: Dtype, kind: PlanKind | None, **options: bool
) -> Callable[[Workload], Transcribe]:
    return lambda work: exact(work, dtype=dtype, kind=kind, **options)


def _peer(name: str, dtype: Dtype, build: Callable[[Workload], Transcribe], *needs: str) -> Variant:
    return Variant(name=name, dtype=dtype, build=build, needs=needs)


def _compiled(dtype: Dtype) -> Variant:
    short = {"float32": "fp32", "bfloat16": "bf16"}[dtype]
    return Variant(
        name=f"engine-{short}-graphs",
        dtype=dtype,
        build=lambda work: engine(work, dtype=dtype, graphs=True),
        graphs=True,
    )


BASELINE = "seed"
REFERENCE = "hf-float32"
"""Whose transcripts the others are compared with."""
WATERFALL = (  # one change a row
    _peer(BASELINE, "float32", seed),
    _peer(REFERENCE, "float32", lambda work: hugging_face(work, dtype="float32")),
    _peer("hf-bfloat16", "bfloat16", lambda work: hugging_face(work, dtype="bfloat16")),
    _peer("exact-bf16-single", "bfloat16", _exact("bfloat16", None)),
    _peer("exact-bf16-single-prepacked", "bfloat16", _exact("bfloat16", None, prepack=True)),
    _peer("exact-bf16-packed", "bfloat16", _exact("bfloat16", "packed", prepack=True)),
)
BESIDE = (
    _peer("engine-bf16-auto", "bfloat16", lambda work: engine(work, dtype="bfloat16")),
    _peer("exact-bf16-sorted", "bfloat16", _exact("bfloat16", "sorted", prepack=True)),
    _peer("exact-bf16-optimal", "bfloat16", _exact("bfloat16", "optimal", prepack=True)),
    _peer(
        "unmasked-bf16-optimal",
        "bfloat16",
        _exact("bfloat16", "optimal", prepack=True, masks=False),
    ),
    _peer("engine-fp32-auto", "float32", lambda work: engine(work, dtype="float32")),
    _peer("exact-fp32-packed", "float32", _exact("float32", "packed")),
    _compiled("float32"),
    _compiled("bfloat16"),
)
PEERS = (
    _peer("onnxruntime-float32", "float32", onnx_runtime, "onnxruntime", "onnxscript"),
    _peer("openvino-float32", "float32", OpenVino(precision="f32"), "openvino"),
    _peer("openvino-float32-static", "float32", OpenVino(precision="f32", static=True), "openvino"),
    _peer("openvino-bfloat16", "bfloat16", OpenVino(precision="bf16"), "openvino"),
    _peer(
        "openvino-bfloat16-static",
        "bfloat16",
        OpenVino(precision="bf16", static=True),
        "openvino",
    ),
    _peer(
        "openvino-bfloat16-batched",
        "bfloat16",
        OpenVino(precision="bf16", batch_size=PEER_BATCH),
        "openvino",
    ),
)
VARIANTS = (*WATERFALL, *BESIDE, *PEERS)
