"""``w2v run``: one cell from the command line, with the flags of the vendor's wav2vec.py."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from w2v_core.commands import HELP
from w2v_core.commands.modes import BOTH, run_both
from w2v_core.commands.options import given, prepare_device
from w2v_core.config import form_plan
from w2v_core.errors import CheckpointError, ConfigError, DataError, DeviceError, NotCachedError
from w2v_core.fleet.cards import pin_to_local_rank
from w2v_core.options.option import Given, declare, options_of
from w2v_core.printable import printable
from w2v_core.progress import bars
from w2v_core.records.cell import Cell, form_cells
from w2v_core.records.history import History
from w2v_core.records.record import TIMED_REGION, CellRecord, to_json
from w2v_core.report.text import figure
from w2v_core.report.views.phases import phases_line, process_s
from w2v_core.session import RunConfig, ValidationRun
from w2v_core.types import SAMPLE_RATE_HZ

SEED = (
    *("dtype", "buckets", "graphs", "perf", "accuracy", "large", "dev_clean_ds", "rounds"),
    *("limit", "data_path", "multi_thread", "graph_async", "profile", "debug"),
)
"""Options of wav2vec.py."""
UNUSABLE = (ConfigError, DataError, CheckpointError, NotCachedError)
"""Errors of what a run is given, before it measures: there was no run, so none is left behind."""
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
    seed = parser.add_argument_group("flags of wav2vec.py, spelled as there")
    declare("run", seed.add_argument, *SEED)
    further = parser.add_argument_group("further flags").add_argument
    declare("run", further, *(name for name in options_of("run") if name not in SEED))
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure the cell and print it; returns 0 where the record is valid, else 1.

    Raises:
        ConfigError: a value is outside its limits, or two contradict each other.
        KeyboardInterrupt: interrupted; says what stays behind.
    """
    options = given("run", arguments)
    validation = ValidationRun(_run_config(options), progress=bars)
    rounds: int = options["rounds"]
    cell = _cell(options)
    if options["execution"] == BOTH:
        return run_both(validation.config)
    if validation.config.share is not None:
        pin_to_local_rank(os.environ)
    prepare_device(
        validation.config.device,
        execution=options["execution"],
        profile=options["profile"],
        debug=options["debug"],
        recipe_cache=options["recipe_cache"],
    )

    from w2v_core.bench.rounds import time_rounds  # torch is imported here, for the first time

    reason = validation.backend.graph_support(cell.dtype).unsupported
    if cell.graphs and reason is not None:
        same = validation.config.command.replace(" --use_graphs", "")
        raise DeviceError(f"--use_graphs: {reason}; the same without graphs: {same}")
    keeps: bool = options["reports_dir"] is not None or options["profile"]
    try:
        if options["history"] is not None:
            History.check_writable(options["history"])  # one that cannot be is an error now
        if keeps:
            _ = validation.directory  # likewise
        timer = time_rounds(rounds)
        try:
            validation.measure(cell, timer=timer, rounds=rounds, profile=options["profile"])
        except Exception as error:
            if validation.records:  # only the profile failed
                _deliver(validation, options, keeps=keeps)
            elif keeps and isinstance(error, UNUSABLE):
                shutil.rmtree(validation.directory, ignore_errors=True)
            raise
        against = _deliver(validation, options, keeps=keeps)
    except KeyboardInterrupt:
        left = f"{validation.directory} stays marked incomplete" if keeps else "nothing was written"
        raise KeyboardInterrupt(left) from None
    return 1 if against else 0


def _deliver(validation: ValidationRun, options: Given, *, keeps: bool) -> list[str]:
    """Write the reports where they are kept, and print the figures even where that fails.

    Returns:
        What speaks against the record.

    Raises:
        ReportError: the reports cannot be written.
        RecordError: the history cannot be written.
    """
    try:
        if keeps:
            validation.write()
    finally:
        record = validation.records[-1]
        try:
            if options["history"] is not None:
                with History(options["history"]) as history:
                    history.append([record])
        finally:  # last, as its reader may be gone
            text = json.dumps(to_json(record)) if options["json"] else _render(record, options)
            sys.stdout.write(f"{text}\n")
    against = _spoken_against(record)
    _note(validation, against)
    return against


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


