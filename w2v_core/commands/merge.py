"""``w2v merge``: the shards of a run to the run of the whole set. No torch here."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from w2v_core.commands import HELP
from w2v_core.commands.options import given
from w2v_core.options.option import declare
from w2v_core.printable import printable


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``merge`` and its flags."""
    parser = commands.add_parser(
        "merge",
        help=HELP["merge"],
        description="Join runs that each measured a shard of one set (w2v run --shard). Edits, "
        "failures and exclusions add up to what one process finds; RTFx is that of all shards side "
        "by side. Shards that are missing, there twice, or measured otherwise are named.",
        epilog="Exit codes: 0 every merged cell is valid, 1 one is not, 2 wrong usage, 3 no whole "
        "set, or the reports cannot be written.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories")
    declare("merge", parser.add_argument)
    parser.set_defaults(handler=merge)


def merge(arguments: argparse.Namespace) -> int:
    """Write the merged run and print it; returns 0 where every cell is valid, else 1.

    Raises:
        RecordError: a run cannot be read, or the runs are not the shards of one set.
        ReportError: the merged run cannot be written.
    """
    from w2v_core.fleet.merge import merge_runs, write_merged
    from w2v_core.records.store import read_run
    from w2v_core.report.tables import matrix, text_table

    reports_dir = given("merge", arguments)["reports_dir"]
    command = shlex.join(["w2v", *sys.argv[1:]])
    records = merge_runs([read_run(path) for path in arguments.runs], command=command)
    directory = write_merged(records, reports_dir=reports_dir)
    sys.stdout.write(f"{text_table(matrix(records))}\n")
    for record in records:
        sys.stderr.writelines(f"note: {printable(note)}\n" for note in record.notes)
        sys.stderr.writelines(f"invalid: {printable(why)}\n" for why in record.invalid_reasons)
    sys.stderr.write(f"reports: {printable(str(directory))}\n")
    return 0 if all(record.valid for record in records) else 1
