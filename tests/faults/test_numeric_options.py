"""Every option that is a number, of both front ends: a value beyond its limits is told at once."""

import pytest

from tests.helpers.suite import run_sessions
from w2v_core.cli import main
from w2v_core.commands import HELP
from w2v_core.config import parse_share
from w2v_core.errors import ConfigError
from w2v_core.fleet.cards import parse_count_of
from w2v_core.options.option import PYTEST, options_of

TAKES_ZERO = {"confirm", "seed", "multi_thread", "graph_async"}
TAKES_HALF = {"event_timeout", "minutes", "confidence", "timeout", "pair_sd", "hours"}
TAKES_HALF |= {"seconds", "p99_ms", "qps"}
BAD = {
    "nan": "nan",
    "inf": "inf",
    "minus-inf": "-inf",
    "negative": "-1",
    "beyond-floats": "1e400",
    "beyond-what-waits-hold": "1e200",
    "beyond-64-bits": "99999999999999999999",
    "beyond-what-int-reads": "9" * 5000,
    "empty": "",
    "blank": " ",
    "underscores": "1_000",
    "fullwidth": "\uff11\uff12",
    "arabic": "\u0663",
    "hexadecimal": "0x10",
    "unit": "5s",
    "decimal-comma": "0,5",
    "escape": "1\x1b[2J",
    "zero": "0",
    "half": "2.5",
}
NEEDED = {
    "transcribe": ["no-such.flac"],
    "gate": ["no-such-run", "--baseline", "no-such"],
    "pair": ["--a", "false", "--b", "false"],
    "bisect": ["a", "b"],
    "calibrate": ["--simulate"],
    "night": ["--release", "x"],
    "run": ["--model", "no-such"],
    "fleet": ["--models", "no-such"],
    "soak": ["--models", "no-such"],
    "load": ["--model", "no-such"],
}
"""What each command needs beside the option; none of it is there, and that is told later."""


def numbers_of(front_end):
    """Yield the names and flags of a front end's options that are numbers."""
    for option in options_of(front_end).values():
        if option.type is not None:
            yield option.name, option.on[front_end].shown


def cases(front_end):
    """Yield each number of a front end with each value that it does not take."""
    for name, flag in numbers_of(front_end):
        for kind, value in BAD.items():
            takes = {"zero": TAKES_ZERO, "half": TAKES_HALF}.get(kind, set())
            if name not in takes:
                yield flag, kind, value


def sampled(front_ends):
    """Parametrise over all cases; but every tenth is slow."""
    whole = [(f, *case) for f in front_ends for case in cases(f)]
    return [
        pytest.param(*case, id="-".join(case[:3]), marks=() if i % 10 == 0 else pytest.mark.slow)
        for i, case in enumerate(whole)
    ]


def is_told(said, *, flag, value, kind):
    """Whether one short line names the option, and the value, or that there is none."""
    shown = {
        "escape": ["1\\x1b[2J"],
        "beyond-what-waits-hold": [value, "1e+200"],
        "beyond-64-bits": [value, "1e+20"],
    }.get(kind, [value[:20]])
    return (
        flag in said and any(s in said for s in shown) and "\x1b" not in said and len(said) < 1000
    )


@pytest.mark.parametrize(("command", "flag", "kind", "value"), sampled(HELP))
def test_w2v_tells_a_number_that_cannot_be_meant_before_anything_else(
    command, flag, kind, value, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([command, *NEEDED[command], f"{flag}={value}"])
    except SystemExit as end:
        code = end.code

    printed = capsys.readouterr()
    judges = {"gate", "pair", "calibrate", "bisect", "night", "fleet"}
    assert code == (3 if command in judges else 2), printed.err
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert is_told(printed.err, flag=flag, value=value, kind=kind)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def answers(request):
    """What collecting the suite answers to the values of the tests that were selected."""
    asked = {
        (item.callspec.params["flag"], item.callspec.params["value"])
        for item in request.session.items
        if getattr(item, "originalname", "") == test_pytest_tells_it_before_anything_else.__name__
    }
    return run_sessions({f"{f}={v}": ["--co", "-q", f"{f}={v}"] for f, v in sorted(asked)})


@pytest.mark.parametrize(("front_end", "flag", "kind", "value"), sampled([PYTEST]))
def test_pytest_tells_it_before_anything_else(front_end, flag, kind, value, answers):
    code, said = answers[f"{flag}={value}"]

    (line,) = [one for one in said.splitlines() if "ERROR: -" in one or "error: a" in one]
    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert is_told(line, flag=flag, value=value, kind=kind)
    assert "Traceback" not in said


@pytest.mark.parametrize("digits", ["\uff12", "\u0662", "9" * 5000, "1_0", "-1", "", "1e1"])
@pytest.mark.parametrize(("name", "parse"), [("shard", parse_share), ("cards", parse_count_of)])
def test_a_number_within_a_text_is_digits_too(name, parse, digits):
    given = f"{digits}/{digits}" if name == "shard" else digits
    with pytest.raises(ConfigError, match=f"{name} .*neither") as told:
        parse(given)
    assert len(str(told.value)) < 1000


def test_every_option_that_argparse_reads_as_a_number_has_limits():
    """One that is declared with a bare int or float takes nan, 1_000 and other scripts' digits."""
    bare = {
        (front_end, option.name)
        for front_end in (*HELP, PYTEST)
        for option in options_of(front_end).values()
        if option.type in (int, float)
    }

    assert bare == set()
