"""One table of options: both front ends declare from it, and messages name flags that exist."""

import argparse
import ast
import re
from pathlib import Path

import pytest

import w2v_core
from w2v_core.backends import cpu
from w2v_core.backends.compiled import capture_failed
from w2v_core.backends.cpu import CpuBackend
from w2v_core.cli import build_parser
from w2v_core.commands import HELP, MODULES
from w2v_core.config import BatchPlan, EngineConfig
from w2v_core.errors import ConfigError, GraphError, W2VError
from w2v_core.options.fleet import FLEET
from w2v_core.options.judging import JUDGING
from w2v_core.options.load import LOAD
from w2v_core.options.measuring import MEASURING
from w2v_core.options.option import PYTEST, Given, flagged, name_flags, options_of

ROOT = Path(w2v_core.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*\w")
PLACE = re.compile(r"\{(?:flag|use):(\w+)")
FOREIGN = {
    "backends/hpu_environment.py": {"--use-template", "--hw-trace"},  # hl-prof-config
    "backends/hpu_probe.py": {"--runtime"},  # docker run
    "bench/aftermath.py": {"--dmesg", "--no-pager"},  # journalctl
    "commands/health.py": {"--cpuset-cpus", "--cpus"},  # docker run
    "commands/modes.py": set(),
    "fleet/cards.py": {"--query-gpu", "--format"},  # nvidia-smi
    "pytest_benchmarks.py": {"--forked", "--memray", "--cov"},  # plugins of these names
    "pytest_outputs.py": {"--html"},  # pytest-html, where it is installed
    "pytest_cards.py": {"--html"},
    "data/hub.py": {"--repo-type", "--revision", "--include"},  # hf download
    "model/checkpoint_hub.py": {"--revision"},  # hf download
    "verdict/confirm.py": {"--reports-dir", "--junit-xml", "--benchmark-json"},  # runs either
    "records/fingerprint.py": {"--short", "--porcelain", "--untracked-files"},  # git
}
"""Flags of other programs, by the module that runs or names them."""
UPPER = {
    "cli.py": (*HELP, PYTEST),  # --version stands beside the commands
    "commands/__init__.py": tuple(HELP),
    "commands/modes.py": ("run", PYTEST),
    "commands/parser.py": tuple(HELP),
    **{
        f"commands/{module}.py": tuple(n for n, m in MODULES.items() if m == module)
        for module in set(MODULES.values())
    },
    **{p.name: (PYTEST,) for p in ROOT.glob("pytest_*.py")},
    "suite/test_gate.py": (PYTEST,),
    "commands/night.py": ("night", PYTEST),  # hands the rest of its line to pytest
}
"""The front ends that print what a module says; rooms that are not here print nowhere."""
STRAY = {"--help", "--version", "--pyargs", "--ignore", "--junit-xml", "--simulate-hpu"}


def front_ends():
    """Return the flags of every front end that its parser takes."""
    known = {}
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                known[name] = set(parser._option_string_actions)
                for inner in parser._actions:
                    if isinstance(inner, argparse._SubParsersAction):
                        for p in inner.choices.values():
                            known[name] |= set(p._option_string_actions)
    return known


@pytest.fixture(scope="module")
def known(pytestconfig):
    parser = pytestconfig._parser
    groups = (*parser._groups, parser._anonymous)
    of_pytest = {name for group in groups for option in group.options for name in option.names()}
    return {**front_ends(), PYTEST: of_pytest | STRAY}


def texts(source):
    """Yield the strings of a module that are no docstrings, each f-string as one."""
    tree = ast.parse(source)
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield "".join(str(getattr(part, "value", "X")) for part in node.values if part)
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in skipped:
            yield node.value


def wrong(text, *, module, known):
    """Return the flags and commands of a text that the front end it is for does not take."""
    found = []
    for clause in re.split(r"[;.,)]\s|[()\n|]", text):
        takes = set().union(*(known[f] for f in UPPER.get(module, ())), FOREIGN.get(module, ()))
        words = clause.split()
        for i, word in enumerate(w.strip("`'\"") for w in words):
            after = words[i + 1].strip("`'\".,:") if i + 1 < len(words) else ""
            if word == "w2v" and re.fullmatch("[a-z]+", after):
                if after not in HELP:
                    found.append(f"w2v {after}")
                takes = known.get(after, set())
            elif word == PYTEST:
                takes = known[PYTEST]
            flags = [flag for flag in FLAG.findall(word) if flag != "--benchmark"]  # and a name
            found += [flag for flag in flags if flag not in takes]
    return found


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if not name.startswith("options/"):
            yield name, path.read_text()


def test_every_flag_and_command_of_a_message_is_taken_where_it_is_printed(known):
    """A room that prints nowhere names no flag, but in a whole command."""
    bad = {
        name: found
        for name, source in modules()
        for text in texts(source)
        if (found := wrong(text, module=name, known=known))
    }

    assert bad == {}


def test_every_command_of_a_page_is_taken(known):
    bad = [
        (path.name, found)
        for path in ROOT.rglob("*.j2")
        for line in path.read_text().splitlines()
        if "w2v " in line or "pytest " in line
        if (found := wrong(line, module="page", known=known))
    ]

    assert bad == []


@pytest.mark.parametrize(
    "text",
    ["use --dtypes float32", "see w2v gates", "w2v run --graphs off", "pytest --use_graphs"],
)
def test_a_flag_that_nobody_takes_would_be_found(text, known):
    assert wrong(text, module="backends/cuda.py", known=known)


def test_every_place_of_a_message_is_an_option_or_a_field():
    names = {option.name for option in (*MEASURING, *JUDGING, *FLEET, *LOAD)}
    names |= set(EngineConfig.__dataclass_fields__) | {"num_slots", "decode_workers"}
    unknown = {
        place
        for _, source in modules()
        for text in texts(source)
        for place in PLACE.findall(text)
        if place not in names | {"X", "name", "option"}
    }

    assert unknown - {"FIELD"} == set()


def test_no_option_stands_in_the_table_twice():
    names = [option.name for option in (*MEASURING, *JUDGING, *FLEET, *LOAD)]

    assert len(names) == len(set(names))


def test_both_front_ends_have_no_option_but_those_of_the_table(known, pytestconfig):
    (group,) = [g for g in pytestconfig._parser._groups if g.name == "w2v"]
    of_pytest = {n for option in group.options for n in option.names()}
    takes = {**{name: known[name] for name in HELP}, PYTEST: of_pytest}
    for front_end, flags in takes.items():
        table = {n for o in options_of(front_end).values() for n in o.on[front_end].names}
        extra = flags - table - {"-h", "--help"}
        assert extra == (set() if front_end != PYTEST else extra & {"--simulate-hpu"}), front_end


def refused(raise_it):
    with pytest.raises(W2VError) as error:
        raise_it()
    return error.value


def failed_capture():
    import torch

    raise GraphError(capture_failed(torch.zeros(1, 1), ValueError("it syncs")))


def capture_without_compiler():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "host_compiler", lambda dtype: "there is no compiler")
        CpuBackend().capture(None, None, None)


