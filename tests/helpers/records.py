"""Synthetic records: consistent with themselves, as a real run would leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from w2v_core.records.record import CellRecord, UtteranceScore, to_json
from w2v_core.scoring.text import DEFAULT_RECIPE

START = datetime(2026, 1, 1, 2, 0, tzinfo=timezone.utc)

ENVIRONMENT: Mapping[str, Any] = {
    "w2v_core": "0.1.0",
    "commit": "0123456789ab",
    "python": "3.11.9",
    "system": "Linux",
    "kernel": "6.8.0",
    "machine": "x86_64",
    "host": "gaudi-1",
    "container": None,
    "host_class": "x86_64 160 cpus",
    "cpus": 160,
    "governor": "performance",
    "memory_total_bytes": 1_000_000_000_000,
    "device": "hpu",
    "device_name": "GAUDI2",
    "torch": "2.9.0a0",
    "transformers": "4.55.0",
    "habana-torch-plugin": "1.24.0.460",
    "synapse_build": "1.24.0.460",
    "driver": "1.24.0-abc",
    "firmware": "gaudi2-1.24.0",
    "module_id": 3,
    "PT_HPU_LAZY_MODE": "1",
    "checkpoint_sha256": "ab" * 32,
}


def make_scores(
    *,
    utterances: int = 12,
    speakers: int = 4,
    words: int = 10,
    errors: Sequence[int] | None = None,
) -> tuple[UtteranceScore, ...]:
    """Make scores whose utterance i has ``errors[i]`` substituted words."""
    counts = (
        list(errors) if errors is not None else [1 if i % 4 == 0 else 0 for i in range(utterances)]
    )
    scores = []
    for i, wrong in enumerate(counts):
        reference = [f"WORD{i}X{j}" for j in range(words)]
        hypothesis = ["WRONG"] * wrong + reference[wrong:]
        scores.append(
            UtteranceScore(
                utterance_id=f"utt-{i:04d}",
                speaker=f"speaker-{i % speakers}",
                reference=" ".join(reference),
                hypothesis=" ".join(hypothesis),
                substitutions=wrong,
                deletions=0,
                insertions=0,
                reference_words=words,
                audio_s=4.0,
            )
        )
    return tuple(scores)


def make_record(
    *,
    cell: str = "base-bfloat16-test_clean-graphs-exact",
    run: int = 0,
    rtfx: float = 1000.0,
    rounds: int = 5,
    scores: tuple[UtteranceScore, ...] | None = None,
    environment: Mapping[str, Any] | None = None,
    **changes: Any,
) -> CellRecord:
    """Make the record of one cell; night ``run`` starts ``run`` days after the first one."""
    scores = make_scores() if scores is None else scores
    created = START + timedelta(days=run)
    run_id = f"{created:%Y%m%dT%H%M%SZ}-hpu-0123456789ab"
    model, dtype, dataset, graphs, forward = cell.split("-")
    audio_s = sum(s.audio_s for s in scores)
    wobble = np.random.default_rng((1000 + run, len(cell))).normal(0.0, 1e-4, rounds)
    rounds_s = [audio_s / rtfx * (1.0 + float(w)) for w in wobble - np.median(wobble)]
    edits = sum(s.substitutions + s.deletions + s.insertions for s in scores)
    words = sum(s.reference_words for s in scores)
    middle = median(rounds_s) if rounds_s else float("inf")
    values: dict[str, Any] = {
        "run_id": run_id,
        "created_utc": f"{created + timedelta(minutes=20):%Y-%m-%dT%H:%M:%SZ}",
        "release": "1.24.0",
        "cell": cell,
        "device": "hpu",
        "device_name": "GAUDI2",
        "model": model.replace("_", "-"),
        "dtype": dtype,
        "dataset": dataset.replace("_", "-"),
        "graphs": graphs == "graphs",
        "forward": forward,
        "batch_plan": "optimal-8x8",
        "autocast": False,
        "num_utterances": len(scores),
        "limit": 12,
        "audio_s": audio_s,
        "wer": edits / words if words else None,
        "substitutions": sum(s.substitutions for s in scores),
        "deletions": 0,
        "insertions": 0,
        "reference_words": words,
        "text_normalisation": str(DEFAULT_RECIPE),
        "rounds_s": tuple(rounds_s),
        "warm_up_s": 12.5,
        "rtfx": audio_s / middle,
        "utterances_per_s": len(scores) / middle,
        "latency_s": {"p50": 0.010, "p90": 0.015, "p99": 0.020},
        "stage_s": {"stage": 0.01, "forward": 0.02, "wait": 0.03, "decode": 0.01},
        "padding_efficiency": 0.93,
        "graph_captures": 8,
        "captures_timed": 0,
        "compilations_timed": 0,
        "cpu_fallbacks_timed": 0,
        "peak_memory_bytes": 2_000_000_000,
        "failed": (),
        "excluded": {},
        "changed_vs_golden": None,
        "valid": True,
        "invalid_reasons": (),
        "environment": dict(ENVIRONMENT if environment is None else environment),
        "command": "pytest tests/validation --device hpu",
        "scores": scores,
    }
    values.update(changes)
    return CellRecord(**values)


CELLS = (
    "base-bfloat16-test_clean-graphs-exact",
    "base-float32-test_clean-graphs-exact",
    "large-bfloat16-test_clean-graphs-exact",
)


def make_run(
    run: int,
    *,
    cells: Sequence[str] = CELLS,
    sd: float = 0.005,
    slowdown: float = 0.0,
    seed: int = 0,
    **changes: Any,
) -> tuple[CellRecord, ...]:
    """Make one run of every cell; its throughputs vary by ``sd`` (log-normal) between runs."""
    noise = np.random.default_rng((seed, 1000 + run)).normal(0.0, sd, len(cells))
    return tuple(
        make_record(
            cell=cell,
            run=run,
            rtfx=1000.0 * (i + 1) * (1.0 - slowdown) * float(np.exp(noise[i])),
            **changes,
        )
        for i, cell in enumerate(cells)
    )


def write_run(directory: Path, records: Sequence[CellRecord], **extra: Any) -> Path:
    """Write ``run.json`` and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    run = {"schema_version": 1, "records": [to_json(r) for r in records], **extra}
    (directory / "run.json").write_text(json.dumps(run))
    return directory


def changed(record: CellRecord, **changes: Any) -> CellRecord:
    """Return the record with fields replaced; what depends on them is left as it is."""
    return replace(record, **changes)
