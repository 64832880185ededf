import pytest

from jettison.configuration.quantities import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("168h", 604_800.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("500ms", 0.5),
        ("0", 0.0),
        ("+2s", 2.0),
        ("-1s", -1.0),
        ("1h1h", 7200.0),
        *(
            (text, None)
            for text in ("", "1", "1d", "s", "1 s", "1S", ".s", "1s ", "٣s", "-", "--1s")
        ),
        ("300000000h", None),
        ("1" * 400 + "h", None),
    ],
)
def test_durations_are_gos(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4MiB", 4 * 1024**2),
        ("4 mb", 4_000_000),
        ("4096", 4096),
        ("1B", 1),
        ("1gib", 1024**3),
        *((text, None) for text in ("", "MiB", "4M", "4 TiB", "-1", "1.5MiB", "٣", "9" * 30)),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size
