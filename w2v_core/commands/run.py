"""``w2v run``: one cell from the command line, with the flags of the vendor's wav2vec.py."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from functools import partial

from w2v_core.commands import HELP
from w2v_core.commands.modes import BOTH, run_both
from w2v_core.commands.options import prepare_device, require_text
from w2v_core.config import (
    DEVICES,
    EVENT_TIMEOUT_HELP,
    FORWARDS,
    PLAN_KINDS,
    BatchPlan,
    EngineConfig,
    parse_choice,
    parse_count,
    parse_path,
    parse_plan,
)
from w2v_core.errors import ConfigError, DeviceError
from w2v_core.progress import bars
from w2v_core.records.cell import Cell, form_cells
from w2v_core.records.record import TIMED_REGION, CellRecord, to_json
from w2v_core.report.text import figure, printable
from w2v_core.session import RunConfig, ValidationRun
from w2v_core.types import SAMPLE_RATE_HZ, parse_dtype

__all__ = ["add_parser", "figures", "run"]

Figure = tuple[str, str, str]
"""Name, value, unit."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``run`` and its flags; those of wav2vec.py keep their spelling."""
    parser = commands.add_parser(
        "run",
        help=HELP["run"],
        description="Transcribe a corpus, measure it, and print the figures of wav2vec.py and the "
        "WER. Without a flag: base on test-clean, float32, no graphs.",
        epilog="Exit codes: 0 the record is valid and its WER under its ceiling, 1 not (stderr "
        "says why), 2 wrong usage, 3 unusable input or a missing device, 130 interrupted (the "
        "run's directory stays marked incomplete).",
    )
    _add_seed_flags(parser.add_argument_group("flags of wav2vec.py, spelled as there"))
    group = parser.add_argument_group("further flags")
    add = group.add_argument
    add("--model", default=None, help="canary-base, canary-large, base, large, DIR or owner/name")
    add(
        "--dataset",
        default=None,
        help="canary-speech, test-clean[@REVISION], manifest:PATH ...",
    )
    add("--device", default="auto", help=f"{', '.join(DEVICES)}; a missing one is an error")
    add("--execution", default=None, help="hpu: lazy (HPU graphs), eager (torch.compile) or both")
    add("--recipe-cache", default=None, metavar="DIR", help="hpu: keep compiled recipes there")
    add("--forward", default="exact", help="exact (padding-exact, default) or stock")
    add("--autocast", action="store_true", help="autocast to bf16 instead of bf16 weights")
    rows = BatchPlan().batch_size
    add("--batch-size", type=int, default=rows, metavar="N", help=f"rows (default {rows})")
    add("--batch-plan", default="auto", metavar="PLAN", help=", ".join(PLAN_KINDS))
    timeout_s = EngineConfig().event_timeout_s
    add("--event-timeout", type=float, default=timeout_s, metavar="S", help=EVENT_TIMEOUT_HELP)
    add("--allow-partial", action="store_true", help="exclude transcripts that have no audio")
    add("--reports-dir", default=None, metavar="DIR", help="also write the run's reports there")
    add("--release", default="dev", metavar="NAME", help="the release under test (default dev)")
    add("--json", action="store_true", help="print the record as JSON instead of the table")
    parser.set_defaults(handler=run)


