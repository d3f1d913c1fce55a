"""Text normalisation: what counts as the same word."""

import pytest

from w2v_core.errors import UnknownNameError
from w2v_core.scoring.text import DEFAULT_RECIPE, PROBES, Recipe, find_recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("hello World", "HELLO WORLD", id="case"),
        pytest.param("  A \t B\n", "A B", id="whitespace"),
        pytest.param("A\u00a0B\u3000C", "A B C", id="unicode-spaces"),
        pytest.param("don't", "DON'T", id="apostrophe"),
        pytest.param("O\u2019NEIL", "O\u2019NEIL", id="typographic-apostrophe-stays"),
        pytest.param("mr. x, 42%!", "MR. X, 42%!", id="punctuation-stays"),
        pytest.param("cafe\u0301", "CAF\u00c9", id="composed"),
        pytest.param("caf\u00e9", "CAF\u00c9", id="accent-stays"),
        pytest.param("\u0149", "\u02bcN", id="composed-after-upper-case"),
        pytest.param("stra\u00dfe", "STRASSE", id="upper-case-that-grows"),
        pytest.param("", "", id="empty"),
    ],
)
def test_strict_recipe_folds_case_and_spacing_only(text, expected):
    assert DEFAULT_RECIPE(text) == expected


@pytest.mark.parametrize("text", [*PROBES, "\u01f0 \u0390 \u1fb7"])
def test_strict_recipe_changes_nothing_the_second_time(text):
    once = DEFAULT_RECIPE(text)

    assert DEFAULT_RECIPE(once) == once


def test_text_form_finds_the_recipe():
    assert find_recipe("librispeech-strict/1") is DEFAULT_RECIPE


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'librispeech-strict/1'"):
        find_recipe("librispeech-strict/2")


def test_version_1_still_does_what_it_did():
    """Records refer to it: a change of behaviour needs a new version, not a new digest here."""
    assert DEFAULT_RECIPE.digest == "0bf66ced13b5"


@pytest.mark.parametrize("steps", [("upper",), ("upper", "nfc", "collapse-whitespace"), ()])
def test_digest_tells_recipes_with_other_steps_apart(steps):
    other = Recipe(name="librispeech-strict", version=1, steps=steps)

    assert other.digest != DEFAULT_RECIPE.digest


def test_digest_notices_a_step_that_behaves_otherwise(monkeypatch):
    """The same names doing something else: an edited function, another Unicode table."""
    from w2v_core.scoring import text as module

    before = DEFAULT_RECIPE.digest
    changed = {**module.STEPS, "upper": str.lower}
    monkeypatch.setattr(module, "STEPS", changed)

    assert DEFAULT_RECIPE.digest != before
