"""Any number is a time that can be told."""

import pytest

from jettison.model.times import moment, rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1_700_000_000.9, "2023-11-14T22:13:20Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1e300, "1970-01-01T00:00:00Z"),
        (1e15, "9999-12-31T23:59:59Z"),
        (1e300, "9999-12-31T23:59:59Z"),
        (float("inf"), "9999-12-31T23:59:59Z"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text
    assert moment(seconds) == f"{text[:10]} {text[11:16]} UTC"