def _add_seed_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--dtype", "-dt", default="fp32", help="fp32 (default) or bf16")
    add("--buckets", "-b", type=int, metavar="N", help="static lengths (default: up to 8)")
    add("--use_graphs", action="store_true", help="capture a graph per bucket and replay it")
    add("--perf", "-p", action="store_true", help="print performance only")
    add("--accuracy", "-a", action="store_true", help="print WER only")
    add("--large", action="store_true", help="the large checkpoint instead of the base one")
    add("--dev_clean_ds", action="store_true", help="the 73 utterances of dev-clean")
    add("--repeat", "-r", type=int, default=1, metavar="N", help="timed rounds")
    add("--limit", "-l", type=int, metavar="N", help="first N utterances (default: all)")
    add(
        "--data_path",
        "--data-path",
        metavar="PATH",
        help="a LibriSpeech folder, or audio with a .csv, .tsv, .jsonl or Kaldi manifest, "
        "instead of the hub's test-clean",
    )
    switch = partial(add, type=int, default=1, metavar="{0,1}")
    switch(
        "--multi_thread",
        "-m",
        help="1 (default): copies and decoding overlap the forward, decoding in a thread of its "
        "own; 0: one batch after another in one thread",
    )
    switch(
        "--graph_async",
        "-g",
        help="1 (default): replays are launched without waiting, always on here; 0 is taken "
        "without --use_graphs only, where it says nothing",
    )
    add(
        "--profile",
        action="store_true",
        help="after the rounds, trace one more pass: trace.json.gz and top_ops.txt in the run's "
        "directory (below reports/ without --reports-dir); on hpu SynapseAI's profiler is on in "
        "the rounds too, so take figures from another run",
    )
    add(
        "--debug",
        action="store_true",
        help="show the traceback of an error; on hpu also SynapseAI's logs on the console",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure the cell and print it; returns 0 where the record is valid, else 1.

    Raises:
        ConfigError: a value is outside its limits, or two contradict each other.
        KeyboardInterrupt: interrupted; says what stays behind.
    """
    validation = ValidationRun(_run_config(arguments), progress=bars)
    rounds = parse_count("--repeat", arguments.repeat)
    cell = _cell(arguments)
    if arguments.execution == BOTH:
        return run_both(validation.config)
    prepare_device(
        validation.config.device,
        execution=arguments.execution,
        profile=arguments.profile,
        debug=arguments.debug,
        recipe_cache=arguments.recipe_cache,
    )

    from w2v_core.bench.measure import time_rounds  # torch is imported here, for the first time

    reason = validation.backend.graphs_unsupported
    if cell.graphs and reason is not None:
        same = validation.config.command.replace(" --use_graphs", "")
        raise DeviceError(f"--use_graphs: {reason}; the same without graphs: {same}")
    keeps = arguments.reports_dir is not None or arguments.profile
    try:
        if keeps:
            _ = validation.directory  # one that cannot be written is an error now
        timer = time_rounds(rounds)
        try:
            validation.measure(cell, timer=timer, rounds=rounds, profile=arguments.profile)
        except Exception:
            if validation.records:  # only the profile failed
                _deliver(validation, arguments, keeps=keeps)
            raise
        _deliver(validation, arguments, keeps=keeps)
    except KeyboardInterrupt:
        left = f"{validation.directory} stays marked incomplete" if keeps else "nothing was written"
        raise KeyboardInterrupt(left) from None
    return 0 if not _spoken_against(validation.records[-1]) else 1


def _deliver(validation: ValidationRun, arguments: argparse.Namespace, *, keeps: bool) -> None:
    """Write the reports where they are kept, and print the figures even where that fails.

    Raises:
        ReportError: the reports cannot be written.
    """
    try:
        if keeps:
            validation.write()
    finally:
        record = validation.records[-1]
        text = json.dumps(to_json(record)) if arguments.json else _render(record, arguments)
        sys.stdout.write(f"{text}\n")
    _note(validation)


def figures(record: CellRecord) -> list[Figure]:
    """Return the figures of wav2vec.py; a token is an audio sample, a sample an utterance there.

    The real-time factor is measured audio over wall time, not a constant 5.4 h. A figure is ``-``
    where it would divide by nothing: no utterance was transcribed, or no round timed.
    """

    def over(value: float, count: float) -> str:
        return figure(value / count if count else None)

    total_s, rounds = sum(record.rounds_s), len(record.rounds_s)
    median = figure(statistics.median(record.rounds_s) if rounds else None)
    tokens, utterances = record.audio_s * SAMPLE_RATE_HZ * rounds, record.num_utterances * rounds
    return [
        ("average latency", over(total_s * 1e7, tokens), "ms/10k tokens"),
        ("throughput", over(tokens, total_s * 1e3), "tokens/ms"),
        ("end-to-end time per sample", over(total_s * 1e3, utterances), "ms/sample"),
        ("total end-to-end time", figure(total_s), "s"),
        ("median round", median, f"s, of {rounds}"),
        ("real-time factor (RTFx)", figure(record.rtfx), "audio s per wall s, median round"),
    ]


def _run_config(arguments: argparse.Namespace) -> RunConfig:
    require_text(
        model=arguments.model,
        dataset=arguments.dataset,
        data_path=arguments.data_path,
        release=arguments.release,
    )
    for flag in ("multi_thread", "graph_async"):
        value = getattr(arguments, flag)
        if value not in (0, 1):
            raise ConfigError(f"--{flag} is {value}; it must be 0 or 1")
    if arguments.use_graphs and not arguments.graph_async:
        raise ConfigError(
            "--graph_async 0 with --use_graphs is refused: replays are always launched without "
            "waiting; leave it out, or use --multi_thread 0 for one batch after another"
        )
    if arguments.limit is not None:
        parse_count("--limit", arguments.limit)
    return RunConfig(
        device=parse_choice("device", arguments.device, DEVICES),
        limit=arguments.limit,
        allow_partial=arguments.allow_partial,
        release=arguments.release,
        reports_dir=parse_path(arguments.reports_dir or "reports"),
        command=shlex.join(["w2v", *sys.argv[1:]]),
        overlap=bool(arguments.multi_thread),
        event_timeout_s=arguments.event_timeout,
    )


def _cell(arguments: argparse.Namespace) -> Cell:
    from w2v_core.data.catalog import parse_dataset
    from w2v_core.model.catalog import parse_model

    model, dataset = _model(arguments), _dataset(arguments)
    dtype = parse_dtype(arguments.dtype)
    if arguments.autocast and dtype == "float32":
        raise ConfigError("--autocast with --dtype fp32 does nothing; use bf16, or leave it out")
    return form_cells(
        models=[(model, parse_model(model).cell_name)],
        dtypes=[dtype],
        datasets=[(dataset, parse_dataset(dataset).text)],
        graphs=[arguments.use_graphs],
        forwards=[parse_choice("forward", arguments.forward, FORWARDS)],
        plan=parse_plan(
            arguments.batch_plan, num_buckets=arguments.buckets, batch_size=arguments.batch_size
        ),
        autocast=arguments.autocast,
    )[0]


def _model(arguments: argparse.Namespace) -> str:
    if arguments.model is None:
        return "large" if arguments.large else "base"
    if arguments.large:
        raise ConfigError(f"--large and --model {arguments.model} both name a model; give one")
    return str(arguments.model)


def _dataset(arguments: argparse.Namespace) -> str:
    from w2v_core.data.catalog import name_folder

    named = {
        "--dataset": arguments.dataset,
        "--data_path": arguments.data_path and name_folder(arguments.data_path),
        "--dev_clean_ds": "dev-clean-dummy" if arguments.dev_clean_ds else None,
    }
    given = {flag: name for flag, name in named.items() if name is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} each name a dataset; give one of them")
    return next(iter(given.values()), "test-clean")


def _render(record: CellRecord, arguments: argparse.Namespace) -> str:
    rows = figures(record) if arguments.perf or not arguments.accuracy else []
    if arguments.accuracy or not arguments.perf:
        rows += _accuracy(record)
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    audio = f"{record.num_utterances} utterances ({figure(record.audio_s)} s of audio)"
    lines = [
        record.cell,
        ", ".join((record.device_name, f"batch plan {record.batch_plan}", audio)),
        "",
        *(f"{name:<{names}}  {value:>{values}}  {unit}" for name, value, unit in rows),
    ]
    if arguments.perf or not arguments.accuracy:
        lines += ["", f"A token is an audio sample; {TIMED_REGION}."]
    if record.notes:
        lines += ["", *(f"note: {note}" for note in record.notes)]
    return "\n".join(printable(line).rstrip() for line in lines)


def _accuracy(record: CellRecord) -> list[Figure]:
    rows: list[Figure] = []
    if record.wer is None:
        rows.append(("WER", "-", "the set has no references"))
    else:
        edits = (
            f"{record.substitutions} S, {record.deletions} D, {record.insertions} I "
            f"of {record.reference_words} words"
        )
        rows.append(("WER", f"{record.wer * 100:.2f}", f"% ({edits})"))
    if record.changed_vs_golden is not None:
        rows.append(("changed against goldens", str(len(record.changed_vs_golden)), "utterances"))
    if record.excluded:
        rows.append(("excluded", str(len(record.excluded)), "utterances; --json names them"))
    return rows


def _spoken_against(record: CellRecord) -> list[str]:
    """Say why a record is not good: not sound, or its WER above its ceiling."""
    from w2v_core.verdict.wer import ceiling_finding

    reasons = [f"invalid: {reason}" for reason in record.invalid_reasons]
    finding = ceiling_finding(record)
    if finding is not None and finding.verdict == "FAIL":
        reasons.append(f"WER: {finding.reason}")
    return reasons


def _note(validation: ValidationRun) -> None:
    """Tell on stderr where files are, and why the record is invalid or its WER bad."""
    for record in validation.records:
        sys.stderr.writelines(f"{printable(reason)}\n" for reason in _spoken_against(record))
    if "directory" in vars(validation):
        sys.stderr.write(f"reports: {printable(str(validation.directory))}\n")
    if (found := validation.profile) is not None:
        sys.stderr.write(
            f"profile of {found.num_utterances} utterances: {printable(str(found.trace))} "
            f"(open it in ui.perfetto.dev), {printable(str(found.top_ops))}\n"
        )
