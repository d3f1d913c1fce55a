"""Sessions of the suite on recorded records: everything is real but the measuring.

``python -m tests.helpers.replay FOLDER NAME...`` runs mutants as pytest sessions, one after the
other in one process, and leaves ``NAME.xml`` (JUnit) and ``exit_codes.json`` in the folder.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.mutants import (
    BASELINE_MUTANTS,
    RECORD_MUTANTS,
    Bend,
    Tonight,
    first,
    scaled,
)
from tests.helpers.records import CELLS, START, write_run
from w2v_core.backends.base import GraphSupport
from w2v_core.pytest_plugin import RUN
from w2v_core.verdict.approving import approve_runs

CELL_TESTS, GATE_TESTS = "tests/validation/test_cells.py", "tests/validation/test_gate.py"
LAST_CLAIM = "test_steady_state_throughput"
MATRIX = ("--models", "base", "--datasets", "test-clean", "--graphs", "on")
QUIET = (
    *(
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:rerunfailures",
        "-p",
        "no:randomly",
        "--no-header",
        "--tb=short",
        "--rounds",
        "1",
        *("--confirm", "0"),  # nothing can be measured here
    ),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # the plugin serves many sessions here
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bent session, and what its JUnit file has to say."""

    said: str
    bend: Bend = lambda tonight: tonight.good
    options: tuple[str, ...] = ()
    files: tuple[str, ...] = (CELL_TESTS, GATE_TESTS)
    marks: tuple[pytest.MarkDecorator, ...] = ()
    gate_marks: tuple[pytest.MarkDecorator, ...] = ()
    xdist: bool = False
    spoil: Any = None
    """Called with the path of the baseline."""


SESSION_MUTANTS: dict[str, Mutant] = {
    "skipped": Mutant(said="skipped", marks=(pytest.mark.skip(reason="flaky"),)),
    "skipped-by-an-option": Mutant(said="no record to judge", options=("--benchmark-skip",)),
    "xfailed": Mutant(
        said="xfailed",
        bend=first(valid=False, invalid_reasons=("WER",)),
        marks=(pytest.mark.xfail(strict=False),),
    ),
    "xpassed": Mutant(said="xpassed", marks=(pytest.mark.xfail(strict=False),)),
    "gate-xfailed": Mutant(
        said="slower by more than",
        bend=lambda t: tuple(scaled(r, 1.11) for r in t.good),
        gate_marks=(pytest.mark.xfail(strict=False),),
    ),
    "gate-xfailed-and-not-run": Mutant(
        said="[NOTRUN]",
        gate_marks=(pytest.mark.xfail(run=False),),
    ),
    "deselected": Mutant(said="deselected", options=("-k", "test_gate or float32")),
    "deselected-by-name": Mutant(
        said="deselected", options=("--deselect", f"{CELL_TESTS}::{LAST_CLAIM}[{CELLS[0]}]")
    ),
    "cell-with-its-gate-deselected": Mutant(
        said="were not judged", options=("-k", "float32 or run")
    ),
    "gate-deselected": Mutant(said="were not judged", options=("-k", "test_cell")),
    "gate-file-left-out": Mutant(said="were not judged", files=(CELL_TESTS,)),
    "cell-file-left-out": Mutant(said="no record to judge", files=(GATE_TESTS,)),
    "smaller-matrix": Mutant(said="vanished", options=("--dtypes", "bfloat16")),
    "xdist-on": Mutant(said="xdist was on", xdist=True),
}

MUTANTS: dict[str, Mutant] = {
    **{name: Mutant(bend=bend, said=said) for name, (bend, said) in RECORD_MUTANTS.items()},
    **{name: Mutant(spoil=spoil, said=said) for name, (spoil, said) in BASELINE_MUTANTS.items()},
    **SESSION_MUTANTS,
}

GOOD = "the-good-night"


class Replay:
    """A pytest plugin: where a cell would be measured, its recorded record is handed out."""

    def __init__(self, mutant: Mutant, tonight: Tonight) -> None:
        self._mutant = mutant
        self._good = tonight.good
        self._records = mutant.bend(tonight)

    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> None:
        """Look like a worker of pytest-xdist to the suite's plugin."""
        if self._mutant.xdist:
            early_config.workerinput = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        """Take the device's place; the suite's plugin has been configured before this one."""
        if self._mutant.xdist:
            del config.workerinput  # JUnit is written by xdist's controller
        run = config.stash[RUN]
        run.__dict__.update(
            backend=SimpleNamespace(name="cpu", graph_support=lambda dtype: GraphSupport()),
            environment=dict(self._records[0].environment),
            directory=Path(os.devnull),  # takes no files
            write=lambda _run: None,
            measure=lambda cell, *, timer, **_: self._measured(run.records, str(cell), timer),
        )

    def _measured(self, kept: list[Any], cell: str, timer: Any) -> Any:
        timer(lambda: SimpleNamespace(wall_s=0.0))
        position = CELLS.index(cell)
        given = [r for r in self._records if r.cell == cell]
        if not given and len(self._records) == len(self._good):
            given = [self._records[position]]  # under another name
        kept.extend(given)
        return given[0] if given else self._good[position]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the mutant's marks on the first cell's test."""
        for mark in self._mutant.marks:
            next(i for i in items if i.name == f"{LAST_CLAIM}[{CELLS[0]}]").add_marker(mark)
        for mark in self._mutant.gate_marks:
            for item in (i for i in items if "gate_cell" in getattr(i, "fixturenames", ())):
                item.add_marker(mark)


def run_session(folder: Path, name: str, mutant: Mutant, tonight: Tonight) -> int:
    """Run one session against a baseline of its own; return pytest's exit code."""
    baseline = folder / f"{name}.json"
    baseline.write_bytes((folder / "baseline.json").read_bytes())
    if mutant.spoil is not None:
        mutant.spoil(baseline)
    options = [*QUIET, *MATRIX, *mutant.options, f"--junit-xml={folder / name}.xml"]
    arguments = [*mutant.files, *options, "--baseline", str(baseline)]
    return int(pytest.main(arguments, plugins=[Replay(mutant, tonight)]))


def main(folder: Path, names: Sequence[str]) -> None:
    """Approve a baseline, then run the sessions of these names."""
    # A night that ended by now, as the gate compares with the clock.
    days = (datetime.now(timezone.utc) - timedelta(hours=1) - START).days
    tonight = Tonight(night=days, cells=CELLS[:2])
    runs = [write_run(folder / f"old-{i}", run) for i, run in enumerate(tonight.baseline)]
    approve_runs(runs, folder / "baseline.json", now=tonight.starts)
    known = {GOOD: Mutant(said=""), **MUTANTS}
    codes = {name: run_session(folder, name, known[name], tonight) for name in names}
    (folder / "exit_codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
