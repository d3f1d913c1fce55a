"""w2v completion: scripts that the shells take, with commands, flags, choices and files."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from w2v_core.backends.hpu_environment import EXECUTIONS
from w2v_core.cli import main
from w2v_core.config import DEVICES, FORWARDS, PLAN_KINDS
from w2v_core.data.catalog import DATASETS


def script(shell, capsys):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def complete(script, tmp_path, *words):
    """Return what bash offers for the last word."""
    path = tmp_path / "w2v.bash"
    path.write_text(script)
    line = " ".join(f"'{word}'" for word in words)
    code = f"source {path}; COMP_WORDS=(w2v {line}); COMP_CWORD={len(words)}; _shtab_w2v; "
    done = subprocess.run(
        ["bash", "-c", code + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_knows_commands_and_flags(shell, capsys):
    printed = script(shell, capsys)

    assert all(word in printed for word in ("transcribe", "calibrate", "multi_thread"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param(["do"], ["doctor"], id="command"),
        pytest.param(["run", "--dev_"], ["--dev_clean_ds"], id="flag"),
        pytest.param(["run", "--device", ""], ["auto", "cpu", "cuda", "hpu"], id="choice"),
        pytest.param(["run", "--batch-plan", "s"], ["sorted"], id="dashed-choice"),
    ],
)
def test_bash_completes(words, offered, capsys, tmp_path):
    assert complete(script("bash", capsys), tmp_path, *words) == offered


def test_the_names_offered_are_those_of_the_catalogs(capsys, monkeypatch):
    monkeypatch.setattr("w2v_core.model.catalog.MODELS", {"new-model": None})
    new = replace(DATASETS[0], name="new-dataset")
    monkeypatch.setattr("w2v_core.data.catalog.DATASETS", (new,))

    printed = script("bash", capsys)
    assert all(f"new-{kind}" in printed for kind in ("model", "dataset"))
    assert all(name in printed for name in (*EXECUTIONS, *PLAN_KINDS, *FORWARDS, *DEVICES))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("words", [["transcribe"], ["report"], ["gate"], ["run", "--data_path"]])
def test_bash_completes_files(words, capsys, tmp_path):
    (tmp_path / "speech.flac").touch()

    assert complete(script("bash", capsys), tmp_path, *words, f"{tmp_path}/sp") == [
        f"{tmp_path}/speech.flac"
    ]


def test_an_unknown_shell_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as end:
        main(["completion", "tcsh"])

    assert end.value.code == 2
    assert "bash" in capsys.readouterr().err


def test_without_shtab_the_remedy_is_named(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)

    assert main(["completion", "bash"]) == 2
    assert "pip install shtab" in capsys.readouterr().err
