"""base or large on an NVIDIA GPU, beside Hugging Face: ``python -m tests.benchmarks.on_cuda``."""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.workload import (
    Workload,
    checkpoint_of,
    corpus_lengths,
    forward_flops,
    make_workload,
)
from tests.canary.architecture import SYMBOLS
from w2v_core.backends.cuda import open_backend
from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.engine.engine import Engine
from w2v_core.engine.graphs import noise_batch
from w2v_core.types import Utterance

PEER_SHARE = 16  # the pipeline transcribes one utterance in so many: it is that much slower
ROUNDS = 3
PROFILED_RUNS = 5
OURS: dict[str, dict[str, Any]] = {
    "engine-bf16-graphs": {"dtype": "bfloat16", "graphs": True},
    "engine-bf16-no-graphs": {"dtype": "bfloat16"},
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant of the table."""

    variant: str
    audio_s: float
    rounds_s: list[float]
    detail: str

    def __str__(self) -> str:
        """Return the row in Markdown."""
        median_s = statistics.median(self.rounds_s)
        spread = (max(self.rounds_s) - min(self.rounds_s)) / median_s
        rtfx = self.audio_s / median_s
        return f"| {self.variant} | {rtfx:.0f} | {spread:.1%} | {self.detail} |"


def corpus(workload: Workload) -> tuple[Utterance, ...]:
    """Make noise of all of test-clean's lengths, shuffled; deterministic."""
    rng = np.random.default_rng(0)
    lengths = corpus_lengths()
    rng.shuffle(lengths)
    noise = (0.05 * rng.standard_normal(max(lengths) + len(lengths))).astype(np.float32)
    return tuple(
        Utterance(utterance_id=f"u{start}", waveform=noise[start : start + length].copy())
        for start, length in enumerate(lengths)
    )


def engine(workload: Workload, *, plan: BatchPlan, **options: Any) -> Engine:
    """Warm an engine up for test-clean's lengths."""
    config = EngineConfig(plan=plan, **options)
    made = Engine(checkpoint_of(workload), open_backend(), config)
    made.warm_up(corpus_lengths())
    return made


def pipeline(workload: Workload, *, batch_size: int) -> Callable[[Sequence[Utterance]], object]:
    """Hugging Face's pipeline in bfloat16, longest first, waveforms in memory."""
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor
    from transformers import pipeline as open_pipeline

    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.json"
        vocabulary.write_text(json.dumps({s: i for i, s in enumerate(SYMBOLS)}), encoding="utf-8")
        tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
    run: Any = open_pipeline(
        "automatic-speech-recognition",
        model=copy.deepcopy(workload.module).to(torch.bfloat16).cuda(),
        tokenizer=tokenizer,
        feature_extractor=Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False),
        device=0,
        torch_dtype=torch.bfloat16,
    )

    def transcribe(utterances: Sequence[Utterance]) -> object:
        longest_first = sorted(utterances, key=lambda u: -u.num_samples)
        return list(run([u.waveform for u in longest_first], batch_size=batch_size))

    return transcribe


def rows(workload: Workload, *, plan: BatchPlan) -> Iterator[Row]:
    """Measure the variants, their rounds interleaved."""
    utterances = corpus(workload)
    few = utterances[::PEER_SHARE]
    runs: dict[str, tuple[Sequence[Utterance], Callable[[Sequence[Utterance]], object]]] = {}
    for batch_size in (1, 16):
        name = f"hf-pipeline-bf16, batches of {batch_size}"
        runs[name] = few, pipeline(workload, batch_size=batch_size)
    for name, options in OURS.items():
        runs[f"{name}, {plan}"] = utterances, engine(workload, plan=plan, **options).transcribe
    rounds: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, Any] = {}
    for number in range(ROUNDS + 1):
        for name, (used, run) in runs.items():
            started_s = time.perf_counter()
            found[name] = run(used)
            if number:  # the first warms up
                rounds[name].append(time.perf_counter() - started_s)
    for name, (used, _) in runs.items():
        audio_s = sum(u.audio_s for u in used)
        yield Row(variant=name, audio_s=audio_s, rounds_s=rounds[name], detail=_detail(found[name]))


def _detail(found: Any) -> str:
    if isinstance(found, list):
        return ""
    times = found.host_times
    return (
        f"padding efficiency {found.real_samples / found.padded_samples:.1%}; host seconds: "
        f"staging {times.h2d_s:.2f}, launch {times.compute_s:.2f}, waiting {times.wait_s:.2f}, "
        f"decoding {times.decode_s:.2f}"
    )


def device_times(made: Engine) -> Iterator[str]:
    """Profile the step on its fullest bucket, without graphs: stages, then kernels."""
    from torch.profiler import ProfilerActivity, profile

    buckets = sorted(made.buckets, key=lambda b: b.num_samples)
    batch = noise_batch(buckets[len(buckets) // 2])
    step = made.runner.step
    inputs: list[torch.Tensor] = []

    def keep(_bucket: Any, *given: torch.Tensor) -> torch.Tensor:
        inputs[:] = given
        return step(*given)

    made.run_alone(batch, run=keep)
    parts = {
        "step": step,
        "front end": step.model.front_end,
        "layer 0": step.model.front_end.layer0,
    }
    parts |= {"positions": step.model.positions, "encoder": step.model.encoder}
    with torch.inference_mode(), _named(parts):
        step(*inputs)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            for _ in range(PROFILED_RUNS):
                step(*inputs)
            made.backend.synchronize()
    audio_s = batch.bucket.batch_size * batch.bucket.num_samples / 16_000
    yield f"{batch.bucket}, {audio_s:.1f} s of audio; ms of the device a step:"
    events = profiler.key_averages()
    for name in parts:
        spans = [e for e in events if e.key == name and e.device_type.name == "CPU"]
        yield f"  {name}: {sum(e.device_time_total for e in spans) / PROFILED_RUNS / 1e3:.2f}"
    kernels = [e for e in events if e.device_type.name == "CUDA" and e.key not in parts]
    for e in sorted(kernels, key=lambda e: -e.self_device_time_total)[:24]:
        milliseconds = e.self_device_time_total / PROFILED_RUNS / 1e3
        yield f"  {milliseconds:.3f} ms, {e.count / PROFILED_RUNS:.0f} times: {e.key[:110]}"


@contextmanager
def _named(parts: dict[str, torch.nn.Module]) -> Iterator[None]:
    """Put a profiler's range around each part's forward."""
    from torch.profiler import record_function

    handles, opened = [], []
    for name, part in parts.items():
        handles.append(
            part.register_forward_pre_hook(
                lambda _m, _i, name=name: opened.append(record_function(name).__enter__())
            )
        )
        handles.append(
            part.register_forward_hook(lambda _m, _i, _o: opened.pop().__exit__(None, None, None))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def main() -> None:
    """Print the table and the profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=["base", "large"], default="base")
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # transformers' own, of pipelines
    workload = make_workload(1, size=args.size)
    plan = BatchPlan(kind="optimal", num_buckets=args.buckets, batch_size=args.batch_size)
    lengths = corpus_lengths()
    flops = forward_flops(workload.module.config, lengths) / (sum(lengths) / 16_000)
    name = f"{open_backend().device_name}, torch {torch.__version__}"
    print(f"{name}; {args.size}, {flops / 1e9:.1f} GFLOP an audio second")  # noqa: T201
    for row in rows(workload, plan=plan):
        print(row, flush=True)  # noqa: T201
    for line in device_times(engine(workload, dtype="bfloat16", graphs=False, plan=plan)):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
