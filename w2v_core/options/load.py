"""The options of a load: which scenario of LoadGen, for how long, at which rate."""

from __future__ import annotations

from w2v_core.options.option import Option
from w2v_core.options.rows import listed, measured, on, placed

SCENARIOS = ("offline", "single-stream", "server")
MODES = ("performance", "accuracy", "find-peak")


LOAD: tuple[Option, ...] = (
    listed(
        "scenario",
        SCENARIOS,
        default="offline",
        help="offline (default): all at once; single-stream: one after the other; server: at "
        "random times, under a bound of the 99th percentile",
        on=on("--scenario", "load"),
    ),
    listed(
        "mode",
        MODES,
        default="performance",
        help="performance (default); accuracy: each utterance once, and its WER; find-peak: the "
        "highest rate of a server, searched by LoadGen",
        on=on("--mode", "load"),
    ),
    measured(
        "seconds",
        default=10.0,
        metavar="S",
        help="least duration of a performance run (default 10)",
        on=on("--seconds", "load"),
    ),
    measured(
        "p99_ms",
        default=1000.0,
        metavar="MS",
        help="server: bound of the 99th percentile of latency (default 1000)",
        on=on("--p99-ms", "load"),
    ),
    measured(
        "qps",
        metavar="N",
        help="queries a second that are expected, or tried first (default: measured by a pass; "
        "half of it for a server, a quarter more for offline)",
        on=on("--qps", "load"),
    ),
    placed(
        "out",
        metavar="DIR",
        help="where LoadGen's logs and load.json go (default: reports/loadgen/TIME-SCENARIO)",
        on=on("--out", "load"),
    ),
)
