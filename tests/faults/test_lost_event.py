"""A simulated Gaudi that loses an event: the process ends by itself, and says what it lost."""

import os
import re
import subprocess
import sys

import pytest

from tests.helpers.suite import ROOT, run_suite, tiny_inputs
from w2v_core.records.store import read_run

TIMEOUT_S = 0.5
OPTIONS = ["--buckets", "1", "--batch-size", "1", "--event-timeout", TIMEOUT_S]
LOST = re.compile(r"the event of slot 1 \(copy lane 1, run \d+, .*has not passed within ([\d.]+) s")


def check(reports, shown):
    """The wait was no longer than asked, and what was left is kept beside an invalid record."""
    found = LOST.search(shown)
    assert found, shown
    (directory,) = [path.parent for path in reports.glob("dev/*/run.json")]
    record = read_run(directory).records[0]
    longest_s = max(float(n) for n in re.findall(r"x (\d+) samples", found[0])) / 16_000
    assert float(found[1]) == pytest.approx(TIMEOUT_S + longest_s, abs=0.01)
    assert not record.valid
    assert record.rounds_s == ()
    assert LOST.search((directory / "device-lost" / "device-lost.txt").read_text())


def test_pytest_ends_with_the_lost_batch_named(tmp_path):
    done = run_suite(
        *["-p", "tests.helpers.lost_event", "-m", "hpu", "--simulate-hpu", *tiny_inputs(tmp_path)],
        *["--reports-dir", tmp_path / "reports", "--rounds", 1, "--graphs", "both", *OPTIONS],
    )

    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "0 of 2 cells valid" in done.stdout
    assert "not measured, as an earlier cell lost the device" in done.stdout
    check(tmp_path / "reports", done.stdout)


@pytest.mark.slow
def test_w2v_run_ends_with_the_lost_batch_named(tmp_path):
    command = [sys.executable, "-m", "tests.helpers.lost_event", "run", "--device", "hpu"]
    _, model, _, corpus, *_ = tiny_inputs(tmp_path)
    options = ["--model", model, "--data-path", corpus, "--reports-dir", tmp_path / "reports"]

    done = subprocess.run(
        list(map(str, [*command, *options, *OPTIONS])),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert "of 0" in done.stdout  # no round, so no figure
    check(tmp_path / "reports", done.stderr)
