"""Interleaved rounds, the processor's own peak, and the table."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F

from tests.benchmarks.variants import BASELINE, REFERENCE, Variant
from tests.benchmarks.workload import Workload, forward_flops
from w2v_core.backends.processor import processor_class
from w2v_core.model.layers import PREPACK_ROWS, can_prepack
from w2v_core.types import Dtype

# Rows, inputs and outputs of the products that are timed: the model's own and two larger ones.
PEAK_SHAPES = ((512, 768, 2304), (512, 1024, 3072), (2048, 1024, 1024), (4096, 3072, 3072))
PEAK_ROUNDS = 10
WARM_UPS = 2  # the second still faults in a third of the first one's pages


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One variant's rounds, in seconds of wall time, and what it transcribed."""

    variant: Variant
    rounds_s: tuple[float, ...]
    processor_s: tuple[float, ...]
    """Of the process, all threads, by round."""
    texts: dict[str, str] = field(repr=False)

    @property
    def median_s(self) -> float:
        return statistics.median(self.rounds_s)

    @property
    def spread(self) -> float:
        """Slowest less fastest round over the median, a fraction."""
        return (max(self.rounds_s) - min(self.rounds_s)) / self.median_s


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the table and ``extra_info`` say of a variant."""

    variant: str
    rtfx: float
    """Audio seconds over the median round's wall seconds, waveforms in memory to transcripts."""
    processor_rtfx: float
    """Audio seconds over the median round's seconds of processor time: on one thread the same, and
    where others compute too the steadier one."""
    ratio_to_seed: float | None
    fraction_of_peak: float
    """The model's own FLOPs, padding not counted, per second over the measured GEMM peak."""
    transcripts_equal: int | None
    """Of the utterances, to unpadded float32 Hugging Face."""
    num_utterances: int
    rounds: int
    spread: float


def measure_interleaved(
    workload: Workload, variants: Sequence[Variant], *, rounds: int
) -> dict[str, Measured]:
    """Run every variant to warm up, then all of them in turn, ``rounds`` times; blocks."""
    ready = [(variant, variant.build(workload)) for variant in variants]
    with torch.inference_mode():
        for _ in range(WARM_UPS):
            texts = {variant.name: transcribe() for variant, transcribe in ready}
        times: dict[str, list[tuple[float, float]]] = {variant.name: [] for variant in variants}
        for _ in range(rounds):
            for variant, transcribe in ready:
                wall_s, processor_s = time.perf_counter(), time.process_time()
                again = transcribe()
                processor_s = time.process_time() - processor_s
                times[variant.name].append((time.perf_counter() - wall_s, processor_s))
                assert again == texts[variant.name], f"{variant.name} is not deterministic"
    return {
        variant.name: Measured(
            variant=variant,
            rounds_s=tuple(wall_s for wall_s, _ in times[variant.name]),
            processor_s=tuple(processor_s for _, processor_s in times[variant.name]),
            texts=texts[variant.name],
        )
        for variant in variants
    }


def gemm_peaks(dtypes: Iterable[Dtype]) -> dict[Dtype, float]:
    """Measure the fastest matrix product of each dtype with these threads, in FLOP/s."""
    return {dtype: _gemm_peak(dtype) for dtype in dict.fromkeys(dtypes)}


def rows_of(
    measured: dict[str, Measured], workload: Workload, peaks: dict[Dtype, float]
) -> list[Row]:
    """Compute the table in the variants' order."""
    baseline, reference = measured.get(BASELINE), measured.get(REFERENCE)
    flops = forward_flops(workload.module.config, workload.lengths)
    return [
        Row(
            variant=name,
            rtfx=workload.audio_s / found.median_s,
            processor_rtfx=workload.audio_s / statistics.median(found.processor_s),
            ratio_to_seed=baseline.median_s / found.median_s if baseline else None,
            fraction_of_peak=flops / found.median_s / peaks[found.variant.dtype],
            transcripts_equal=_num_equal(found, reference) if reference else None,
            num_utterances=len(workload.utterances),
            rounds=len(found.rounds_s),
            spread=found.spread,
        )
        for name, found in measured.items()
    ]


def machine_line(peaks: dict[Dtype, float]) -> str:
    """Say where the figures come from."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gflops = ", ".join(f"{dtype} {peak / 1e9:.0f}" for dtype, peak in peaks.items())
    return (
        f"{names[0] if names else model}, class {processor_class()}, {torch.get_num_threads()} "
        f"thread(s), torch {torch.__version__}; measured GEMM peak in GFLOP/s: {gflops}"
    )


def _num_equal(found: Measured, reference: Measured) -> int:
    return sum(found.texts[name] == text for name, text in reference.texts.items())


def _gemm_peak(dtype: Dtype) -> float:
    return max(_gemm_flops(dtype, *shape) for shape in PEAK_SHAPES)


def _gemm_flops(dtype: Dtype, rows: int, inputs: int, outputs: int) -> float:
    torch_dtype = getattr(torch, dtype)
    left = torch.randn(rows, inputs).to(torch_dtype)
    weight = torch.randn(outputs, inputs).to(torch_dtype)
    products = [lambda: F.linear(left, weight)]
    if dtype == "bfloat16" and can_prepack():
        ops = torch.ops.mkldnn
        packed = ops._reorder_linear_weight(weight, PREPACK_ROWS)
        products.append(lambda: ops._linear_pointwise(left, packed, None, "none", [], ""))
    fastest_s = min(_seconds(product) for product in products for _ in range(PEAK_ROUNDS))
    return 2 * rows * inputs * outputs / fastest_s


def _seconds(product) -> float:
    with torch.inference_mode():
        started_s = time.perf_counter()
        product()
        return time.perf_counter() - started_s
