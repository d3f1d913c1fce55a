"""The commands behind w2v, one file each; none of the files is a program."""

import sys

HELP = {
    "run": "transcribe and measure one cell",
    "transcribe": "transcribe audio files",
    "report": "write the HTML page of a run, or its figures for other tools",
    "doctor": "check the machine",
    "gate": "judge runs against a baseline",
    "baseline": "approve runs as the baseline, show it, answer for a drift",
    "compare": "release against release",
    "pair": "run two installations interleaved and judge the pairs",
    "bisect": "which of several installations in a row first has a loss",
    "calibrate": "measure the gate's false-alarm rate and power",
    "night": "the nightly job: doctor, suite, history, verdict",
    "fleet": "measure on many cards, and judge them",
    "soak": "the same cells again and again on all cards",
    "load": "a scenario of MLPerf's LoadGen against the engine",
    "merge": "join the shards of a run",
    "completion": "print a completion script for a shell",
}
"""What ``w2v --help`` says of each, without importing it; in the order of the help."""

MODULES = {name: name for name in HELP} | dict.fromkeys(
    ("gate", "compare", "pair", "calibrate"), "judge"
)
"""The module of each command."""

# While ``python -m`` looks for a module it imports the packages around it, with "-m" as argv[0].
if sys.argv[:1] == ["-m"] and any(f"{__name__}." in word for word in sys.orig_argv):
    sys.stderr.write("a module of w2v_core.commands runs nothing; use: w2v COMMAND ...\n")
    sys.exit(2)  # it would define its functions and exit with 0, which reads as a success