D6 = [
    pytest.param(failed_capture, "run", "leave --use_graphs out", id="capture-run"),
    pytest.param(failed_capture, PYTEST, "use --graphs off", id="capture-pytest"),
    pytest.param(capture_without_compiler, "run", "leave --use_graphs out", id="cpu"),
    pytest.param(
        lambda: EngineConfig(autocast=True), PYTEST, "use --dtypes bfloat16", id="autocast"
    ),
    pytest.param(lambda: BatchPlan(batch_size=0), "transcribe", "--batch-size is 0", id="rows"),
    pytest.param(lambda: BatchPlan(num_buckets=0), "run", "--buckets is 0", id="buckets"),
]


@pytest.mark.parametrize(("raise_it", "front_end", "words"), D6)
def test_a_lower_rooms_error_names_the_flag_of_the_front_end_that_asked(raise_it, front_end, words):
    """Once ``w2v run`` was told to use ``--dtypes`` and ``--graphs off``, which it lacks."""
    error = flagged(refused(raise_it), front_end)

    assert words in str(error)
    assert all(flag in _flags(front_end) for flag in FLAG.findall(str(error)))


def _flags(front_end):
    return {n for o in options_of(front_end).values() for n in o.on[front_end].names}


def test_from_python_an_error_names_the_field():
    error = refused(lambda: BatchPlan(batch_size=0))

    assert str(error) == "batch_size is 0; it must be at least 1"
    assert (error.field, error.value) == ("batch_size", 0)


def test_an_option_that_a_front_end_lacks_keeps_its_name():
    assert name_flags("{use:graphs off}", "transcribe") == "use graphs off"
    assert name_flags("a brace {out} stays", "run") == "a brace {out} stays"


def test_an_option_is_parsed_once():
    asked = []

    def get(name):
        asked.append(name)
        return "auto"

    given = Given("run", get)

    assert (given["device"], given["device"], asked) == ("auto", "auto", ["device"])


def test_a_list_is_told_which_of_its_values_is_wrong():
    given = Given(PYTEST, {"forwards": "exact, exat"}.__getitem__)

    with pytest.raises(ConfigError, match="'exat'"):
        _ = given["forward"]
