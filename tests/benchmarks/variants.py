"""The ways to transcribe that are compared: the seed's algorithm, the peers, and ours."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tests.benchmarks.workload import Workload, corpus_lengths
from w2v_core.config import BatchPlan, PlanKind
from w2v_core.data.audio import normalised
from w2v_core.engine.bucketing import form_batches, plan_buckets
from w2v_core.engine.ctc import decode_batch
from w2v_core.model.forward import build_forward
from w2v_core.types import Batch, Bucket, Dtype, num_frames

Transcribe = Callable[[], dict[str, str]]
"""One round: from waveforms in memory to transcripts by utterance id."""
Logits = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""A peer: waveforms (1, S) to logits (1, T, V), both on the host."""

CPU = torch.device("cpu")
SEED_BUCKETS = 5
WINDOW = 512  # utterances
UTTERANCES_PER_ROW = 6


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A row of the table."""

    name: str
    dtype: Dtype
    """Which peak its work is compared with."""
    build: Callable[[Workload], Transcribe]
    needs: tuple[str, ...] = ()
    """Modules of the extra ``bench``."""

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def seed(workload: Workload) -> Transcribe:
    """Batch 1, padded to five quantile buckets, float32, logits to the host, ``batch_decode``."""
    quantiles = np.arange(1, SEED_BUCKETS + 1) / SEED_BUCKETS
    edges = [int(edge) for edge in np.ceil(np.quantile(corpus_lengths(), quantiles))]
    module, decode = workload.module, batch_decoder(workload)

    def transcribe() -> dict[str, str]:
        texts = {}
        for utterance in workload.utterances:
            waveform = normalised(utterance).waveform
            padded = np.zeros((1, next(e for e in edges if e >= len(waveform))), np.float32)
            padded[0, : len(waveform)] = waveform
            logits = module(torch.from_numpy(padded)).logits.cpu()
            texts[utterance.utterance_id] = decode(logits.argmax(dim=-1))[0]
        return texts

    return transcribe


def hugging_face(workload: Workload, *, dtype: Dtype) -> Transcribe:
    """Batch 1 without padding through transformers."""
    torch_dtype = getattr(torch, dtype)
    module = copy.deepcopy(workload.module).to(torch_dtype)

    def logits(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        found = module(torch.from_numpy(waveform).to(torch_dtype)).logits
        return np.asarray(found.float().numpy())

    return one_by_one(workload, logits)


def onnx_runtime(workload: Workload) -> Transcribe:
    """Batch 1 without padding through ONNX Runtime, float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    length = torch.export.Dim("samples", min=400, max=1_000_000)
    with tempfile.TemporaryDirectory() as folder, _exporting():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            LogitsOnly(workload.module).eval(),
            (torch.zeros(1, 16_000),),
            path,
            input_names=["waveforms"],
            dynamic_shapes={"waveforms": {1: length}},
            dynamo=True,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def logits(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(session.run(None, {"waveforms": waveform})[0])

    return one_by_one(workload, logits)


def open_vino(workload: Workload, *, precision: str) -> Transcribe:
    """Batch 1 without padding through OpenVINO with a dynamic length."""
    import openvino

    with _exporting():
        model = openvino.convert_model(
            LogitsOnly(workload.module).eval(),
            example_input=torch.zeros(1, 16_000),
            input=[1, -1],
        )
    compiled = openvino.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        },
    )

    def logits(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(compiled(waveform)[0])

    return one_by_one(workload, logits)


def exact(
    workload: Workload, *, dtype: Dtype, kind: PlanKind | None, prepack: bool = False
) -> Transcribe:
    """Ours; ``kind`` None gives each utterance its own shape, batch 1."""
    forward = build_forward(
        workload.module,
        name="exact",
        dtype=dtype,
        device=CPU,
        float64_statistics=True,
        prepack=prepack,
        packed=kind == "packed",
    )
    buckets = buckets_of(workload.lengths, kind)

    def transcribe() -> dict[str, str]:
        texts: dict[str, str] = {}
        for batch in form_batches(map(normalised, workload.utterances), buckets, window=WINDOW):
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
    # Padding rows would say more about a small sample than about the plan.
    rows = min(BatchPlan().batch_size, max(1, len(lengths) // UTTERANCES_PER_ROW))
    return plan_buckets(corpus_lengths(), BatchPlan(kind=kind, batch_size=rows))


def stage(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return waveforms (B, S) float32 and num_samples (B,) int32."""
    waveforms = np.zeros((batch.bucket.batch_size, batch.bucket.num_samples), np.float32)
    counts = np.zeros(batch.bucket.batch_size, np.int32)
    for row, utterance in enumerate(batch.utterances):
        waveforms[row, : utterance.num_samples] = utterance.waveform
        counts[row] = utterance.num_samples
    return torch.from_numpy(waveforms), torch.from_numpy(counts)


def one_by_one(workload: Workload, logits: Logits) -> Transcribe:
    """Transcribe unpadded utterances in turn; the peers' host side."""
    decode = batch_decoder(workload)

    def transcribe() -> dict[str, str]:
        texts = {}
        for utterance in workload.utterances:
            found = logits(normalised(utterance).waveform[None])
            texts[utterance.utterance_id] = decode(found.argmax(axis=-1))[0]
        return texts

    return transcribe


def batch_decoder(workload: Workload) -> Callable[[Any], list[str]]:
    """Return transformers' ``batch_decode`` for the workload's vocabulary."""
    from transformers import Wav2Vec2CTCTokenizer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        tokens = {token: index for index, token in enumerate(workload.vocabulary.tokens)}
        path.write_text(json.dumps(tokens), encoding="utf-8")
        tokenizer = Wav2Vec2CTCTokenizer(str(path))
    decode: Callable[[Any], list[str]] = tokenizer.batch_decode
    return decode


class LogitsOnly(torch.nn.Module):
    """A checkpoint's module as exporters want it: one tensor in, one out."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(waveforms).logits
        return logits


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """Let exporters warn about their own future; here every warning is an error."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def _bfloat16(kind: PlanKind | None, *, prepack: bool) -> Callable[[Workload], Transcribe]:
    return lambda work: exact(work, dtype="bfloat16", kind=kind, prepack=prepack)


BASELINE = "seed"
REFERENCE = "hf-float32"
"""Whose transcripts the others are compared with."""
VARIANTS = (
    # The waterfall: one change a row.
    Variant(name=BASELINE, dtype="float32", build=seed),
    Variant(
        name=REFERENCE, dtype="float32", build=lambda work: hugging_face(work, dtype="float32")
    ),
    Variant(
        name="hf-bfloat16",
        dtype="bfloat16",
        build=lambda work: hugging_face(work, dtype="bfloat16"),
    ),
    Variant(name="exact-bf16-single", dtype="bfloat16", build=_bfloat16(None, prepack=False)),
    Variant(
        name="exact-bf16-single-prepacked", dtype="bfloat16", build=_bfloat16(None, prepack=True)
    ),
    Variant(name="exact-bf16-sorted", dtype="bfloat16", build=_bfloat16("sorted", prepack=True)),
    Variant(name="exact-bf16-packed", dtype="bfloat16", build=_bfloat16("packed", prepack=True)),
    # Beside it.
    Variant(name="exact-bf16-optimal", dtype="bfloat16", build=_bfloat16("optimal", prepack=True)),
    Variant(
        name="exact-fp32-packed",
        dtype="float32",
        build=lambda work: exact(work, dtype="float32", kind="packed"),
    ),
    Variant(
        name="onnxruntime-float32",
        dtype="float32",
        build=onnx_runtime,
        needs=("onnxruntime", "onnxscript"),
    ),
    Variant(
        name="openvino-float32",
        dtype="float32",
        build=lambda work: open_vino(work, precision="f32"),
        needs=("openvino",),
    ),
    Variant(
        name="openvino-bfloat16",
        dtype="bfloat16",
        build=lambda work: open_vino(work, precision="bf16"),
        needs=("openvino",),
    ),
)
