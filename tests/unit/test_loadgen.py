"""MLPerf's own LoadGen drives the engine; its logs are the oracle."""

import json

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.engines import make_engine, make_utterance
from tests.helpers.speech import write_chapter
from w2v_core.cli import main
from w2v_core.config import BatchPlan

pytest.importorskip("mlperf_loadgen")
from w2v_core.bench.loadgen import Load, run_load

UTTERANCES = [make_utterance(f"u{i}", 1_600 + 320 * i, seed=i) for i in range(6)]


@pytest.fixture(scope="module")
def engine():
    engine = make_engine(plan=BatchPlan(kind="optimal", num_buckets=2, batch_size=4))
    engine.warm_up([u.num_samples for u in UTTERANCES])
    return engine


def run(engine, folder, *, scenario="offline", mode="performance"):
    load = Load(scenario=scenario, mode=mode, seconds=0.05, p99_s=60.0, qps=20.0)
    return run_load(engine, UTTERANCES, load, directory=folder)


@pytest.mark.parametrize(
    "scenario", ["offline", "single-stream", pytest.param("server", marks=pytest.mark.slow)]
)
def test_a_scenario_ends_with_a_log_that_loadgen_calls_valid(engine, tmp_path, scenario):
    result = run(engine, tmp_path, scenario=scenario)

    assert result.is_valid
    assert result.summary["Result is"] == "VALID"
    assert result.num_queries >= int(result.summary["min_query_count"])


def test_the_accuracy_log_has_the_transcripts_of_a_pass(engine, tmp_path):
    assert run(engine, tmp_path, mode="accuracy").transcripts == engine.transcribe(UTTERANCES).texts


def test_a_query_without_a_transcript_makes_the_run_invalid_and_is_named(
    engine, tmp_path, monkeypatch
):
    def breaks(*_, **__):
        raise RuntimeError("synStatus 26")

    monkeypatch.setattr(engine.runner, "launch", breaks)

    result = run(engine, tmp_path, mode="accuracy")

    assert not result.is_valid
    assert len(result.failures) == len(UTTERANCES)
    assert "synStatus 26" in result.failures[0]


def test_the_command_leaves_loadgens_logs_and_says_that_it_is_no_mlperf_result(tmp_path, capsys):
    model = write_checkpoint(tmp_path / "tiny")
    write_chapter(tmp_path / "corpus", {f"7-1-000{i}": "A WORD" for i in range(3)})
    corpus = f"librispeech:{tmp_path / 'corpus'}"
    out = tmp_path / "out"
    what = ["--model", str(model), "--dataset", corpus, "--mode", "accuracy", "--out", str(out)]

    assert main(["load", *what]) == 0

    assert "LoadGen scenario, not an MLPerf result" in capsys.readouterr().out
    assert json.loads((out / "load.json").read_text())["wer"] is not None
    assert (out / "mlperf_log_detail.txt").stat().st_size > 0
