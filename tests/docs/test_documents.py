"""What the documents say exists: commands, options, values, paths, modules, links."""

import argparse
import importlib.metadata
import importlib.util
import re
from itertools import pairwise

import pytest

from tests.docs.documents import (
    DOCUMENTS,
    ROOT,
    RUN_FILES,
    anchors,
    blocks,
    commands,
    links,
    prose,
    read,
    spans,
)
from w2v_core.backends.hpu_environment import EXECUTIONS
from w2v_core.cli import build_parser
from w2v_core.config import DEVICES, FORWARDS, PLAN_KINDS
from w2v_core.data.catalog import parse_dataset
from w2v_core.model.catalog import parse_model
from w2v_core.types import parse_dtype

COMMANDS = [command for document in DOCUMENTS for command in commands(document)]
PROGRAMS = {"w2v", "pytest", "pip", "sh", "docker", "ruff", "mypy", "lint-imports"}
BUILTINS = {"set", "exit"}
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
PATH = re.compile(r"^(?:w2v_core|tests|docs|\.ci)(?:/[\w.-]+)+/?$")
FILE = re.compile(r"^\w[\w.-]*\.(?:py|md|ini|toml|txt|json|jsonl|csv|html|parquet|gz)$")
VARIABLE = re.compile(r"^((?:PT|HABANA)_[A-Z0-9_]+)(?:=\w+)?$")
NIGHT_FILES = {"waivers.json", "out.json", "junit.xml"}
FOREIGN_FILES = {
    *("wav2vec.py", "top_ops.txt", "trace.json.gz", "index.html", "junit.xml"),
    *("fleet.json", "fleet.html", "soak.json", "load.json"),  # of w2v fleet, soak and load
    "processor_config.json",  # of transformers 5
}


def one_of(choices):
    return lambda text: text in choices


def understood(parse):
    def check(text):
        return text.startswith((".", "/", "librispeech:/")) or parse(text) is not None

    return check


VALUES = {
    "--device": one_of(DEVICES),
    "--execution": one_of((*EXECUTIONS, "both")),
    "--forward": one_of(FORWARDS),
    "--batch-plan": one_of(PLAN_KINDS),
    "--graphs": one_of(("on", "off", "both")),
    "--model": understood(parse_model),
    "--dataset": understood(parse_dataset),
    "--dtype": understood(parse_dtype),
}
"""What an option takes; its plural takes a list of it."""


def of_program(*names):
    found = [pytest.param(c, id=str(c)) for c in COMMANDS if c.program in names]
    return pytest.mark.parametrize("command", found)


in_each_document = pytest.mark.parametrize("document", DOCUMENTS)


def subparser(words):
    """Return the parser of a command, with the words that are left; None where there is none."""
    parser, rest = build_parser(), list(words)
    while actions := [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]:
        if not rest or rest[0] not in actions[0].choices:
            break
        parser = actions[0].choices[rest.pop(0)]
    return parser, rest


