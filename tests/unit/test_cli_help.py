"""w2v's help and its usage errors: every command, one paragraph, codes that mean what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

from w2v_core import commands
from w2v_core.cli import build_parser, main

COMMANDS = (
    ("run",),
    ("transcribe",),
    ("report",),
    ("doctor",),
    ("gate",),
    ("baseline",),
    ("baseline", "approve"),
    ("baseline", "show"),
    ("baseline", "acknowledge"),
    ("compare",),
    ("pair",),
    ("bisect",),
    ("calibrate",),
    ("night",),
    ("fleet",),
    ("soak",),
    ("load",),
    ("merge",),
    ("completion",),
)
JUDGES = {"gate", "compare", "pair", "bisect", "calibrate"}


def end_of(*arguments):
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    return end.value.code


def test_every_command_is_checked_here():
    (commands,) = [a for a in build_parser()._actions if a.dest == "command"]

    assert set(commands.choices) == {command[0] for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_printed_on_stdout(command, capsys):
    assert end_of(*command, "--help") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: w2v {' '.join(command)}")
    assert printed.err == ""


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != ("baseline",)], ids=" ".join)
def test_help_documents_the_exit_codes(command, capsys):
    end_of(*command, "--help")

    assert "Exit codes: 0" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", [(), *COMMANDS], ids=lambda c: " ".join(c) or "w2v")
def test_help_fits_a_terminal_of_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    end_of(*command, "--help")

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("command", ["run", "transcribe", "report", "doctor"])
def test_each_of_these_speaks_to_machines(command, capsys):
    end_of(command, "--help")

    assert "--json" in capsys.readouterr().out


def test_help_is_not_coloured_where_no_color_is_set(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    end_of("run", "--help")

    assert "\x1b" not in capsys.readouterr().out


def test_version_is_printed(capsys):
    assert end_of("--version") == 0
    assert capsys.readouterr().out.startswith("w2v ")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != ("baseline",)], ids=" ".join)
def test_an_unknown_flag_is_one_paragraph_that_points_to_the_help(command, capsys):
    needed = {"transcribe": ["x"], "report": ["x"], "gate": ["x", "--baseline", "y"]}
    needed |= {"baseline": ["x"], "compare": ["x"], "pair": ["--a", "x", "--b", "y"]}
    needed |= {"calibrate": ["--simulate"], "completion": ["bash"]}
    needed |= {"night": ["--release", "x"], "merge": ["x"]}
    needed |= {"bisect": ["x"], "show": [], "acknowledge": []}
    code = end_of(*command, *needed.get(command[-1], needed.get(command[0], [])), "--no-such-flag")

    printed = capsys.readouterr().err
    assert code == (3 if {*command} & {*JUDGES, "baseline", "night", "fleet"} else 2)
    assert printed.count("\n") == 1
    assert f"w2v {' '.join(command)}: '--no-such-flag' is not an argument of it" in printed
    assert "--help" in printed


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        pytest.param(["run", "--bukets", "3"], "did you mean --buckets?", id="misspelt"),
        pytest.param(["run", "--use-graphs"], "did you mean --use_graphs?", id="hyphen"),
        pytest.param(["run", "--batch", "3"], "did you mean --batch-size?", id="shortened"),
        pytest.param(["run", "--buckets", "x"], "'x' is no whole number", id="no-number"),
        pytest.param(["calibrate", "--simulate", "--nights", "x"], "'x' is no whole", id="others"),
        pytest.param(
            ["pair", "--a", "x", "--b", "y", "--timeout", "x"], "is no number", id="float"
        ),
        pytest.param(["run", "--repeat", "1.5"], "'1.5' is no whole number", id="half"),
        pytest.param(["run", "--dtype"], "expected one argument", id="no-value"),
        pytest.param(["run", "stray"], "'stray' is not an argument", id="stray"),
        pytest.param(["transcribe"], "FILE", id="no-file"),
        pytest.param(["report"], "RUN", id="no-run"),
        pytest.param(["doktor"], "'doktor'", id="command"),
        pytest.param([], "COMMAND", id="nothing"),
    ],
)
def test_wrong_usage_says_what_is_wrong_in_one_paragraph(arguments, part, capsys):
    assert end_of(*arguments) == (3 if {*arguments} & JUDGES else 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert part in printed.err


@pytest.mark.parametrize("command", sorted({*JUDGES, "baseline"}))
def test_wrong_usage_of_a_judge_is_not_its_inconclusive(command, capsys):
    assert end_of(command) == 3


def test_a_module_of_a_command_is_no_program_that_ends_well():
    names = [file.stem for file in Path(commands.__file__).parent.glob("[!_]*.py")]
    program = (sys.executable, "-m")
    running = {
        name: subprocess.Popen(
            [*program, f"{commands.__name__}.{name}", "gate", "no-such-run"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    told = {
        name: (process.communicate()[1], process.returncode) for name, process in running.items()
    }

    assert {code for _, code in told.values()} == {2}
    assert all("use: w2v COMMAND" in said for said, _ in told.values())
