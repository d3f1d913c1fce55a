"""What a clone without git-lfs has in place of a file is told as that, whoever reads the file."""

import pytest

from tests.helpers.records import make_run, write_run
from w2v_core.cli import main

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 123456\n"
PLACES = {
    "audio": ("utterance.flac", ["transcribe", "{}"]),
    "manifest": ("corpus/metadata.csv", ["run", "--model", "canary-base", "--data-path", "{}/.."]),
    "run": ("run.json", ["report", "{}", "-o", "page.html"]),
    "verdict": ("run/verdict.json", ["report", "{}/..", "-o", "page.html"]),
    "benchmark JSON": ("out.json", ["gate", "{}", "--baseline", "baselines"]),
    "baseline": ("b.json", ["gate", "run", "--baseline", "{}"]),
    "history": ("history.sqlite", ["compare", "release:1", "release:2", "--history", "{}"]),
}


@pytest.mark.parametrize(("name", "command"), PLACES.values(), ids=PLACES)
def test_a_pointer_is_told_as_one(name, command, tmp_path, monkeypatch, capsys):
    """Exit 3, and the command that brings the file."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", make_run(0))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(POINTER)

    status = main([word.format(path).replace(f"{path}/..", str(path.parent)) for word in command])

    assert status == 3
    assert "git lfs pull" in "".join(capsys.readouterr())
