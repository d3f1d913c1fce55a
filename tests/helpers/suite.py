"""The suite in a process of its own, as a nightly job runs it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_chapter

ROOT = Path(__file__).resolve().parents[2]


def run_suite(*arguments):
    """Run ``pytest tests/validation`` and return the finished process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "tests/validation", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def tiny_inputs(directory):
    """Write a tiny checkpoint and three utterances; return the options that name them."""
    model = write_checkpoint(directory / "model" / "tiny")
    corpus = directory / "corpus"
    write_chapter(corpus, {f"7-1-000{i}": "A WORD" for i in range(3)})
    return ["--models", model, "--data-path", corpus, "--dtypes", "float32"]