def options_of(parser):
    """Return all options of a parser and of the commands below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {o for p in action.choices.values() for o in options_of(p)}
    return found


@pytest.fixture(scope="module")
def pytest_parser(pytestconfig):
    return pytestconfig._parser


@in_each_document
def test_every_block_says_what_it_is(document):
    """A block of an unknown language would escape the checks below."""
    assert {block.language for block in blocks(document)} <= {
        "sh",
        "console",
        "python",
        "text",
        "json",
    }


@in_each_document
def test_no_code_span_runs_over_a_line(document):
    """One that does would escape the checks below."""
    assert [number for number, line in prose(document) if line.count("`") % 2] == []


@in_each_document
def test_every_program_is_known(document):
    assert {c.program for c in commands(document)} <= PROGRAMS | BUILTINS


@of_program("w2v")
def test_a_w2v_command_parses(command):
    try:
        build_parser().parse_args(list(command.words[1:]))
    except SystemExit:
        pytest.fail(f"{command} is not understood")


@of_program("pytest")
def test_a_pytest_command_parses(command, pytest_parser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some versions of --benchmark-json open their file
    try:
        parsed = pytest_parser.parse(list(command.words[1:]))
    except pytest.UsageError as error:
        pytest.fail(f"{command}: {error}")
    getattr(parsed.benchmark_json, "close", lambda: None)()
    missing = [place for place in parsed.file_or_dir if not (ROOT / place).exists()]

    assert missing == []


@of_program("pytest")
def test_a_marker_that_is_selected_exists(command, pytestconfig):
    known = {line.partition(":")[0].strip() for line in pytestconfig.getini("markers")}
    words = dict(zip(command.words, command.words[1:], strict=False))

    assert set(re.findall(r"\w+", words.get("-m", ""))) - {"not", "and", "or"} <= known


@of_program("w2v", "pytest")
def test_an_option_takes_the_value_given(command):
    words = [
        part
        for word in command.words
        for part in (word.split("=", 1) if word.startswith("--") else [word])
    ]
    for option, value in pairwise(words):
        if option in VALUES:
            assert VALUES[option](value), f"{command}: {option} {value}"
        elif option.removesuffix("s") in VALUES:
            check = VALUES[option.removesuffix("s")]
            assert all(map(check, value.split(","))), f"{command}: {option} {value}"


@of_program("pip")
def test_a_set_up_names_extras_and_constraints_that_exist(command):
    extras = importlib.metadata.metadata("w2v-core").get_all("Provides-Extra")
    asked = re.findall(r"\.\[([\w,]+)\]", " ".join(command.words))

    assert asked
    assert {extra for group in asked for extra in group.split(",")} <= set(extras)
    constraints = command.words[command.words.index("-c") + 1]
    text = (ROOT / command.document).read_text()
    written = re.search(rf" >{re.escape(constraints)}(\n| &&)", text)  # by a command before
    assert written or (ROOT / constraints).is_file()


@in_each_document
def test_every_option_in_the_text_exists(document, pytest_parser):
    groups = (*pytest_parser._groups, pytest_parser._anonymous)
    known = options_of(build_parser())
    known |= {name for group in groups for option in group.options for name in option.names()}
    unknown = []
    for number, span in spans(document):
        program, _, rest = span.partition(" ")
        allowed = known
        if program == "w2v" and (words := rest.split()):
            parser, left = subparser(words)
            assert left != words or not words[0].islower(), f"{document}:{number}: {span}"
            allowed = options_of(parser)
        elif program == "python":
            continue
        unknown += [f"{number}: {o}" for o in OPTION.findall(span) if o not in allowed]

    assert unknown == []


def named_options(document):
    return {option for _, span in spans(document) for option in OPTION.findall(span)}


def test_every_flag_of_run_stands_beside_those_of_the_vendors_script():
    parser, _ = subparser(["run"])
    flags = set(parser._option_string_actions) - {"-h", "--help"}

    assert named_options("docs/from-wav2vec.md") - {"--baseline"} == flags


def test_the_readme_names_every_option_of_the_suite(pytest_parser):
    (group,) = [group for group in pytest_parser._groups if group.name == "w2v"]
    options = {name for option in group.options for name in option.names()}

    assert len(options) > 20
    assert options <= named_options("README.md")


@in_each_document
def test_every_path_in_the_text_exists(document):
    files = {p.name for p in ROOT.iterdir()} | RUN_FILES | FOREIGN_FILES | NIGHT_FILES
    files |= {p.name for part in ("w2v_core", "tests", "docs") for p in (ROOT / part).rglob("*.*")}
    missing = []
    for number, span in spans(document):
        path = span.replace("NAME.py", "")
        is_missing = PATH.match(path) and not (ROOT / path).exists()
        if is_missing or (FILE.match(span) and span not in files):
            missing.append(f"{number}: {span}")

    assert missing == []


@in_each_document
def test_every_module_in_the_text_exists(document):
    named = re.findall(r"python -m ([\w.]+)", read(document))

    assert [name for name in named if importlib.util.find_spec(name) is None] == []


@in_each_document
def test_every_variable_in_the_text_is_one_that_we_know(document):
    source = "".join(p.read_text() for p in (ROOT / "w2v_core" / "backends").glob("hpu*.py"))
    named = {m.group(1) for _, span in spans(document) if (m := VARIABLE.match(span))}

    assert {name for name in named if name not in source} == set()


@in_each_document
def test_every_link_leads_somewhere(document):
    dead = []
    for number, target in links(document):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        known = anchors(str(file.relative_to(ROOT))) if anchor and file.exists() else {anchor}
        if not file.exists() or anchor not in known:
            dead.append(f"{number}: {target}")

    assert dead == []


def test_ci_runs_the_test_command_of_the_readme():
    """The two legs side by side, behind the installation."""
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    script = [line.strip().replace(" --quiet", "") for line in lines]
    (promised,) = [line for line in read("README.md").splitlines() if "&& pytest &&" in line]
    *installed, first, second = [script.index(part.strip()) for part in promised.split("&&")]

    assert installed == sorted(installed)
    assert max(installed) < min(first, second)


def test_every_document_can_be_reached_from_the_readme():
    reached = {target.partition("#")[0] for _, target in links("README.md")}

    assert {d for d in DOCUMENTS if d.startswith("docs/")} <= reached
