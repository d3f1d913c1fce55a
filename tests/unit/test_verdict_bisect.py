"""w2v bisect: the right place, with a probability that is kept, in few comparisons, resumable."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from w2v_core.cli import main
from w2v_core.errors import ConfigError
from w2v_core.verdict.bisect import bisect

ROOT = Path(__file__).resolve().parents[2]


def measured(first_bad, *, loss=0.05, sd=0.0, pairs=5, cells=3, seed=0, asked=None):
    """Return a measure: installations from ``first_bad`` on lose in the first of the cells."""
    rng = np.random.default_rng(seed)

    def measure(place):
        if asked is not None:
            asked.append(place)
        noise = sd * rng.standard_normal((cells, pairs))
        noise[0] += math.log1p(-loss) * (place >= first_bad)
        return {f"cell{i}": list(row) for i, row in enumerate(noise)}

    return measure


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 9, 16, 33])
def test_without_noise_it_is_a_binary_search(count):
    """Every place is found, in at most ceil(log2 N) + 2 comparisons."""
    names = [f"1.{i}" for i in range(count)]
    for first_bad in range(1, count):
        found = bisect(names, measured(first_bad))

        assert (found.place, found.exit_code) == (first_bad, 0)
        assert found.comparisons <= math.ceil(math.log2(count)) + 2
        assert found.loss == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize("sd", [0.01, 0.02])
def test_its_probability_is_kept(sd):
    """Of 150 searches in noise, with -5 % in one cell, at most 5 % that are sure are wrong."""
    names, wrong, sure, made = [str(i) for i in range(12)], 0, 0, []
    for seed in range(150):
        first_bad = 1 + seed % 11
        found = bisect(names, measured(first_bad, sd=sd, seed=seed))
        sure += found.exit_code == 0
        wrong += found.exit_code == 0 and found.place != first_bad
        made.append(found.comparisons)

    assert sure >= 60
    assert wrong <= 0.05 * sure + 2 * math.sqrt(0.05 * 0.95 * sure)
    assert max(made) <= 40


def test_a_last_one_that_is_not_slower_ends_it():
    """Nothing is searched where there is nothing to find."""
    asked = []
    found = bisect(["a", "b", "c", "d"], measured(9, sd=0.01, asked=asked))

    assert (found.exit_code, asked) == (2, [3])
    assert "not shown to be slower" in found.summary()


def test_one_or_twice_the_same_is_nothing_to_search():
    with pytest.raises(ConfigError, match="two or more"):
        bisect(["a"], measured(1))
    with pytest.raises(ConfigError, match="different"):
        bisect(["a", "a"], measured(1))
    with pytest.raises(ConfigError, match="confidence"):
        bisect(["a", "b"], measured(1), confidence=1.0)


RUN = """
import sys, time, pathlib
sys.path.insert(0, {root!r})
from dataclasses import replace
from tests.helpers.records import make_record
from w2v_core.records.store import write_run_json
release, out = sys.argv[1:]
log = pathlib.Path({log!r})
number = len(log.read_text().split()) if log.exists() else 0
with log.open("a") as file:
    file.write(release + chr(10))
slow = float(release) >= 1.5
record = make_record(run=number, rtfx=1000.0 * (0.95 if slow else 1.0) * (1 + 1e-4 * (number % 7)))
write_run_json(pathlib.Path(out), [record])
"""


@pytest.fixture
def command(tmp_path):
    """A stand-in for ``w2v run``, which is slower from release 1.5 on."""
    script = tmp_path / "run.py"
    script.write_text(RUN.format(root=str(ROOT), log=str(tmp_path / "log")))
    return f"{sys.executable} {script} {{release}} {{out}}"


RELEASES = ["1.1", "1.2", "1.3", "1.4", "1.5", "1.6"]


def searched(command, folder, *more):
    words = ["--command", command, "--pairs", "2", "--directory", str(folder), *more]
    return main(["bisect", *RELEASES, *words])


@pytest.mark.slow  # 4 comparisons of 3 pairs of processes
def test_commands_are_bisected_and_an_interrupted_search_goes_on(command, tmp_path, capsys):
    """The release is found; with its state kept nothing is run again, and a lost end is."""
    assert searched(command, tmp_path / "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    ran = (tmp_path / "log").read_text().split()

    assert found["names"][int(np.argmax(found["posterior"]))] == "1.5"
    assert searched(command, tmp_path / "b") == 0
    assert (tmp_path / "log").read_text().split() == ran

    state = json.loads((tmp_path / "b" / "bisect.json").read_text())
    state["comparisons"].pop()
    (tmp_path / "b" / "bisect.json").write_text(json.dumps(state))
    assert searched(command, tmp_path / "b") == 0
    assert len((tmp_path / "log").read_text().split()) == len(ran) + 6
    assert "begins with 1.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["a {out}"], "two or more", id="one"),
        pytest.param(["1", "2", "--command", "run {out}"], "{release}", id="no-release"),
        pytest.param(["true", "false"], "{out}", id="no-out"),
    ],
)
def test_what_cannot_be_searched_is_told(words, said, tmp_path, capsys):
    assert main(["bisect", *words, "--directory", str(tmp_path)]) == 3
    assert said in capsys.readouterr().err


def test_a_directory_of_another_search_is_refused(tmp_path, capsys):
    (tmp_path / "bisect.json").write_text('{"commands": ["x"], "pairs": 5, "comparisons": []}')

    assert main(["bisect", "a {out}", "b {out}", "--directory", str(tmp_path)]) == 3
    assert "of another search; give a --directory" in capsys.readouterr().err
