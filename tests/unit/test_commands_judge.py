"""w2v gate, baseline, compare, pair, calibrate: exit codes and errors, as documented."""

import argparse
import json
import sys

import pytest

from tests.helpers.records import make_run, write_run
from w2v_core.cli import main
from w2v_core.commands import judge
from w2v_core.records.history import History


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [str(write_run(folder / f"run-{i}", make_run(i, sd=0.002))) for i in range(7)]


@pytest.fixture(scope="module")
def baseline(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "baseline.json"
    assert main(["baseline", "approve", *runs[:6], "--baseline", str(path), "--by", "me"]) == 0
    return str(path)


def slow_run(folder):
    return str(write_run(folder / "slow", make_run(9, sd=0.002, slowdown=0.3)))


def test_a_slow_run_fails_the_gate(baseline, tmp_path, capsys):
    code = main(["gate", slow_run(tmp_path), "--baseline", baseline, "--any-age"])

    assert code == 1
    assert capsys.readouterr().out.startswith("FAIL")


def test_a_night_of_unchanged_transcripts_and_usual_speed_passes(baseline, runs):
    assert main(["gate", runs[6], "--baseline", baseline, "--any-age"]) == 0


def test_an_old_run_is_stale(baseline, runs, capsys):
    assert main(["gate", runs[6], "--baseline", baseline]) == 1
    assert "old" in capsys.readouterr().out


def test_a_run_that_cannot_be_read_is_unusable(baseline, tmp_path):
    assert main(["gate", str(tmp_path / "none"), "--baseline", baseline]) == 3


def test_the_gate_prints_json(baseline, runs, capsys):
    main(["gate", runs[6], "--baseline", baseline, "--any-age", "--json"])

    assert json.loads(capsys.readouterr().out)["verdict"] == "PASS"


def test_too_few_runs_are_no_baseline(runs, tmp_path, capsys):
    code = main(["baseline", "approve", *runs[:4], "--baseline", str(tmp_path / "b.json")])

    assert code == 3
    assert "has 4 runs; a baseline needs at least 5" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "json"])
def test_a_slower_release_is_a_regression(runs, tmp_path, form, capsys):
    folder = tmp_path / "b"
    for i in range(6):
        write_run(folder / str(i), make_run(20 + i, sd=0.002, slowdown=0.3, release="1.25"))
    sides = [str(write_run_set(runs, tmp_path)), str(folder)]

    assert main(["compare", *sides, "--format", form]) == 1
    assert capsys.readouterr().out


def write_run_set(runs, tmp_path):
    folder = tmp_path / "a"
    for i in range(len(runs) - 1):
        write_run(folder / str(i), make_run(i, sd=0.002))
    return folder


def test_one_side_is_nothing_to_compare(runs, capsys):
    assert main(["compare", runs[0]]) == 3
    assert "two or more" in capsys.readouterr().err


def test_a_pair_command_without_its_directory_is_refused(capsys):
    assert main(["pair", "--a", "true", "--b", "true"]) == 3
    assert "{out}" in capsys.readouterr().err


def test_a_pair_command_that_fails_is_unusable(tmp_path, capsys):
    failing = f"{sys.executable} -c 'raise SystemExit(7)' {{out}}"

    assert main(["pair", "--a", failing, "--b", failing, "--directory", str(tmp_path)]) == 3
    assert "7" in capsys.readouterr().err


def test_calibrate_prints_the_gates_error_rates(capsys):
    assert main(["calibrate", "--simulate", "--nights", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert found["family_false_alarm_rate"] <= 0.02
    assert found["power_at_3_percent"] >= 0.9


def test_a_history_calibrates(runs, tmp_path, capsys):
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        for night in range(6):
            history.append(make_run(night, sd=0.002))

    assert main(["calibrate", "--history", str(path), "--nights", "50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"] == 3
    assert main(["calibrate", "--history", str(tmp_path / "none")]) == 3


@pytest.mark.parametrize(
    "command",
    [("pair", "--a", "x {out}", "--b", "y {out}"), ("calibrate", "--command", "x {out}")],
    ids=lambda words: words[0],
)
def test_an_interrupt_says_where_the_runs_are(command, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("w2v_core.verdict.process.subprocess.run", interrupted)
    code = main([*command, "--directory", str(tmp_path)])

    assert code == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"w2v: interrupted; nothing was judged; the runs so far are in {tmp_path}"
    )


def test_the_module_names_its_commands():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    judge.add_parser(commands)
    named = judge.__doc__.split("``")[1].removeprefix("w2v ").split(" | ")

    assert [name.split()[0] for name in named] == list(commands.choices)


@pytest.mark.parametrize("command", ["gate", "baseline", "compare", "pair", "calibrate"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])

    assert stopped.value.code == 0
    assert "usage: w2v" in capsys.readouterr().out
