"""The front door: what ``from w2v_core import ...`` gives, and what it does not cost."""

import ast
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import w2v_core

EXPORTED = {
    "Engine",
    "EngineConfig",
    "Hypothesis",
    "Utterance",
    "W2VError",
    "corpus_wer",
    "load_checkpoint",
    "load_corpus",
    "open_backend",
}


def test_the_front_door_is_this_list():
    assert set(w2v_core.__all__) == EXPORTED
    assert set(dir(w2v_core)) >= EXPORTED


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_every_name_is_there_with_a_docstring(name):
    assert getattr(w2v_core, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Engin'"):
        _ = w2v_core.Engin


def test_type_checkers_are_told_the_same_names():
    stub = (files(w2v_core) / "__init__.pyi").read_text()

    assert {line.split()[-1] for line in stub.splitlines() if " as " in line} == EXPORTED
    assert (files(w2v_core) / "py.typed").is_file()


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys; before = {m.partition('.')[0] for m in sys.modules}; import w2v_core; "
        "print(*{m.partition('.')[0] for m in sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) - sys.stdlib_module_names == {"w2v_core"}


def test_help_imports_no_package_that_is_not_pythons_own():
    code = (
        "import sys\nfrom w2v_core.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*{m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "scipy", "pandas", "torch", "tqdm", "jiwer", "transformers"}

    assert not heavy & {*done.stdout.splitlines()[-1].split()}


def test_wer_is_of_the_corpus():
    assert w2v_core.corpus_wer({"a": "ONE TWO", "b": "A B C D E F"}, {"a": "ONE"}) == 7 / 8


def test_interrupting_an_import_is_130_and_one_line(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, "-m", "w2v_core", "doctor"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}:{':'.join(p for p in sys.path if p)}"},
    )

    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "w2v: interrupted\n"


def test_the_lines_of_the_readme_print_two_transcripts(capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(block, {})  # noqa: S102 - our own

    assert len(ast.literal_eval(capsys.readouterr().out)) == 2
