"""MLPerf's own LoadGen drives the engine; its logs are the oracle."""

import json
import os
import re

import pytest

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.engines import make_engine, make_utterance
from tests.helpers.speech import write_chapter, write_clips
from w2v_core.cli import main
from w2v_core.config import BatchPlan

pytest.importorskip("mlperf_loadgen")
from w2v_core.bench.loadgen import Load, ranked, run_load

UTTERANCES = [make_utterance(f"u{i}", 1_600 + 320 * i, seed=i) for i in range(6)]


@pytest.fixture(scope="module")
def engine():
    engine = make_engine(plan=BatchPlan(kind="optimal", num_buckets=2, batch_size=4))
    engine.warm_up([u.num_samples for u in UTTERANCES])
    return engine


SCENARIOS = ["offline", "single-stream", pytest.param("server", marks=pytest.mark.slow)]


def run(engine, folder, *, scenario="offline", mode="performance", **more):
    load = Load(
        **{"scenario": scenario, "mode": mode, "seconds": 0.05, "p99_s": 60.0, "qps": 20.0, **more}
    )
    return run_load(engine, UTTERANCES, load, directory=folder)


P = ("p50", "p90", "p99")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_ends_with_a_log_that_loadgen_calls_valid(engine, tmp_path, scenario):
    result = run(engine, tmp_path, scenario=scenario)

    assert result.is_valid
    assert result.errors == ()
    assert result.summary["Result is"] == "VALID"
    assert result.num_queries >= int(result.summary["min_query_count"])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["offline", "single-stream", "server"])
def test_loadgens_percentiles_are_the_engines_own_within_a_millisecond(tmp_path, scenario):
    """Of canary-base. A server's LoadGen that waits for the one core issues late, and says so; then
    it waits for the interpreter, which it does not say."""
    clips = write_clips(tmp_path, [f"u{n}" for n in range(8)])
    what = ("--model", "canary-base", "--dataset", clips, "--dtype", "float32")
    out = ("--out", str(tmp_path / "out"), "--seconds", "2", "--p99-ms", "60000")

    assert main(["load", *what, *out, "--device", "cpu", "--scenario", scenario]) == 0

    found = json.loads((tmp_path / "out" / "load.json").read_text())
    theirs = {p: int(found["loadgen"][f"{p[1:]}.00 percentile latency (ns)"]) / 1e9 for p in P}
    if scenario == "server":
        theirs = ranked(issued_to_done(tmp_path / "out" / "mlperf_log_trace.json"))
    apart = {p: theirs[p] - found["latency_s"][p] for p in P}
    has_own_core = len(os.sched_getaffinity(0)) > 1 or scenario != "server"
    assert max(map(abs, apart.values())) < (1e-3 if has_own_core else 3e-3)


def issued_to_done(path):
    rows = re.findall(r'"issue_start_ns":(\d+),"complete_ns":(\d+)', path.read_text())
    return [(int(done) - int(issued)) / 1e9 for issued, done in rows]


def test_a_percentile_has_loadgens_rank():
    assert ranked([3.0, 1.0, 2.0]) == {"p50": 2.0, "p90": 3.0, "p99": 3.0}
    assert ranked([float(n) for n in range(100)]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0}


@pytest.mark.slow
def test_the_highest_rate_that_meets_the_bound_is_between_one_that_does_and_one_that_does_not(
    engine, tmp_path
):
    """LoadGen searches, and judges a run at half and one at four times the rate."""
    search = run(engine, tmp_path / "peak", scenario="server", mode="find-peak", p99_s=0.2)

    assert search.is_valid
    assert search.latency_s == {}
    rates = {factor: factor * search.peak_qps for factor in (0.5, 4.0)}
    verdicts = {
        factor: run(engine, tmp_path / str(factor), scenario="server", p99_s=0.2, qps=rate).is_valid
        for factor, rate in rates.items()
    }
    assert verdicts == {0.5: True, 4.0: False}


@pytest.mark.slow
def test_a_search_that_begins_above_the_bound_is_no_result(engine, tmp_path):
    search = run(engine, tmp_path, scenario="server", mode="find-peak", p99_s=0.001)

    assert not search.is_valid
    assert search.peak_qps is None
    assert "Initial lower bound does not satisfy" in search.errors[0]


def test_what_loadgen_does_not_run_is_not_valid(engine, tmp_path):
    """It writes no summary then, and an error into its detailed log."""
    result = run(engine, tmp_path, mode="find-peak")

    assert (result.is_valid, result.num_queries) == (False, 0)
    assert "only supported in Server" in result.errors[0]


def test_a_search_of_another_scenario_is_refused(capsys):
    assert main(["load", "--mode", "find-peak", "--scenario", "offline"]) == 2
    assert "--mode find-peak with --scenario offline" in capsys.readouterr().err


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
