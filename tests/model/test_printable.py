"""What a terminal obeys is written out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.model.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: ≤ é 中", "plain: ≤ é 中"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("one\u2028two\u2029three\u0085", "one\\u2028two\\u2029three\\x85"),
        ("\ufeff\u200b\u200d", "\\ufeff\\u200b\\u200d"),
        ("\udcff\ud800", "\\udcff\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_the_result_can_always_be_printed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
