"""The options that say what is measured, how, and what is written of it."""

from __future__ import annotations

from w2v_core.backends.hpu_environment import EXECUTIONS
from w2v_core.config import DEVICES, FORWARDS, PLAN_KINDS, BatchPlan, EngineConfig
from w2v_core.options.option import PYTEST, Option
from w2v_core.options.rows import (
    CARDS,
    chosen,
    counted,
    measured,
    on,
    placed,
    switch,
    worded,
    zero_or_one,
)
from w2v_core.types import DTYPES, parse_dtype

_PLAN, _ENGINE = BatchPlan(), EngineConfig()


MEASURING: tuple[Option, ...] = (
    # What is measured
    worded(
        "model",
        help="canary-base, canary-large, base, large, DIR or owner/name[@REVISION]",
        on={
            **on(
                "--models",
                PYTEST,
                *CARDS,
                many=True,
                help="comma-separated: canary-base, base, large, DIR, owner/name",
            ),
            **on("--model", "run"),
            **on("--model", "load", default="canary-base"),
            **on(
                "--model",
                "transcribe",
                help="base, large, DIR, owner/name, canary-base, "
                "canary-large; by default base where it is cached, else canary-base, which "
                "knows synthetic English only",
            ),
        },
    ),
    switch("large", "--large", "run", help="the large checkpoint instead of the base one"),
    Option(
        name="dtype",
        help="fp32 (default) or bf16",
        parse=parse_dtype,
        default="fp32",
        choices=("fp32", "bf16"),
        on={
            **on(
                "--dtypes",
                PYTEST,
                *CARDS,
                many=True,
                default=",".join(DTYPES),
                help="comma-separated: float32, bfloat16",
            ),
            **on("--dtype -dt", "run", "transcribe", "load"),
        },
    ),
    worded(
        "dataset",
        help="canary-speech, test-clean[@REVISION], manifest:PATH ...",
        on={
            **on("--datasets", PYTEST, *CARDS, many=True),
            **on("--dataset", "run"),
            **on("--dataset", "load", default="canary-speech"),
        },
    ),
    worded(
        "data_path",
        help="a LibriSpeech folder, or audio with a .csv, .tsv, .jsonl or Kaldi manifest",
        metavar="PATH",
        on={
            **on("--data-path", PYTEST, *CARDS),
            **on(
                "--data_path --data-path",
                "run",
                help="a LibriSpeech folder, or audio with a "
                ".csv, .tsv, .jsonl or Kaldi manifest, instead of the hub's test-clean",
            ),
        },
    ),
    switch("dev_clean_ds", "--dev_clean_ds", "run", help="the 73 utterances of dev-clean"),
    chosen(
        "graphs",
        "graphs",
        ("on", "off", "both"),
        help="on, off or both; default: whatever the device can do",
        on={
            **on("--graphs", PYTEST, *CARDS),
            **on(
                "--use_graphs",
                "run",
                "load",
                switch=True,
                default=False,
                help="capture a graph per bucket and replay it",
            ),
        },
    ),
    chosen(
        "forward",
        "forward",
        FORWARDS,
        help="exact (padding-exact, default) or stock",
        default="exact",
        on={
            **on("--forwards", PYTEST, *CARDS, many=True, help="comma-separated: exact, stock"),
            **on("--forward", "run", "transcribe"),
        },
    ),
    switch(
        "autocast",
        "--autocast",
        PYTEST,
        "run",
        *CARDS,
        help="autocast to bf16 instead of bf16 weights",
    ),
    counted(
        "limit",
        help="first N utterances of each set; no WER verdict (default: all)",
        metavar="N",
        on={**on("--limit", PYTEST, *CARDS), **on("--limit -l", "run", "load")},
    ),
    counted(
        "rounds",
        help="timed rounds over the whole set",
        default=1,
        metavar="N",
        on={
            **on(
                "--rounds",
                PYTEST,
                *CARDS,
                default=3,
                help="timed rounds over the whole set (default 3)",
            ),
            **on("--rounds", "night", default=5, help="timed rounds (default 5)"),
            **on("--repeat -r", "run"),
        },
    ),
    switch(
        "allow_partial",
        "--allow-partial",
        PYTEST,
        "run",
        *CARDS,
        help="exclude transcripts that have no audio",
    ),
    # How it is measured
    chosen(
        "device",
        "device",
        DEVICES,
        help=f"{', '.join(DEVICES)}; a missing one is an error",
        default="auto",
        on={
            **on("--device", PYTEST, "run", "transcribe", "doctor", *CARDS, "load"),
            **on("--device", "night", default="hpu"),
        },
    ),
    chosen(
        "execution",
        "execution mode",
        (*EXECUTIONS, "both"),
        help="hpu: lazy (HPU graphs), eager (torch.compile) or both",
        on={
            **on("--execution", PYTEST, "run"),
            **on("--execution", *CARDS, help="hpu: lazy (HPU graphs) or eager (torch.compile)"),
            **on("--execution", "doctor", help="hpu: lazy or eager, as for run"),
        },
    ),
    placed(
        "recipe_cache",
        help="hpu: keep compiled recipes there",
        metavar="DIR",
        on=on("--recipe-cache", PYTEST, "run", *CARDS),
    ),
    counted(
        "buckets",
        help=f"static lengths (default: up to {_PLAN.num_buckets})",
        metavar="N",
        on={**on("--buckets", PYTEST, *CARDS), **on("--buckets -b", "run")},
    ),
    counted(
        "batch_size",
        help=f"rows of a batch (default {_PLAN.batch_size}; 1 where a host compiles its graphs)",
        metavar="N",
        on=on("--batch-size", PYTEST, "run", "transcribe", *CARDS, "load"),
    ),
    chosen(
        "batch_plan",
        "batch plan",
        PLAN_KINDS,
        help=", ".join(PLAN_KINDS),
        metavar="PLAN",
        default=_PLAN.kind,
        on=on("--batch-plan", PYTEST, "run", *CARDS),
    ),
    measured(
        "event_timeout",
        default=_ENGINE.event_timeout_s,
        metavar="S",
        help="seconds, beyond its audio's length, until a batch counts as lost (default "
        f"{_ENGINE.event_timeout_s:g})",
        on=on("--event-timeout", PYTEST, "run", *CARDS),
    ),
    zero_or_one(
        "multi_thread",
        help="1 (default): copies and decoding overlap the forward, decoding in a thread of its "
        "own; 0: one batch after another in one thread",
        on=on("--multi_thread -m", "run"),
    ),
    zero_or_one(
        "graph_async",
        help="1 (default): replays are launched without waiting, always on here; 0 is taken "
        "without --use_graphs only, where it says nothing",
        on=on("--graph_async -g", "run"),
    ),
    switch(
        "profile",
        "--profile",
        "run",
        help="after the rounds, trace one more pass: trace.json.gz and top_ops.txt in the "
        "run's directory (below reports/ without --reports-dir); on hpu SynapseAI's profiler "
        "is on in the rounds too, so take figures from another run",
    ),
    switch(
        "debug",
        "--debug",
        "run",
        help="show the traceback of an error; on hpu also SynapseAI's logs on the console",
    ),
    # What is written and shown
    placed(
        "reports_dir",
        help="also write the run's reports there",
        metavar="DIR",
        on={
            **on(
                "--reports-dir",
                PYTEST,
                default="reports",
                help="where summaries go (default reports/)",
            ),
            **on("--reports-dir", "run"),
            **on(
                "--reports-dir",
                "merge",
                *CARDS,
                default="reports",
                help="where it goes (default reports/)",
            ),
            **on("--reports-dir", "night", help="where all of it goes (default reports/)"),
        },
    ),
    worded(
        "release",
        default="dev",
        metavar="NAME",
        on={**on("--release", PYTEST, "run", *CARDS), **on("--release", "night", required=True)},
        help="name of the release under test, e.g. 1.24.0.1007 (default dev)",
    ),
    switch("perf", "--perf -p", "run", help="print performance only"),
    switch("accuracy", "--accuracy -a", "run", help="print WER only"),
    Option(
        name="json",
        help="print JSON",
        switch=True,
        default=False,
        on={
            **on("--json", "gate", "baseline", "pair", "bisect", "calibrate", *CARDS, "load"),
            **on("--json", "run", help="print the record as JSON instead of the table"),
            **on(
                "--json",
                "transcribe",
                help="print JSON: id, text, audio_s, latency_s, cuts_s, notes",
            ),
            **on("--json", "doctor", help="print the checks as JSON"),
            **on("--json", "report", help="print JSON: the page's path and size, cells, valid"),
        },
    ),
)