def _run_config(options: Given) -> RunConfig:
    if options["graphs"] and not options["graph_async"]:
        raise ConfigError(
            "--graph_async 0 with --use_graphs is refused: replays are always launched without "
            "waiting; leave it out, or use --multi_thread 0 for one batch after another"
        )
    if options["shard"] is not None and options["history"] is not None:
        raise ConfigError(
            f"--history with --shard {options['shard']}: a history holds whole sets; leave it out"
        )
    return RunConfig(
        device=options["device"],
        limit=options["limit"],
        allow_partial=options["allow_partial"],
        release=options["release"],
        reports_dir=options["reports_dir"] or Path("reports"),
        command=shlex.join(["w2v", *sys.argv[1:]]),
        overlap=options["multi_thread"],
        event_timeout_s=options["event_timeout"],
        share=options["shard"],
    )


def _cell(options: Given) -> Cell:
    from w2v_core.data.catalog import parse_dataset
    from w2v_core.model.catalog import parse_model

    model, dataset, dtype = _model(options), _dataset(options), options["dtype"]
    if options["autocast"] and dtype == "float32":
        raise ConfigError("--autocast with --dtype fp32 does nothing; use bf16, or leave it out")
    return form_cells(
        models=[(model, parse_model(model).cell_name)],
        dtypes=[dtype],
        datasets=[(dataset, parse_dataset(dataset).text)],
        graphs=[options["graphs"]],
        forwards=[options["forward"]],
        plan=form_plan(
            options["batch_plan"], num_buckets=options["buckets"], batch_size=options["batch_size"]
        ),
        autocast=options["autocast"],
    )[0]


def _model(options: Given) -> str:
    model: str | None = options["model"]
    if model is None:
        return "large" if options["large"] else "base"
    if options["large"]:
        raise ConfigError(f"--large and --model {model} both name a model; give one")
    return model


def _dataset(options: Given) -> str:
    from w2v_core.data.layout import name_folder

    named: dict[str, str | None] = {
        "--dataset": options["dataset"],
        "--data_path": options["data_path"] and name_folder(options["data_path"]),
        "--dev_clean_ds": "dev-clean-dummy" if options["dev_clean_ds"] else None,
    }
    chosen = {flag: name for flag, name in named.items() if name is not None}
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} each name a dataset; give one of them")
    return next(iter(chosen.values()), "test-clean")


def _render(record: CellRecord, options: Given) -> str:
    rows = figures(record) if options["perf"] or not options["accuracy"] else []
    if options["accuracy"] or not options["perf"]:
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
    if options["perf"] or not options["accuracy"]:
        lines += ["", f"A token is an audio sample; {TIMED_REGION}."]
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
    from w2v_core.verdict.judge import judge_alone

    if record.shard is not None:  # its WER is no part of a verdict
        return [f"invalid: {reason}" for reason in record.invalid_reasons]
    (cell,) = judge_alone([record]).cells
    against = [finding for finding in cell.findings if finding.verdict == "FAIL"]
    wer = [f"WER: {f.reason}" for f in against if f.kind == "wer-ceiling"]
    unfit = [f"unfit: {f.reason}" for f in against if f.kind != "wer-ceiling"]
    return [*(f"invalid: {reason}" for reason in record.invalid_reasons), *wer] or unfit


def _note(validation: ValidationRun, against: Sequence[str]) -> None:
    """Tell on stderr where files are, and why the record is invalid or its WER bad."""
    notes = validation.records[-1].notes
    sys.stderr.writelines(f"note: {printable(note)}\n" for note in notes)
    sys.stderr.writelines(f"{printable(reason)}\n" for reason in against)
    if "directory" in vars(validation):
        sys.stderr.write(f"time: {phases_line(validation.records, run_s=process_s())}\n")
        sys.stderr.write(f"reports: {printable(str(validation.directory))}\n")
    if (found := validation.profile) is not None:
        sys.stderr.write(
            f"profile of {found.num_utterances} utterances: {printable(str(found.trace))} "
            f"(open it in ui.perfetto.dev), {printable(str(found.top_ops))}\n"
        )
