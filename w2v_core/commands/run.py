"""``w2v run``: one cell from the command line, with the flags of the vendor's wav2vec.py."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from w2v_core.bench.cells import Cell, form_cells
from w2v_core.bench.record import TIMED_REGION, CellRecord, to_json
from w2v_core.config import (
    DEVICES,
    FORWARDS,
    PLAN_KINDS,
    BatchPlan,
    parse_choice,
    parse_count,
    parse_plan,
)
from w2v_core.types import SAMPLE_RATE_HZ, parse_dtype
from w2v_core.validation import RunConfig, ValidationRun

__all__ = ["add_parser", "figures", "run"]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``run`` and its flags; those of wav2vec.py keep their spelling."""
    parser = commands.add_parser(
        "run",
        help="transcribe and measure one cell",
        description="Transcribe a corpus, measure it, and print the figures of wav2vec.py and WER.",
    )
    add = parser.add_argument
    add("--dtype", "-dt", default="fp32", help="fp32 or bf16 (default fp32)")
    add("--buckets", "-b", type=int, default=None, help="static lengths (default: up to 8)")
    add("--use_graphs", action="store_true", help="capture a graph per bucket and replay it")
    add("--perf", "-p", action="store_true", help="print performance only")
    add("--accuracy", "-a", action="store_true", help="print WER only")
    add("--large", action="store_true", help="the large checkpoint instead of the base one")
    add("--dev_clean_ds", action="store_true", help="the 73 utterances of dev-clean")
    add("--repeat", "-r", type=int, default=1, help="timed rounds over the set")
    add("--limit", "-l", type=int, default=None, help="first N utterances (default: all)")
    add("--data_path", default=None, help="a LibriSpeech folder")
    add("--model", default=None, help="canary-base, canary-large, base, large, DIR or owner/name")
    add("--dataset", default=None, help="canary-speech, test-clean, librispeech:PATH ...")
    add("--device", default="auto", help=", ".join(DEVICES))
    add("--forward", default="exact", help=", ".join(FORWARDS))
    add("--autocast", action="store_true", help="autocast to bf16 instead of bf16 weights")
    add("--batch-size", type=int, default=BatchPlan().batch_size, help="rows of a batch")
    add("--batch-plan", default="auto", help=", ".join(PLAN_KINDS))
    add("--allow-partial", action="store_true", help="exclude transcripts that have no audio")
    add("--reports-dir", default=None, help="also write the run's reports there")
    add("--release", default="dev", help="name of the release under test")
    add("--json", action="store_true", help="print the record as JSON")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure the cell and print it; returns 0 where the record is valid, else 1."""
    from w2v_core.bench.measure import time_rounds

    limit = arguments.limit
    if limit is not None:
        parse_count("--limit", limit)
    validation = ValidationRun(
        RunConfig(
            device=parse_choice("device", arguments.device, DEVICES),
            limit=limit,
            allow_partial=arguments.allow_partial,
            release=arguments.release,
            reports_dir=Path(arguments.reports_dir or "reports"),
            command=" ".join(["w2v", *sys.argv[1:]]),
        )
    )
    if arguments.reports_dir:
        _ = validation.directory
    rounds = parse_count("--repeat", arguments.repeat)
    record = validation.measure(_cell(arguments), timer=time_rounds(rounds))
    if arguments.reports_dir:
        validation.write()
    text = json.dumps(to_json(record)) if arguments.json else _render(record, arguments)
    sys.stdout.write(f"{text}\n")
    for reason in record.invalid_reasons:
        sys.stderr.write(f"invalid: {reason}\n")
    return 0 if record.valid else 1


def figures(record: CellRecord) -> dict[str, str]:
    """Return the figures of wav2vec.py; a token is an audio sample, a sample an utterance there.

    The real-time factor is measured audio over wall time, not a constant 5.4 h.
    """
    total_s = sum(record.rounds_s)
    rounds = len(record.rounds_s)
    tokens = record.audio_s * SAMPLE_RATE_HZ * rounds
    utterances = record.num_utterances * rounds
    return {
        "average latency": f"{total_s * 1e3 / tokens * 1e4:.4g} ms/10k tokens",
        "throughput": f"{tokens / (total_s * 1e3):.4g} tokens/ms",
        "end-to-end time per sample": f"{total_s * 1e3 / utterances:.4g} ms/sample",
        "total end-to-end time": f"{total_s:.4g} s in {rounds} rounds of "
        f"{record.num_utterances} utterances, median {statistics.median(record.rounds_s):.4g} s",
        "real-time factor (RTFx)": f"{record.rtfx:.4g} audio seconds per wall second",
    }


def _cell(arguments: argparse.Namespace) -> Cell:
    from w2v_core.data.catalog import parse_dataset
    from w2v_core.model.catalog import parse_model

    model = arguments.model or ("large" if arguments.large else "base")
    default = "dev-clean-dummy" if arguments.dev_clean_ds else "test-clean"
    if arguments.data_path:
        default = f"librispeech:{arguments.data_path}"
    dataset = arguments.dataset or default
    return form_cells(
        models=[(model, parse_model(model).cell_name)],
        dtypes=[parse_dtype(arguments.dtype)],
        datasets=[(dataset, parse_dataset(dataset).text)],
        graphs=[arguments.use_graphs],
        forwards=[parse_choice("forward", arguments.forward, FORWARDS)],
        plan=parse_plan(
            arguments.batch_plan, num_buckets=arguments.buckets, batch_size=arguments.batch_size
        ),
        autocast=arguments.autocast,
    )[0]


def _render(record: CellRecord, arguments: argparse.Namespace) -> str:
    rows = {"cell": record.cell, "device": record.device_name, "batch plan": record.batch_plan}
    if arguments.perf or not arguments.accuracy:
        rows.update(figures(record))
        rows["timed"] = TIMED_REGION
    if (arguments.accuracy or not arguments.perf) and record.wer is not None:
        rows["WER"] = (
            f"{record.wer * 100:.2f} % ({record.substitutions} S, {record.deletions} D, "
            f"{record.insertions} I of {record.reference_words} words)"
        )
    if record.changed_vs_golden is not None:
        rows["changed against goldens"] = f"{len(record.changed_vs_golden)} utterances"
    if record.excluded:
        rows["excluded"] = f"{len(record.excluded)} utterances; see --json"
    width = max(len(name) for name in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())
