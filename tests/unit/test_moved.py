"""Scripts written for d110d4f go on working: its modules import, their names resolve."""

import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from w2v_core._moved import MODULES, RENAMED

ROOT = Path(__file__).resolve().parents[2]
OLD = json.loads((ROOT / "tests/data/d110d4f/modules.json").read_text())
"""Every module of d110d4f, and the names in its ``__all__`` (or its public ones)."""
GONE = {
    "w2v_core.commands.options": {"require_text"},  # the table's own parser of text
    "w2v_core.config": {"parse_plan"},  # form_plan() takes a kind that is parsed
    "w2v_core.pytest_gate": {"add_gate_options", "rebase"},  # one table, one rule of approval
    # Limits belong to a device: limit_of(). GoldenCheck takes the logits of the scored pass.
    "w2v_core.bench.parity": {"LIMITS", "check_goldens"},
    "w2v_core.data.catalog": {"stream"},  # nothing ran a corpus that way
    "w2v_core.data.audio": {"duration_s"},  # headers are not believed
    "w2v_core.engine.pipeline": {"PipelineResult"},
    "w2v_core.model.loading": {"FILES"},
    "w2v_core.scoring.goldens": {"load_goldens"},  # load_golden_set().goldens
    "w2v_core.types": {"StageTimes"},
    "w2v_core.validation": {"judge_threshold"},  # a WER over its ceiling leaves a record valid
    # Builders of markup, which are templates now:
    "w2v_core.report.accuracy_sections": {"padding", "wer", "worst_utterances"},
    "w2v_core.report.evidence": {"vanished", "ranked"},  # absent(); standings(), ranked as well
    "w2v_core.report.heat": {"status_cell"},
    "w2v_core.report.markdown": {"render"},
    "w2v_core.report.overview": {"header"},
    "w2v_core.report.page": {
        *("Cell", "chart", "document", "lines", "missing", "navigation", "note", "section"),
        *("subsection", "table"),
    },
    "w2v_core.report.plots": {"bars", "can_draw", "points"},
    "w2v_core.report.speed_sections": {"MOST_ROWS", "NO_CHARTS", "drawn_of", "trend"},
    "w2v_core.report.stage_sections": {"batching", "stages"},
    "w2v_core.report.style": {"STYLE"},
    "w2v_core.report.trend": {"History"},  # a class has that name
    "w2v_core.report.tables": {"COLUMNS", "row"},
    "w2v_core.report.verdict_sections": {"command", "doubts", "worst_cells"},
    "w2v_core.verdict.comparison_text": {"MARKDOWN_LIMIT"},
    # One night decides itself, by a sequential rule over its runs:
    "w2v_core.verdict.decision": {"decide_runs"},
    "w2v_core.verdict.history_table": {"pack"},  # transcripts are shared among records
    "w2v_core.verdict.statistics": {"two_sample_effects"},
}
MAKERS = {f"w2v_core.{old}": home for old, home in MODULES.items() if home.startswith("tests.")}


@pytest.mark.parametrize("module", sorted(OLD.keys() - MAKERS.keys()))
def test_a_module_imports_and_holds_its_names_but_those_that_are_gone_for_a_reason(module):
    imported = importlib.import_module(module)

    assert {n for n in OLD[module] if not hasattr(imported, n)} == GONE.get(module, set())


@pytest.mark.parametrize("module", sorted(MAKERS))
def test_a_maker_of_the_canary_imports_and_is_in_the_checkout(module):
    importlib.import_module(module)

    assert (ROOT / f"{MAKERS[module].replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("old", sorted(MODULES))
def test_a_stand_in_hides_no_module(old):
    place = ROOT / "w2v_core" / old.replace(".", "/")

    assert not place.with_suffix(".py").exists()
    assert not place.exists()


@pytest.mark.parametrize("name", sorted(RENAMED))
def test_a_renamed_name_is_what_it_was(name):
    old, _, attribute = name.rpartition(".")

    found = getattr(importlib.import_module(f"w2v_core.{old}"), attribute)
    assert found.__name__ == RENAMED[name]


def test_a_name_that_never_was_is_refused_with_where_the_module_is():
    with pytest.raises(AttributeError, match="it is session now"):
        getattr(importlib.import_module("w2v_core.validation"), "nothing")  # noqa: B009


def test_a_module_that_never_was_is_not_found():
    assert find_spec("w2v_core.verdict.readings") is None


def test_importing_all_of_them_imports_neither_torch_nor_what_stands_behind_them():
    script = (
        "import importlib, sys, warnings; warnings.simplefilter('error'); import w2v_core\n"
        f"for old in {sorted(MODULES)}: importlib.import_module('w2v_core.' + old)\n"
        "sys.exit('torch' in sys.modules or 'w2v_core.session' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
