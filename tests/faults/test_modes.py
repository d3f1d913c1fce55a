"""``--execution both``: two processes, two runs, one comparison."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.bridge import bridge_environment, install_bridge, loads
from tests.helpers.records import make_record
from w2v_core.commands.modes import measure_both
from w2v_core.errors import DeviceError
from w2v_core.records.store import StoredRun, read_run
from w2v_core.report.modes import pair_modes, render_modes_markdown, render_modes_page

OTHER = "large-bfloat16-test_clean-graphs-exact"
ROOT = Path(__file__).resolve().parents[2]
CELL = (
    "--graphs on --models canary-base --dtypes float32 --limit 2 --rounds 1 --buckets 1 "
    "--batch-size 2"
)


@pytest.mark.slow
def test_pytest_measures_both_modes_and_puts_them_side_by_side(tmp_path):
    command = [sys.executable, "-m", "pytest", "tests/validation", "-p", "no:cacheprovider"]
    options = [*CELL.split(), "--simulate-hpu", "-m", "hpu", "--execution", "both"]
    files = ["--reports-dir", tmp_path / "reports", "--benchmark-json", tmp_path / "out.json"]

    done = subprocess.run(
        [*command, *options, *files], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
    runs = [read_run(path.parent) for path in (tmp_path / "reports").glob("dev/*/run.json")]
    assert sorted(run.records[0].environment["execution"] for run in runs) == ["eager", "lazy"]
    assert {name.name for name in tmp_path.glob("*.json")} == {"out.lazy.json", "out.eager.json"}
    assert json.loads((tmp_path / "out.eager.json").read_text())["benchmarks"]
    (page,) = (tmp_path / "reports" / "modes").glob("*.html")
    assert "times lazy" in page.read_text()
    assert "0 transcripts changed" in done.stdout


@pytest.mark.slow
def test_w2v_run_measures_both_modes(tmp_path):
    """Behind a bridge that loads itself, each mode in a process that saw its own environment."""
    bridge, log = tmp_path / "bridge", tmp_path / "loads"
    bridge.mkdir()
    install_bridge(bridge, release="1.21", torch="2.6.0+hpu.1.21.0.555.git4952fce")
    command = [sys.executable, "-m", "w2v_core", "run", "--device", "hpu"]
    options = "--model canary-base --dataset canary-speech --limit 2 --buckets 1 --batch-size 2"

    done = subprocess.run(
        [*command, *options.split(), "--execution", "both", "--reports-dir", tmp_path / "reports"],
        cwd=ROOT,
        env=bridge_environment(bridge, log, STANDIN_CARD="1"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert [seen["PT_HPU_LAZY_MODE"] for seen in loads(log)] == ["1", "0"]
    runs = [read_run(path.parent) for path in (tmp_path / "reports").glob("dev/*/run.json")]
    assert all(run.records[0].graphs for run in runs)
    assert "eager runs at" in done.stdout


def test_both_is_refused_before_anything_runs_where_one_mode_is_impossible(tmp_path):
    def never(execution):
        raise AssertionError(execution)

    with pytest.raises(DeviceError, match="use execution eager"):
        measure_both(never, reports_dir=tmp_path, family="stock")


def test_a_mode_without_a_run_is_named_and_red(tmp_path, capfd):
    status = measure_both(
        lambda _execution: [sys.executable, "-c", ""], reports_dir=tmp_path, family="fork"
    )

    assert status == 1
    assert "no run to compare of lazy, eager" in capfd.readouterr().err


def test_the_status_of_a_mode_that_failed_is_kept(tmp_path):
    status = measure_both(
        lambda execution: [sys.executable, "-c", f"raise SystemExit({execution == 'eager'} * 3)"],
        reports_dir=tmp_path,
        family="fork",
    )

    assert status == 3


def stored(name, **changes):
    return StoredRun(source=name, records=(make_record(**changes),))


def test_changed_transcripts_are_counted_by_utterance():
    lazy = make_record()
    score = lazy.scores[0]
    changed = [type(score)(**{**fields_of(score), "hypothesis": "OTHER"}), *lazy.scores[1:]]
    eager = make_record(scores=tuple(changed))

    (pair,) = pair_modes(
        StoredRun(source="a", records=(lazy,)), StoredRun(source="b", records=(eager,))
    )

    assert pair.changed == (score.utterance_id,)


def fields_of(score):
    return {name: getattr(score, name) for name in score.__dataclass_fields__}


def test_a_cell_of_one_mode_only_is_shown_as_such():
    text = render_modes_markdown(stored("a"), stored("b", cell=OTHER))

    assert "no cell has both" in text
    assert len(re.findall(rf"^\| {OTHER}", text, re.MULTILINE)) == 2


def test_the_page_holds_text_of_others_as_text():
    page = render_modes_page(stored("<b>a</b>"), stored("b"))

    assert "<b>a" not in page
    assert "&lt;b&gt;a" in page
