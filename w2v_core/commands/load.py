"""``w2v load``: a scenario of MLPerf's LoadGen against the online engine."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core.commands import HELP
from w2v_core.commands.options import given, prepare_device
from w2v_core.config import EngineConfig, form_plan
from w2v_core.errors import ConfigError
from w2v_core.options.option import Given, declare, name_flags
from w2v_core.printable import printable
from w2v_core.progress import bars

if TYPE_CHECKING:
    from w2v_core.bench.loadgen import Load, LoadResult
    from w2v_core.data.catalog import Corpus
    from w2v_core.engine.engine import Engine

RATE_SHARES = {"offline": 1.25, "server": 0.5}
"""Of a pass's rate, where ``--qps`` is not given. LoadGen calls an offline run that ends before its
least duration invalid, and batches formed of many queries are quicker than a pass's; a server's
queue that fills is no scenario."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``load`` and its flags."""
    parser = commands.add_parser(
        "load",
        help=HELP["load"],
        description="Let MLPerf's LoadGen (extra mlperf) query the engine one by one. Its logs "
        "stay in --out, beside load.json. It is a LoadGen scenario, not an MLPerf result.",
        epilog="Exit codes: 0 LoadGen calls the run valid and every query has a transcript, "
        "1 not, 2 wrong usage, 3 unusable input or a missing device.",
    )
    declare("load", parser.add_argument)
    parser.set_defaults(handler=load)


def load(arguments: argparse.Namespace) -> int:
    """Run the scenario and print it.

    Raises:
        ConfigError: a value is outside its limits, or LoadGen is not installed.
        ReportError: the logs cannot be written.
    """
    options = given("load", arguments)
    if options["mode"] == "find-peak" and options["scenario"] != "server":
        raise ConfigError(
            f"{{flag:mode}} find-peak with {{flag:scenario}} {options['scenario']}: a rate is "
            "searched of {flag:scenario} server",
            field="mode",
            value="find-peak",
        )
    prepare_device(options["device"])

    from w2v_core.bench.loadgen import DISCLAIMER, run_load

    engine, corpus = _warm(options)
    asked = _load(options, engine, corpus)
    directory = options["out"] or Path("reports", "loadgen", _stamp(asked))
    result = run_load(engine, corpus.utterances, asked, directory=directory)
    report = {**_report(result, corpus), "scenario": asked.scenario, "mode": asked.mode}
    text = json.dumps({**report, "note": DISCLAIMER}, indent=1)
    (directory / "load.json").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"{text if options['json'] else _render(report, note=DISCLAIMER)}\n")
    for error in result.errors:
        sys.stderr.write(f"LoadGen: {printable(error)}\n")
    if asked.mode == "find-peak" and result.peak_qps is None:
        remedy = f"the search began at {asked.qps:.4g} a second; give a lower {{flag:qps}}, or a "
        remedy = name_flags(f"{remedy}longer {{flag:p99_ms}}", "load")
        sys.stderr.write(f"w2v: no rate was found; {remedy}\n")
    sys.stderr.write(f"LoadGen's logs: {printable(str(directory))}\n")
    return 0 if result.is_valid else 1


def _warm(options: Given) -> tuple[Engine, Corpus]:
    from w2v_core.data import catalog
    from w2v_core.engine.devices import open_backend
    from w2v_core.engine.engine import Engine
    from w2v_core.model.catalog import parse_model
    from w2v_core.model.checkpoint import load_checkpoint

    plan = form_plan("optimal", num_buckets=None, batch_size=options["batch_size"])
    config = EngineConfig(dtype=options["dtype"], graphs=options["graphs"], plan=plan)
    engine = Engine(
        load_checkpoint(parse_model(options["model"])), open_backend(options["device"]), config
    )
    dataset = catalog.parse_dataset(options["dataset"])
    corpus = catalog.load(dataset, limit=options["limit"], progress=bars)
    engine.warm_up([u.num_samples for u in corpus.utterances], progress=bars)
    return engine, corpus


def _load(options: Given, engine: Engine, corpus: Corpus) -> Load:
    """Return what LoadGen is asked for; a rate that is not given is measured by one pass."""
    from w2v_core.bench.loadgen import Load

    rate: float | None = options["qps"]
    if rate is None:
        rate = len(corpus.utterances) / engine.transcribe(corpus.utterances).wall_s
        rate *= RATE_SHARES.get(options["scenario"], 1.0)
    return Load(
        scenario=options["scenario"],
        mode=options["mode"],
        seconds=options["seconds"],
        p99_s=options["p99_ms"] / 1e3,
        qps=rate,
    )


def _report(result: LoadResult, corpus: Corpus) -> dict[str, object]:
    from w2v_core.scoring.wer import corpus_wer, score

    references = corpus.references
    answered = {i: t for i, t in result.transcripts.items() if i in references}
    wer = corpus_wer(score(references, answered)) if answered else None
    return {
        "valid": result.is_valid,
        "queries": result.num_queries,
        "failures": list(result.failures),
        "errors": list(result.errors),
        "peak_qps": result.peak_qps,
        "latency_s": dict(result.latency_s),
        "issue_delay_s": dict(result.issue_delay_s),
        "wer": wer,
        "loadgen": dict(result.summary),
    }


def _render(report: dict[str, object], *, note: str) -> str:
    from w2v_core.report.tables import text_table

    told = {k: v for k, v in report.items() if not isinstance(v, dict | list)}
    for name, part in (("latency", "latency_s"), ("issued late by", "issue_delay_s")):
        told |= {f"{name} {k} s": v for k, v in _part(report, part).items()}
    told |= _part(report, "loadgen")
    rows = [{"figure": printable(k), "value": printable(str(v))} for k, v in told.items()]
    return f"{text_table(rows)}\n{note}"


def _part(report: dict[str, object], name: str) -> dict[str, object]:
    part = report[name]
    return part if isinstance(part, dict) else {}


def _stamp(asked: Load) -> str:
    now = datetime.now(timezone.utc)
    return f"{now:%Y%m%dT%H%M%SZ}-{asked.scenario}-{asked.mode}"
