"""A corpus in shards: every process finds the same ones, and what they transcribe is merged."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2v_core.cli import main
from w2v_core.config import BatchPlan, Share, parse_share
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.data.sharding import assign, take
from w2v_core.errors import ConfigError
from w2v_core.fleet.merge import merge_runs
from w2v_core.records.cell import form_cells
from w2v_core.records.store import StoredRun, read_run

LIMIT = 7


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 600_000), min_size=1, max_size=60),
    st.integers(1, 9),
)
def test_every_utterance_is_in_one_shard_and_none_is_overlong(num_samples, of):
    """Dealing to whoever has least exceeds no even deal by more than one utterance."""
    shards = assign(num_samples, of)

    assert sorted(i for shard in shards for i in shard) == sorted(num_samples)
    longest = max(sum(num_samples[i] for i in shard) for shard in shards)
    assert longest <= sum(num_samples.values()) / of + max(num_samples.values())


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 50), max_size=30), st.randoms())
def test_the_order_in_which_utterances_were_found_says_nothing(num_samples, chance):
    items = list(num_samples.items())
    chance.shuffle(items)

    assert assign(dict(items), 3) == assign(num_samples, 3)


@pytest.fixture(scope="module")
def corpus():
    return load(parse_dataset("canary-speech"), limit=LIMIT)


def test_exclusions_go_with_the_first_shard(corpus):
    first, *rest = corpus.utterances
    from w2v_core.types import Exclusion

    excluded = replace(
        corpus,
        utterances=tuple(rest),
        exclusions=(Exclusion(utterance_id=first.utterance_id, reason="too long"),),
    )
    shards = [take(excluded, Share(number=n, of=3)) for n in (1, 2, 3)]

    assert [len(s.exclusions) for s in shards] == [1, 0, 0]
    assert sorted(i for s in shards for i in s.expected) == list(corpus.expected)
    assert all(s.whole == corpus.expected for s in shards)


def test_more_shards_than_utterances_are_refused(corpus):
    with pytest.raises(ConfigError, match=f"{LIMIT + 1} shards .*use at most {LIMIT}"):
        take(corpus, Share(number=1, of=LIMIT + 1))


JOBS = [
    pytest.param({"RANK": "0", "WORLD_SIZE": "4"}, Share(number=1, of=4), id="torchrun"),
    pytest.param({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, Share(number=4, of=4), id="slurm"),
    pytest.param(
        {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "8"},
        Share(number=2, of=8),
        id="Open MPI",
    ),
    pytest.param({"PMI_RANK": "0", "PMI_SIZE": "2"}, Share(number=1, of=2), id="MPICH, Intel MPI"),
    pytest.param(
        {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "7"},
        Share(number=3, of=7),
        id="kubernetes",
    ),
    pytest.param(
        {"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        Share(number=2, of=2),
        id="torchrun-in-slurm",
    ),
]


@pytest.mark.parametrize(("environ", "share"), JOBS)
def test_auto_is_the_process_that_the_job_numbers(environ, share):
    assert parse_share("auto", environ) == share


@pytest.mark.parametrize(
    ("text", "environ", "says"),
    [
        ("auto", {}, "none of RANK/WORLD_SIZE"),
        ("auto", {"RANK": "0"}, "WORLD_SIZE is ''"),
        ("auto", {"JOB_COMPLETION_INDEX": "2"}, "JOB_COMPLETIONS is ''"),
        ("auto", {"RANK": "4", "WORLD_SIZE": "4"}, "below the count"),
        ("auto", {"RANK": "-1", "WORLD_SIZE": "4"}, "RANK is '-1'"),
        ("0/3", {}, "0/3 is no shard"),
        ("4/3", {}, "1/3 to 3/3"),
        ("1/0", {}, "neither auto nor I/N"),
        ("2", {}, "neither auto nor I/N"),
        ("", {}, "neither auto nor I/N"),
    ],
)
def test_what_is_no_shard_is_refused_with_what_was_found(text, environ, says):
    with pytest.raises(ConfigError, match=says):
        parse_share(text, environ)


def measure(share=None):
    from w2v_core.bench.measure import time_rounds
    from w2v_core.session import RunConfig, ValidationRun

    (cell,) = form_cells(
        models=[("canary-base", "canary_base")],
        dtypes=["float32"],
        datasets=[("canary-speech", "canary_speech")],
        graphs=[False],
        forwards=["exact"],
        plan=BatchPlan(num_buckets=2, batch_size=2, at_most=True),
    )
    run = ValidationRun(RunConfig(device="cpu", limit=LIMIT, share=share))
    return run.measure(cell, timer=time_rounds(1))


@pytest.fixture(scope="module")
def whole():
    return measure()


def transcripts(record):
    return [replace(s, latency_s=None) for s in record.scores]


@pytest.mark.parametrize(
    "of", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 5, 6, 7))]
)
def test_merged_shards_are_what_one_process_measures(whole, of):
    """The engine's own records, batches of other neighbours and all."""
    shards = [measure(Share(number=n, of=of)) for n in range(1, of + 1)]
    (record,) = merge_runs([StoredRun(source=r.run_id, records=(r,)) for r in shards])

    assert record.valid, record.invalid_reasons
    assert transcripts(record) == transcripts(whole)
    for name in ("wer", "audio_s", "num_utterances", "reference_words", "golden_wer", "excluded"):
        assert getattr(record, name) == getattr(whole, name), name


def test_the_command_line_measures_a_shard_and_merges_them(tmp_path, capsys, monkeypatch):
    options = [
        "--model",
        "canary-base",
        "--dataset",
        "canary-speech",
        "--limit",
        "4",
        "--device",
        "cpu",
    ]
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main(["run", *options, "--shard", "auto", "--reports-dir", str(tmp_path)]) == 0
    runs = sorted(str(p.parent) for p in tmp_path.glob("dev/*/run.json"))
    capsys.readouterr()

    assert main(["merge", *runs, "--reports-dir", str(tmp_path / "merged")]) == 0

    assert "canary_base-float32-canary_speech" in capsys.readouterr().out
    (page,) = (tmp_path / "merged").glob("dev/*/summary.html")
    (record,) = read_run(page.parent).records
    assert record.num_utterances == 4
    assert record.merged == tuple(
        r.run_id
        for r in sorted(
            (read_run(page.parent.parent.parent.parent / run).records[0] for run in runs),
            key=lambda r: r.shard.number,
        )
    )
    assert main(["merge", runs[0], "--reports-dir", str(tmp_path / "half")]) == 3
    assert "is missing, with 2 utterances" in capsys.readouterr().err
    assert not (tmp_path / "half").exists()


def test_a_shard_is_not_appended_to_a_history(capsys, tmp_path):
    line = ["run", "--model", "canary-base", "--dataset", "canary-speech", "--shard", "1/2"]

    assert main([*line, "--history", str(tmp_path / "history.sqlite")]) == 2
    assert "--history with --shard 1/2" in capsys.readouterr().err
    assert not (tmp_path / "history.sqlite").exists()


def test_merging_imports_no_torch(tmp_path):
    script = "import sys; import w2v_core.fleet.merge; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout.strip().lower()) is False
