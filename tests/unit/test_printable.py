"""What a message shows of an error that others raise."""

import pytest

from w2v_core.printable import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "ValueError"),
        ("\n  \n", "ValueError"),
        ("no such file\nand more", "ValueError: no such file"),
        (
            "Validation error for field 'hidden_dropout':\n    TypeError: expected float\n more",
            "ValueError: Validation error for field 'hidden_dropout': TypeError: expected float",
        ),
        (
            "Error(s) in loading state_dict for X:\n\tsize mismatch:\n\n a is [1]\n b is [2]",
            "ValueError: Error(s) in loading state_dict for X: size mismatch: a is [1]",
        ),
        ("nothing follows:", "ValueError: nothing follows:"),
        ("a:\n" * 200, f"ValueError: {('a: ' * 100)}"),
    ],
)
def test_an_error_of_others_is_told_in_one_bounded_line_that_says_what_is_wrong(text, shown):
    assert one_line(ValueError(text)) == shown
