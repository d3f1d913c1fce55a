"""Modules that have moved, under the names that they had, for scripts of earlier versions.

A module of the table is a stand-in that looks a name up where it is now, when it is asked for;
importing it imports nothing else. A name that is gone altogether is an ImportError, as ever.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

ROOT = __name__.rpartition(".")[0]
_MAKERS = "tests.canary"  # of the canary and its corpus: in a checkout only

MODULES: dict[str, str] = {
    "bench.cells": "records.cell",
    "bench.environment": "records.fingerprint",
    "bench.record": "records.record",
    "commands.verdicts": "commands.judge",
    "data.canary_speech.espeak": f"{_MAKERS}.espeak",
    "data.canary_speech.grammar": f"{_MAKERS}.grammar",
    "data.canary_speech.synthesise": f"{_MAKERS}.synthesise",
    "model.blocks": "model.front_end model.encoder",
    "model.canary.architecture": f"{_MAKERS}.architecture",
    "model.canary.batches": f"{_MAKERS}.batches",
    "model.canary.evaluate": f"{_MAKERS}.evaluate",
    "model.canary.export": f"{_MAKERS}.export",
    "model.canary.faults": f"{_MAKERS}.faults",
    "model.canary.goldens": f"{_MAKERS}.goldens",
    "model.canary.planted": f"{_MAKERS}.planted",
    "model.canary.train": f"{_MAKERS}.train",
    "model.loading": "model.checkpoint model.checkpoint_files data.hub",
    "model.stock": "model.forward",
    "report.accuracy": "report.views.accuracy scoring.wer",
    "report.accuracy_sections": "report.views.accuracy",
    "report.evidence": "report.views.ranking",
    "report.heat": "report.views.matrix",
    "report.html": "report.page",
    "report.overview": "report.views.verdict",
    "report.plots": "report.charts",
    "report.run_directory": "report.files records.store",
    "report.speed_sections": "report.views.speed",
    "report.stage_sections": "report.views.stages",
    "report.style": "report.page",
    "report.trend": "report.views.trend",
    "report.verdict_sections": "report.views.verdict",
    "validation": "session",
    "verdict.compare": "verdict.relative",
    "verdict.comparison": "verdict.relative_outcome",
    "verdict.comparison_text": "report.comparison",
    "verdict.decision": "verdict.decide",
    "verdict.fingerprint": "records.fingerprint records.fields",
    "verdict.gate": "verdict.judge verdict.wer",
    "verdict.history": "records.history",
    "verdict.history_table": "records.history_table",
    "verdict.integrity": "verdict.fitness verdict.soundness",
    "verdict.reading": "records.store",
    "verdict.sides": "verdict.commands",
    "verdict.stratified": "verdict.statistics",
    "verdict.thresholds": "verdict.ceilings",
}
"""Where the names of a module that is gone are to be found, below w2v_core (the makers beside)."""

RENAMED: dict[str, str] = {
    "backends.hpu_probe.Finding": "Probe",
    "bench.environment.fingerprint": "collect",
    "scoring.goldens.Comparison": "GoldenDifference",
    "verdict.fingerprint.fingerprint_key": "key",
    "verdict.gate.rank_findings": "ranked",
    "verdict.reading.Run": "StoredRun",
    "verdict.reading.parse_record": "from_json",
}
"""Names that have another one now."""


def names_of(old: str, homes: Sequence[str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` (PEP 562) that finds a module's names in the modules given."""

    def find(name: str) -> object:
        if not name.startswith("__"):
            wanted = RENAMED.get(f"{old}.{name}", name)
            for home in homes:
                module = importlib.import_module(
                    home if home.startswith("tests.") else f"{ROOT}.{home}"
                )
                if wanted in vars(module) or (home != old and hasattr(module, wanted)):
                    return getattr(module, wanted)
        message = f"module {ROOT}.{old} has no attribute {name!r}; it is {' and '.join(homes)} now"
        raise AttributeError(message)

    return find


class _Finder:
    """Finds and loads what no other finder does: it is asked last.

    By shape alone, since ``importlib.abc`` brings the archivers of ``importlib.resources`` along.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        old = fullname.removeprefix(f"{ROOT}.")
        if old == fullname or old not in MODULES:
            return None
        return ModuleSpec(fullname, cast("Loader", self))

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave making the module to the import system."""
        del spec

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.removeprefix(f"{ROOT}.")
        vars(module)["__getattr__"] = names_of(old, MODULES[old].split())


def install() -> None:
    """Let the old names be imported, once a process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
