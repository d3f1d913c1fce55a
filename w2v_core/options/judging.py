"""The options of what judges and shows: gate, baseline, compare, pair, calibrate, report."""

from __future__ import annotations

from w2v_core.config import MIN_PAIRS, MOST_RUNS, SILENCE_S
from w2v_core.options.option import PYTEST, Option
from w2v_core.options.rows import CARDS, counted, listed, measured, on, placed, switch

_MOST_PAIRS = _MOST_CELLS = 1000
"""What a simulation of both takes a few gigabytes for."""
_SUREST = 0.999999
"""Of a search that has an end."""

JUDGING: tuple[Option, ...] = (
    # What is judged
    placed(
        "baseline",
        metavar="PATH",
        help="baseline file or directory",
        on={
            **on("--baseline", PYTEST, help="judge against this baseline file or directory"),
            **on("--baseline", "gate", required=True, help="file, or directory of them"),
            **on(
                "--baseline",
                "baseline",
                default="reports/baselines",
                help="file, or directory "
                "where the fingerprint names the file (default reports/baselines)",
            ),
            **on("--baseline", "night", help="judge against it; without it nothing is gated"),
            **on(
                "--baseline",
                "report",
                help="baseline file or directory: the verdict, the anchor and CUSUM",
            ),
        },
    ),
    placed(
        "history",
        metavar="PATH",
        help="history file",
        on={
            **on("--history", PYTEST, help="file that every run is appended to; judges drift"),
            **on("--history", "run", help="append the record to this history file"),
            **on("--history", "night", help="default REPORTS/history.sqlite; a local disk"),
            **on("--history", "gate", help="also judge drift over it"),
            **on(
                "--history",
                "baseline",
                help="where the alarms are (default reports/history.sqlite)",
            ),
            **on("--history", "compare", help="where release:NAME is looked up"),
            **on("--history", "calibrate", help="noise of the runs in this history"),
            **on("--history", "report", help="reports directory or history file, for the trend"),
        },
    ),
    Option(
        name="reason",
        help="why; needed where a cell gets worse, with a word on runs that are mixed or of one "
        "sitting",
        default="",
        on={
            **on(
                "--rebase",
                PYTEST,
                default=None,
                metavar="REASON",
                help="approve this release's runs as baseline",
            ),
            **on("--reason", "baseline"),
        },
    ),
    Option(name="by", help="who approves (default: the user's name)", on=on("--by", "baseline")),
    counted(
        "confirm",
        least=0,
        metavar="N",
        help="most fresh runs of the cells without a verdict",
        on={
            **on(
                "--confirm",
                PYTEST,
                default=MOST_RUNS,
                help="with --baseline: measure cells without a verdict again, in up to N fresh "
                f"processes (default {MOST_RUNS}; 0 does not)",
            ),
            **on(
                "--confirm",
                "gate",
                default=0,
                help="run the run's own command again for cells without a verdict, up to N times",
            ),
        },
    ),
    listed(
        "inconclusive",
        ("skip", "fail"),
        default="skip",
        help="what INCONCLUSIVE is: skip (default) or fail",
        on={
            **on(
                "--inconclusive",
                PYTEST,
                help="INCONCLUSIVE cells are skipped, and the exit code is 2 (skip, the default), "
                "or they fail, and it is 1 (fail)",
            ),
            **on("--inconclusive", "gate", help="exit code of INCONCLUSIVE: skip 2, fail 1"),
        },
    ),
    switch("any_age", "--any-age", "gate", help="judge runs older than 36 hours, or judged before"),
    listed(
        "format",
        ("text", "markdown", "csv", "json"),
        default="text",
        help="text (default), markdown, csv or json",
        on=on("--format", "compare"),
    ),
    Option(name="a", help="command of the reference", on=on("--a", "pair", required=True)),
    Option(name="b", help="command that is judged", on=on("--b", "pair", required=True)),
    counted(
        "pairs",
        least=MIN_PAIRS,
        most=_MOST_PAIRS,
        help="pairs a stage (default 5)",
        default=5,
        metavar="N",
        on={
            **on("--pairs", "pair", default=None),
            **on("--pairs", "bisect", help="pairs a comparison (default 5)"),
            **on("--pairs", "calibrate"),
        },
    ),
    measured(
        "minutes",
        help="instead of --pairs: what both stages may take (default 10 with {rounds})",
        metavar="M",
        on=on("--minutes", "pair"),
    ),
    measured(
        "confidence",
        above=0.5,
        most=_SUREST,
        help="probability of the answer at which it ends (default 0.95)",
        default=0.95,
        metavar="P",
        on=on("--confidence", "bisect"),
    ),
    placed(
        "directory",
        help="keep the runs there",
        metavar="DIR",
        on={
            **on("--directory", "pair", "calibrate"),
            **on("--directory", "bisect", help="keep runs and state there; goes on where it was"),
        },
    ),
    measured(
        "timeout",
        help="seconds for one run",
        metavar="S",
        on={
            **on("--timeout", "pair", "bisect", "calibrate"),
            **on(
                "--timeout",
                *CARDS,
                default=SILENCE_S,
                help="seconds without a sign of life until a card's process counts as lost; more "
                f"than a timed round takes (default {SILENCE_S:g})",
            ),
        },
    ),
    placed(
        "chat",
        help="append the night as a line of JSON, for a chat's hook",
        metavar="FILE",
        on=on("--chat", "night"),
    ),
    # The gate's own error rates
    switch("simulate", "--simulate", "calibrate", help="noise of --noise and --pair-sd"),
    Option(
        name="command",
        metavar="COMMAND",
        on={
            **on("--command", "calibrate", dest="line"),
            **on(
                "--command",
                "bisect",
                dest="line",
                help="of each release, with {release} and {out} in it; without it the arguments "
                "are whole commands",
            ),
        },
        help="noise of this command on this machine: --pairs pairs with itself; {out} as in pair",
    ),
    counted(
        "nights",
        default=1000,
        metavar="N",
        help="to simulate (default 1000)",
        on=on("--nights", "calibrate"),
    ),
    counted(
        "cells",
        most=_MOST_CELLS,
        default=24,
        metavar="N",
        help="of --simulate (default 24)",
        on=on("--cells", "calibrate"),
    ),
    measured(
        "pair_sd",
        most=1.0,
        default=0.007,
        metavar="SD",
        help="of a pair's log ratio (default 0.007)",
        on=on("--pair-sd", "calibrate"),
    ),
    listed(
        "noise",
        ("normal", "t3", "ar1"),
        default="normal",
        help="normal (default), t3 or ar1",
        on=on("--noise", "calibrate"),
    ),
    counted(
        "seed",
        least=0,
        default=0,
        metavar="N",
        help="of --simulate (default 0)",
        on=on("--seed", "calibrate"),
    ),
    # The page
    listed(
        "export",
        ("leaderboard", "trn", "openmetrics"),
        help="in place of the page: the manifests of the Open ASR Leaderboard, sclite's "
        "transcripts, or the metrics of a node exporter",
        on=on("--export", "report"),
    ),
    placed(
        "output",
        metavar="FILE",
        on=on("--output -o", "report"),
        help="the page (default: summary.html beside the run); of an export, its directory "
        "(default: exports/ beside the run)",
    ),
)
