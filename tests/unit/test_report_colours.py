"""The page's colours, light and dark: every one defined, and enough contrast."""

import re
from importlib import resources
from itertools import product

import pytest

from tests.helpers.pages import rich_page

STYLE = resources.files("w2v_core.report").joinpath("templates/page.css").read_text()
DARK = "@media screen and (prefers-color-scheme: dark)"
SIZES = {"label", "end"}


def test_both_schemes_define_every_colour():
    page = rich_page()
    light, dark = STYLE.split(DARK)
    names = set(re.findall(r"var\(--([\w-]+)\)", page)) - SIZES

    assert names <= set(re.findall(r"--([\w-]+):", light))
    assert names <= set(re.findall(r"--([\w-]+):", dark))


def luminance(colour):
    digits = colour.lstrip("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2.2, contrast ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT_PAIRS = [
    *product(["text", "muted", "link", "good", "bad", "doubt"], ["back"]),
    *product(
        ["text"],
        [
            "panel",
            "shade-1",
            "shade-2",
            "shade-3",
            "shade-4",
            "good-back",
            "bad-back",
            "doubt-back",
        ],
    ),
    ("good", "good-back"),
    ("bad", "bad-back"),
]
GRAPHIC_PAIRS = list(product(["series-1", "series-2", "series-3", "series-4", "bad"], ["back"]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("pairs", "least"), [(TEXT_PAIRS, 4.5), (GRAPHIC_PAIRS, 3.0)], ids=["text", "graphics"]
)
def test_colours_contrast_enough(scheme, pairs, least):
    """WCAG 2.2 AA: 4.5 for text, 3 for graphics."""
    style = STYLE.split(DARK)[scheme == "dark"]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", style))

    ratios = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}

    assert {pair: r for pair, r in ratios.items() if r < least} == {}
