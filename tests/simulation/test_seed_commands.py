"""The six commands of the vendor's README, as they stand, with the hub over HTTP.

They run on the simulated Gaudi, with both checkpoints and both sets fetched from the stand-in of
the hub; the weights are the canaries'.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import compilers
from tests.helpers.hub import serving
from tests.helpers.hub_content import COMMIT, fill, repeated_rows
from w2v_core.cli import main

ROOT = Path(__file__).resolve().parents[2]
COMMON = ["--buckets", "5", "--use_graphs", "--perf", "-a"]
DEV_CLEAN = ["--dev_clean_ds", "--repeat", "25"]
SIX = [
    ["run", "--dtype", dtype, *COMMON, *rest]
    for dtype in ("bf16", "fp32")
    for rest in ([], ["--large"], DEV_CLEAN)
]

PUBLISHED = {"base": 0.034, "large": 0.019}
TOLERANCES = {"bf16": 0.0015, "fp32": 0.001}
"""Of WER on test-clean. The canaries' weights are not as good, so that one may miss its ceiling."""


def run(commands, home, *, test_count, simulate=True):
    """Run w2v commands, each in a process of its own, on one cache at ``home`` that starts empty.

    A process holds the card until it ends. The hub is the stand-in.
    """
    ended = []
    with serving() as hub:
        fill(hub, test_rows=repeated_rows(test_count), dummy_rows=repeated_rows(73), shards=2)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PT_HPU"))}
        environment |= {**hub.environment(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        for command in commands:
            asked = {"commands": [command], "test_count": test_count, "simulate": simulate}
            done = subprocess.run(
                [sys.executable, "-m", "tests.helpers.simulated_w2v"],
                input=json.dumps(asked),
                env=environment,
                cwd=home,
                capture_output=True,
                text=True,
                timeout=3000,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            ended += json.loads(done.stdout)
    return ended


def check(ended, *, test_count):
    """Each of the six was measured whole, with graphs, and its exit code is about its WER alone."""
    for command, end in zip(SIX, ended, strict=True):
        record = json.loads(end["out"])["record"]
        model = "large" if "--large" in command else "base"
        ceiling = PUBLISHED[model] + TOLERANCES[command[command.index("--dtype") + 1]]
        is_bad = "--dev_clean_ds" not in command and record["wer"] > ceiling
        assert end["code"] == int(is_bad), (command, end["err"])
        assert ("above the ceiling" in end["err"]) == is_bad
        assert record["invalid_reasons"] == [], (command, end["err"])
        assert record["cell"].startswith(f"{model}-")
        assert record["graphs"]
        is_dev = "--dev_clean_ds" in command
        assert record["num_utterances"] == (73 if is_dev else test_count)
        assert len(record["rounds_s"]) == (25 if is_dev else 1)
        assert record["environment"]["dataset_revision"] == COMMIT
        assert record["environment"]["checkpoint_revision"] == COMMIT


def test_one_command_runs_as_it_stands_on_a_simulated_gaudi(tmp_path):
    (end,) = run([SIX[0]], tmp_path, test_count=5)

    assert end["code"] == 0, end["err"]
    assert "real-time factor" in end["out"]
    assert "WER" in end["out"]


@pytest.mark.slow  # 25 rounds of 73 utterances, twice
def test_the_six_commands_run_as_they_stand_on_a_simulated_gaudi(tmp_path):
    ended = run([[*command, "--json"] for command in SIX], tmp_path, test_count=16)

    check(ended, test_count=16)


@pytest.mark.slow  # 25 rounds of 73 utterances, twice
def test_the_six_commands_run_as_they_stand_on_a_laptop(tmp_path):
    """No card is there, so that it is the processor that is measured, with compiled graphs."""
    ended = run([[*command, "--json"] for command in SIX], tmp_path, test_count=16, simulate=False)

    check(ended, test_count=16)
    assert {json.loads(end["out"])["record"]["device"] for end in ended} == {"cpu"}


@pytest.mark.slow  # 2,620 utterances, four times
def test_the_six_commands_run_at_their_full_size(tmp_path):
    ended = run([[*command, "--json"] for command in SIX], tmp_path, test_count=2620)

    check(ended, test_count=2620)


def test_without_graphs_one_line_says_how_to_run_the_same(monkeypatch, capsys):
    asked = [*SIX[3], "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["w2v", *asked])
    compilers.use(monkeypatch, compilers.NONE)

    assert main(asked) == 3

    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert compilers.NONE in told
    assert "w2v run --dtype fp32 --buckets 5 --perf -a --device cpu" in told
