"""How the seed and the peers transcribe."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tests.benchmarks.workload import Workload, corpus_lengths
from w2v_core.data.audio import normalise
from w2v_core.types import Dtype, Utterance, num_frames

Transcribe = Callable[[], dict[str, str]]
"""One round: from waveforms in memory to transcripts by utterance id."""
Logits = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""A peer: waveforms (1, S) to logits (1, T, V), both on the host."""

SEED_BUCKETS = 5


def seed(workload: Workload) -> Transcribe:
    """Batch 1, padded to five quantile buckets, float32, logits to the host, ``batch_decode``."""
    quantiles = np.arange(1, SEED_BUCKETS + 1) / SEED_BUCKETS
    edges = [int(edge) for edge in np.ceil(np.quantile(corpus_lengths(), quantiles))]
    module, decode = workload.module, batch_decoder(workload)

    def transcribe() -> dict[str, str]:
        texts = {}
        for utterance in workload.utterances:
            waveform = normalise(utterance.waveform)
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


@dataclass(frozen=True, kw_only=True)
class OpenVino:
    """OpenVINO: batch 1 with a dynamic length, a model for each length, or padded batches."""

    precision: str
    """``f32`` or ``bf16``."""
    static: bool = False
    """Compile a model for each utterance's length, before the clock starts; they share one file."""
    batch_size: int = 1
    """Above 1: utterances sorted by length and zero-padded to their batch's longest."""

    def __call__(self, workload: Workload) -> Transcribe:
        """Compile and return the round."""
        lengths = set(workload.lengths) if self.static else {-1}
        compiled = self._compiled(workload, lengths)

        def logits(waveforms: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            program = compiled[waveforms.shape[1] if self.static else -1]
            return np.asarray(program(waveforms)[0])

        if self.batch_size == 1:
            return one_by_one(workload, logits)
        return batch_by_batch(workload, logits, batch_size=self.batch_size)

    def _compiled(self, workload: Workload, lengths: set[int]) -> dict[int, Any]:
        """Compile a program for each number of samples; -1 is any."""
        import openvino

        core, rows = openvino.Core(), -1 if self.batch_size > 1 else 1
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        with tempfile.TemporaryDirectory() as folder, _exporting():
            model = openvino.convert_model(
                LogitsOnly(workload.module).eval(),
                example_input=torch.zeros(1, 16_000),
                input=[rows, -1],
            )
            path = Path(folder) / "model.xml"
            openvino.save_model(model, path, compress_to_fp16=False)
            del model
            programs = {}
            for length in sorted(lengths):
                read = core.read_model(path)  # maps the weights, once for all
                read.reshape([rows, length])
                programs[length] = core.compile_model(read, "CPU", options)
        return programs


def one_by_one(workload: Workload, logits: Logits) -> Transcribe:
    """Transcribe unpadded utterances in turn; the peers' host side."""
    decode = batch_decoder(workload)

    def transcribe() -> dict[str, str]:
        texts = {}
        for utterance in workload.utterances:
            found = logits(normalise(utterance.waveform)[None])
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


def batch_by_batch(workload: Workload, logits: Logits, *, batch_size: int) -> Transcribe:
    """Transcribe sorted, zero-padded batches, as a user of a peer would; padding leaks."""
    decode = batch_decoder(workload)

    def transcribe_batch(batch: list[Utterance]) -> dict[str, str]:
        padded = np.zeros((len(batch), batch[-1].num_samples), np.float32)
        for row, utterance in enumerate(batch):
            padded[row, : utterance.num_samples] = normalise(utterance.waveform)
        ids = logits(padded).argmax(axis=-1)
        return {
            utterance.utterance_id: decode(ids[None, row, : num_frames(utterance.num_samples)])[0]
            for row, utterance in enumerate(batch)
        }

    def transcribe() -> dict[str, str]:
        by_length = sorted(workload.utterances, key=lambda utterance: utterance.num_samples)
        texts: dict[str, str] = {}
        for start in range(0, len(by_length), batch_size):
            texts.update(transcribe_batch(by_length[start : start + batch_size]))
        return texts

    return transcribe


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
