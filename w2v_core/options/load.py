"""The options of a load: which scenario of LoadGen, for how long, at which rate."""

from __future__ import annotations

from typing import Any

from w2v_core.errors import ConfigError
from w2v_core.options.option import Option
from w2v_core.options.rows import listed, on, placed

SCENARIOS = ("offline", "single-stream", "server")
MODES = ("performance", "accuracy", "find-peak")


def _positive(name: str, **more: Any) -> Option:  # noqa: ANN401
    def parse(value: float | None) -> float | None:
        if value is not None and not 0 < value < float("inf"):
            text = f"{{flag:{name}}} is {value}; it must be above 0"
            raise ConfigError(text, field=name, value=value)
        return value

    return Option(name=name, type=float, parse=parse, **more)


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
    _positive(
        "seconds",
        default=10.0,
        metavar="S",
        help="least duration of a performance run (default 10)",
        on=on("--seconds", "load"),
    ),
    _positive(
        "p99_ms",
        default=1000.0,
        metavar="MS",
        help="server: bound of the 99th percentile of latency (default 1000)",
        on=on("--p99-ms", "load"),
    ),
    _positive(
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
