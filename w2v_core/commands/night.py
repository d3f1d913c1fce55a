"""``w2v night``: the nightly job in one command: doctor, suite, gate, history, report, exit code.

The suite does the measuring and the judging, in a process of its own; what is said here is what its
run left behind. A run that was not made tonight is never shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from w2v_core.commands import HELP
from w2v_core.commands.child import run_session
from w2v_core.commands.options import given
from w2v_core.commands.parser import INPUT_ERROR
from w2v_core.errors import RecordError
from w2v_core.options.option import declare
from w2v_core.printable import printable, shorten

if TYPE_CHECKING:
    from w2v_core.verdict.outcome import GateResult

_SUITE = Path("tests/validation")
_DONE = (0, 1, 2, 3)  # of a session that ran to its end, 3 of one whose baseline cannot be used;
# an interrupted one, or one that broke, leaves no whole run
_TOLD = 400  # characters of an annotation
_FIRST_REASONS = 3


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``night``."""
    parser = commands.add_parser(
        "night",
        help=HELP["night"],
        description="Check the machine, run the suite, append to the history and, with --baseline, "
        "judge. On GitHub Actions the job's page gets the summary, and what is red or open an "
        "annotation.",
        epilog="Exit codes: 0 all passed, 1 something is red, 2 INCONCLUSIVE, 3 not measured: no "
        "device, or the suite did not come to its end.",
    )
    declare("night", parser.add_argument)
    parser.add_argument("pytest", nargs="*", help="further options of pytest, behind --")
    parser.set_defaults(handler=night, usage_error=INPUT_ERROR)


def night(arguments: argparse.Namespace) -> int:
    """Run the night and say what came of it; blocks for all of it.

    Raises:
        RecordError: the run that the suite left cannot be read.
        ReportError: the reports directory cannot be made.
    """
    from w2v_core.records.store import as_report_error

    options = given("night", arguments)
    reports = options["reports_dir"] or Path("reports")
    with as_report_error(reports):
        reports.mkdir(parents=True, exist_ok=True)
    junit = reports / "junit.xml"
    junit.unlink(missing_ok=True)  # yesterday's says nothing of tonight
    me = (sys.executable, "-m", "w2v_core")
    if _call([*me, "doctor", "--device", options["device"]]) != 0:
        return _unmeasured("w2v doctor found no device", options["chat"], options["release"])
    history = options["history"] or reports / "history.sqlite"
    command = [
        *(sys.executable, "-m", "pytest", *_suite()),
        *(["-m", options["device"]] if options["device"] != "auto" else []),
        *("--device", options["device"], "--release", options["release"]),
        *("--rounds", str(options["rounds"]), f"--reports-dir={reports}", f"--history={history}"),
        *([f"--baseline={options['baseline']}"] if options["baseline"] is not None else []),
        *(f"--benchmark-json={reports / 'out.json'}", f"--junit-xml={junit}", *arguments.pytest),
    ]
    status, directory = _run_suite(command)
    if status in _DONE and any(a in ("both", "--execution=both") for a in arguments.pytest):
        return status  # two runs, and a comparison of them in REPORTS/modes/
    if status not in _DONE or directory is None:
        why = f"the suite ended with pytest's status {status} and left no whole run"
        return _unmeasured(why, options["chat"], options["release"])
    return _tell(directory, status, junit=junit, chat=options["chat"], release=options["release"])


def _suite() -> list[str]:
    return [str(_SUITE)] if _SUITE.is_dir() else ["--pyargs", "w2v_core.suite"]


def _call(command: Sequence[str]) -> int:
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode


def _run_suite(command: Sequence[str]) -> tuple[int, Path | None]:
    """Run pytest; returns its status and the directory of the run that it finished."""
    from w2v_core.records.store import is_incomplete

    status, directory = run_session(command)
    return status, None if directory is None or is_incomplete(directory) else directory


