"""Named, versioned text normalisation: what counts as the same word. No torch here.

A WER is comparable only under one recipe, so records carry the recipe's name and version, and its
digest says whether it still does what it did. A recipe is never edited: it gets a new version.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from w2v_core.errors import unknown_name

PROBES = (
    "Don't  stop\tNOW ",
    "cafe\u0301 na\u00efve stra\u00dfe",  # a combining accent; upper case that grows
    "mr. O\u2019Neil \u2013 42%",  # a typographic apostrophe, a dash, digits
    "\u00a0no\u2003break\u3000",  # Unicode spaces
    "",
)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _collapse_whitespace(text: str) -> str:
    return " ".join(text.split())


STEPS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"nfc": _nfc, "upper": str.upper, "collapse-whitespace": _collapse_whitespace}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Steps that a reference and a hypothesis go through alike, in order."""

    name: str
    version: int
    steps: tuple[str, ...]
    """Keys of ``STEPS``."""

    def __str__(self) -> str:
        """Return the text form that records carry, for example ``librispeech-strict/1``."""
        return f"{self.name}/{self.version}"

    def __call__(self, text: str) -> str:
        """Normalise one transcript; words are then separated by single spaces."""
        for step in self.steps:
            text = STEPS[step](text)
        return text

    @property
    def digest(self) -> str:
        """Hash of the name, the steps and what they make of fixed probes: 12 hex digits."""
        outputs = [self(probe) for probe in PROBES]
        content = json.dumps([str(self), self.steps, outputs], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


DEFAULT_RECIPE = Recipe(
    name="librispeech-strict",
    version=1,
    steps=("nfc", "upper", "nfc", "collapse-whitespace"),  # upper case can leave NFC
)
"""Case and spacing are folded, nothing else.

Apostrophes, punctuation, digits and accents are kept: ``DON'T`` and ``DONT`` differ, and so do
``'`` and the typographic apostrophe. LibriSpeech's references hold A-Z and ``'`` only, so published
WERs are under this recipe.
"""

RECIPES: Mapping[str, Recipe] = MappingProxyType({str(DEFAULT_RECIPE): DEFAULT_RECIPE})


def find_recipe(text: str) -> Recipe:
    """Return the recipe of a text form.

    Raises:
        UnknownNameError: with the nearest recipe and all of them.
    """
    if text in RECIPES:
        return RECIPES[text]
    raise unknown_name("text normalisation", text, RECIPES)
