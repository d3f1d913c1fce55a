"""Resident memory of a process of its own: ``python -m tests.benchmarks.memory peak|stream``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.workload import checkpoint_of, corpus_lengths, make_workload
from w2v_core.backends.cpu import open_backend
from w2v_core.config import EngineConfig, form_plan
from w2v_core.engine.engine import Engine
from w2v_core.model.catalog import parse_model
from w2v_core.model.checkpoint import load_checkpoint
from w2v_core.types import Utterance

CONFIG = EngineConfig(  # what `w2v run --dtype bf16` has
    dtype="bfloat16", plan=form_plan("auto", num_buckets=None, batch_size=8)
)
STATUS = Path("/proc/self/status")


def resident_bytes(field: str = "VmRSS") -> int:
    """Read ``VmRSS`` or ``VmHWM`` (the peak) of this process; proc(5)."""
    line = next(line for line in STATUS.read_text("ascii").splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def peak_above_loaded(num_utterances: int) -> dict[str, float]:
    """Transcribe test-clean-shaped noise with a base-size model in bfloat16."""
    workload = make_workload(num_utterances)
    engine = Engine(checkpoint_of(workload), open_backend(), CONFIG)
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # resets the peak
    loaded_bytes = resident_bytes()
    engine.warm_up(workload.lengths)
    transcription = engine.transcribe(workload.utterances)
    return {
        "audio_s": transcription.audio_s,
        "loaded_bytes": loaded_bytes,
        "peak_above_loaded_bytes": resident_bytes("VmHWM") - loaded_bytes,
    }


def stream(hours: float) -> dict[str, object]:
    """Transcribe a generator of fresh noise; resident memory after each audio hour."""
    checkpoint = load_checkpoint(parse_model("canary-base"))
    engine = Engine(checkpoint, open_backend(), CONFIG)
    lengths = corpus_lengths()
    engine.warm_up(lengths)
    by_hour: list[int] = []
    transcription = engine.transcribe(_noise(lengths, hours=hours, by_hour=by_hour))
    return {
        "audio_s": transcription.audio_s,
        "num_utterances": len(transcription.hypotheses),
        "rtfx": transcription.audio_s / transcription.wall_s,
        "resident_bytes_by_hour": by_hour,
    }


def _noise(lengths: list[int], *, hours: float, by_hour: list[int]) -> Iterator[Utterance]:
    rng = np.random.default_rng(0)
    audio_s, index = 0.0, 0
    while audio_s < 3600 * hours:
        waveform = rng.standard_normal(int(rng.choice(lengths)), dtype=np.float32)
        utterance = Utterance(utterance_id=f"u{index}", waveform=waveform)
        audio_s, index = audio_s + utterance.audio_s, index + 1
        yield utterance
        if audio_s >= 3600 * (len(by_hour) + 1):
            by_hour.append(resident_bytes())


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["peak", "stream"])
    parser.add_argument("--utterances", type=int, default=48)
    parser.add_argument("--hours", type=float, default=20.0)
    args = parser.parse_args()
    found = peak_above_loaded(args.utterances) if args.what == "peak" else stream(args.hours)
    print(json.dumps(found))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
