"""Foreign text is made fit for terminals, spreadsheets, Markdown and browsers."""

import json

import pytest

from w2v_core.report.text import (
    csv_safe,
    figure,
    html_safe,
    json_line_safe,
    markdown_safe,
    printable,
    shorten,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[31mred", r"\x1b[31mred", id="ansi"),
        pytest.param("\x9b31m", r"\x9b31m", id="c1-control"),
        pytest.param("a\nb\tc\rd", r"a\nb\tc\rd", id="whitespace"),
        pytest.param("\u202egnp.exe", r"\u202egnp.exe", id="direction-override"),
        pytest.param("a\u2028b", r"a\u2028b", id="line-separator"),
        pytest.param("\udcff", r"\udcff", id="lone-surrogate"),
        pytest.param("\x00\x07", r"\x00\x07", id="nul-and-bell"),
        pytest.param(
            "na\u00efve \u4e2d\u6587 O'CLOCK", "na\u00efve \u4e2d\u6587 O'CLOCK", id="fine"
        ),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("length", [10, 11])
def test_text_is_cut_only_beyond_the_limit_and_says_how_long_it_was(length):
    shown = shorten("x" * length, 10)

    assert shown == ("x" * 10 if length == 10 else "x" * 10 + "\u2026 (11 characters)")


@pytest.mark.parametrize("text", ["<b>", '"onload="x', "'", "&lt;", "</style>"])
def test_markup_does_not_reach_a_page(text):
    assert not set(html_safe(text)) & set("<>\"'")
    assert html_safe("&lt;") == "&amp;lt;"


@pytest.mark.parametrize(
    "text", ["<img src=x>", "a|b", "**b**", "`code`", "[a](b)", "~~x~~", "$x$"]
)
def test_markup_does_not_reach_markdown(text):
    escaped = markdown_safe(text)

    for mark in "<>|*`[]~$":
        assert escaped.count(mark) == escaped.count(f"\\{mark}")


def test_markdown_stays_on_its_line_and_keeps_the_underscores_of_names():
    assert markdown_safe("test_clean\n# _head_") == r"test_clean # \_head\_"


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(A1)"])
def test_a_formula_becomes_text_in_a_spreadsheet(text):
    assert csv_safe(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.5", "+2e-3", "base-float32", "1089-134686-0000"])
def test_other_text_is_left_alone_in_a_spreadsheet(text):
    assert csv_safe(text) == text


def test_a_json_line_is_one_line_of_utf8_and_keeps_its_value():
    text = "a\u2028b\x9b\udcff\u4e2d"
    line = json_line_safe(json.dumps(text, ensure_ascii=False))

    assert len(line.splitlines()) == 1
    assert json.loads(line.encode().decode()) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0"), (0.012344, "0.01234"), (999.94, "999.9"), (13092.4, "13092")],
)
def test_a_figure_has_four_digits_and_no_exponent(value, shown):
    assert figure(value) == shown
