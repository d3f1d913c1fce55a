"""Names and paths as users write them: ``~``, ``.``, two of one name."""

import pytest

from w2v_core.cli import build_parser
from w2v_core.commands.options import given
from w2v_core.config import BatchPlan, parse_path
from w2v_core.errors import ConfigError
from w2v_core.model.catalog import parse_model
from w2v_core.records.cell import form_cells


def cells(**changes):
    asked = {
        "models": [("a/checkpoint-500", "checkpoint_500")],
        "datasets": [("librispeech:/x/test", "librispeech_test")],
        **changes,
    }
    return form_cells(
        **asked, dtypes=["float32"], graphs=[False], forwards=["exact"], plan=BatchPlan()
    )


@pytest.mark.parametrize(
    ("kind", "pair"),
    [
        (
            "models",
            [("a/checkpoint-500", "checkpoint_500"), ("b/checkpoint-500", "checkpoint_500")],
        ),
        ("datasets", [("librispeech:/x/test", "l_test"), ("librispeech:/y/test", "l_test")]),
        ("models", [("base", "base"), ("base@v1", "base")]),
    ],
)
def test_two_of_one_name_are_refused_by_both_their_texts(kind, pair):
    """One identity for two cells would compare them with each other's baseline."""
    with pytest.raises(ConfigError) as raised:
        cells(**{kind: pair})

    assert all(text in str(raised.value) for text, _ in pair)
    assert "ln -s" in str(raised.value)


def test_home_folder_is_expanded_and_an_unknown_one_refused(monkeypatch, tmp_path):
    """bash leaves the ~ of --reports-dir=~/x alone."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert parse_path("~/x") == tmp_path / "x"
    with pytest.raises(ConfigError, match=r"~nobody-of-this-name/x: .*whole path"):
        parse_path("~nobody-of-this-name/x")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        pytest.param(["gate", "~/x", "--baseline=~/b"], "baseline", id="gate"),
        pytest.param(["calibrate", "--history=~/h"], "history", id="calibrate"),
    ],
)
def test_home_folder_is_expanded_in_options_that_are_paths(monkeypatch, tmp_path, arguments, name):
    monkeypatch.setenv("HOME", str(tmp_path))

    parsed = build_parser().parse_args(arguments)

    assert given(arguments[0], parsed)[name].parent == tmp_path


def test_checkpoint_in_the_home_folder_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()

    spec = parse_model("~/mine")

    assert (spec.name, spec.location) == ("mine", str((tmp_path / "mine").resolve()))


@pytest.mark.parametrize("text", [".", "../mine", "./", "x/.."])
def test_checkpoint_folder_without_a_name_in_its_path_has_its_own(monkeypatch, tmp_path, text):
    (tmp_path / "mine" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine")

    assert parse_model(text).cell_name == "mine"


def test_a_link_gives_its_own_name(tmp_path):
    """The way out where two folders have one name."""
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "second").symlink_to(tmp_path / "checkpoint-500")

    assert parse_model(str(tmp_path / "second")).name == "second"
