import pytest

from jettison.configuration import parse_address
from jettison.errors import ConfigurationError


@pytest.mark.parametrize(
    ("addr", "expected"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        (":5000", ("", 5000)),
        ("[::1]:5000", ("::1", 5000)),
        ("[0:0::1]:0", ("::1", 0)),
        ("my-host.example:65535", ("my-host.example", 65535)),
    ],
)
def test_addresses(addr: str, expected: tuple[str, int]) -> None:
    assert parse_address(addr) == expected


@pytest.mark.parametrize(
    "addr",
    [
        *("", "5000", "h", "h:", "h:x", "h:-1", "h:65536", "::1:5000", "[::1]", "[h]:1", "[::g]:1"),
        *("a b:1", "http://h:1", "h:1\n", "h:٣", "[1.2.3.4]:1", "h:000001"),
    ],
)
def test_no_addresses(addr: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address"):
        parse_address(addr)