def _tell(directory: Path, status: int, *, junit: Path, chat: Path | None, release: str) -> int:
    from w2v_core.verdict.run import load_run

    judged = load_run(directory).verdict
    if judged is None:
        raise RecordError(f"{directory}: the suite left no verdict")
    red = _red_items(junit)
    told = judged.summary() + ("" if judged.baseline is not None else "; against no baseline")
    sys.stdout.write(f"{printable(told)}\n")
    sys.stdout.write(f"run: {printable(str(directory))}\n")
    code = judged.exit_code if judged.verdict == "FAIL" else status  # 2 where it stays INCONCLUSIVE
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        page = (directory / "summary.md").read_text(encoding="utf-8")
        _append(Path(summary), page, what="the job's summary")
    if os.environ.get("GITHUB_ACTIONS") == "true" or summary:
        sys.stdout.writelines(_annotations(judged, red))
    _chat(
        chat,
        release=release,
        code=code,
        verdict="FAIL" if code == 1 else judged.verdict,
        told=told,
        reasons=[f"{name}: {message}" for name, message in red]
        or list(judged.reasons if judged.verdict != "PASS" else ()),
        run=str(directory),
    )
    return code


def _red_items(junit: Path) -> list[tuple[str, str]]:
    """Read the names and messages of JUnit's failures and errors."""
    if not junit.exists():
        return []
    return [
        (case.get("name", ""), " ".join((bad.get("message") or "").split()))
        for case in ET.parse(junit).iter("testcase")
        for bad in (*case.iter("failure"), *case.iter("error"))
    ]


def _annotations(judged: GateResult, red: Sequence[tuple[str, str]]) -> list[str]:
    """Return GitHub's commands: an error a red item, a warning what is open or waived."""
    lines = [_annotation("error", name, message) for name, message in red]
    open_ends = [("run", f.reason) for f in judged.findings if f.verdict == "INCONCLUSIVE"]
    open_ends += [
        (cell.cell, reason)
        for cell in judged.cells
        if cell.verdict == "INCONCLUSIVE"
        for reason in cell.reasons
    ]
    lines += [_annotation("warning", name, reason) for name, reason in open_ends]
    lines += [_annotation("warning", "waived", reason) for reason in judged.waived]
    changes = [f"{c.field} {c.a} -> {c.b}" for c in judged.changes]
    if changes:
        lines.append(_annotation("notice", "changed since the baseline", ", ".join(changes)))
    return lines


def _annotation(level: str, title: str, message: str) -> str:
    escaped = shorten(message, _TOLD)
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        escaped = escaped.replace(character, code)
    plain = printable(title).replace(",", " ").replace("::", " ").replace("%", "%25")
    return f"::{level} title={plain}::{escaped}\n"


def _unmeasured(why: str, chat: Path | None, release: str) -> int:
    sys.stderr.write(f"w2v night: nothing was judged: {why}\n")
    _chat(chat, release=release, code=INPUT_ERROR, verdict="FAIL", told=why, reasons=[], run="")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stdout.write(_annotation("error", "w2v night", why))
    return INPUT_ERROR


def _chat(
    file: Path | None,
    *,
    release: str,
    code: int,
    verdict: str,
    told: str,
    reasons: Sequence[str],
    run: str,
) -> None:
    """Append the night as a line of JSON, with the ``text`` that chat hooks show."""
    if file is None:
        return
    line = {
        "text": shorten(printable(f"w2v {release}: {told}"), 1000),
        "release": release,
        "verdict": verdict,
        "exit_code": code,
        "reasons": [shorten(printable(reason), _TOLD) for reason in reasons[:_FIRST_REASONS]],
        "run": run,
    }
    _append(file, json.dumps(line) + "\n", what="--chat")


def _append(file: Path, text: str, *, what: str) -> None:
    """Append to another program's file; one that takes nothing costs the night nothing."""
    try:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        told = f"{what} {file} cannot be written ({error.strerror}); give another file"
        sys.stderr.write(f"w2v night: {printable(told)}\n")
