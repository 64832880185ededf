"""Requests: headers, queries, bodies piece by piece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.server.http.answers import ApiError
from jettison.server.http.requests import Disconnected
from tests.server.asgi import request


async def test_a_body_comes_whole() -> None:
    one = request("PUT", pieces=[b"ab", b"", b"c"])
    assert await one.body(3) == b"abc"
    assert (one.received, one.finished) == (3, True)


async def test_a_body_that_is_too_long_is_not_kept() -> None:
    assert await request("PUT", pieces=[b"abc", b"d"]).body(3) is None


async def test_of_a_body_announced_too_long_nothing_is_read() -> None:
    one = request("PUT", {"Content-Length": "4"}, pieces=[b"abcd"])
    assert await one.body(3) is None
    assert one.received == 0


async def test_the_bytes_that_are_kept_are_told() -> None:
    held: list[int] = []
    one = request("PUT", pieces=[b"ab", b"c", b"defg"])
    assert await one.body(5, held.append) is None
    assert held == [2, 1, 4]


async def test_a_client_that_goes_away_is_noticed() -> None:
    with pytest.raises(Disconnected):
        await request("PUT", pieces=[b"a", None]).body(9)


async def test_a_client_that_falls_silent_is_not_waited_for() -> None:
    one = request("PUT", pieces=[b"a", b"b"])
    one.finished = False

    async def silent() -> None:
        one.finished = False
        async for _ in one.pieces():
            one.finished = False  # as if more were to come

    with pytest.raises(ApiError) as caught:
        await silent()
    assert caught.value.status == 408
    assert (b"connection", b"close") in caught.value.headers


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", {}),
        (b"a=1&a=2&b=", {"a": ["1", "2"], "b": [""]}),
        (b"a=%2Fx%20y+z", {"a": ["/x y z"]}),
        (b"digest=sha256%3Aaa", {"digest": ["sha256:aa"]}),
        (b"a=%FF", {"a": ["\ufffd"]}),
        (b"&&=&", {"": [""]}),
    ],
)
def test_a_query_is_read(query: bytes, found: dict[str, list[str]]) -> None:
    one = request(query=query)
    assert one.query == found
    assert one.parameter("nothing") is None


@pytest.mark.parametrize("query", [b"a=\xff", b"&".join([b"a=1"] * 201)])
def test_a_query_that_cannot_be_read_is_an_error(query: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        _ = request(query=query).query
    assert caught.value.status == 400


@given(st.binary(max_size=60))
def test_any_query_is_read_or_refused(query: bytes) -> None:
    try:
        found = request(query=query).query
    except ApiError:
        return
    assert all(values for values in found.values())


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"Host": "reg:5000"}, "http://reg:5000"),
        ({"Host": "[::1]:5000"}, "http://[::1]:5000"),
        ({"Host": "a", "X-Forwarded-Host": "b"}, "http://b"),
        (
            {"Host": "a", "X-Forwarded-Host": "b, c", "X-Forwarded-Proto": "https, http"},
            "https://b",
        ),
        ({"Host": "a", "X-Forwarded-Proto": "javascript"}, "http://a"),
        ({"Host": "a", "Forwarded": 'for=1.2.3.4;host="b:8";Proto=https, host=c'}, "https://b:8"),
        ({"Host": "a", "Forwarded": "proto=https"}, "https://a"),
        ({"Host": "a", "Forwarded": "host=b", "X-Forwarded-Proto": "https"}, "http://b"),
        ({"Host": "a", "Forwarded": "nonsense; =;;"}, "http://a"),
        ({"Host": "a", "Forwarded": 'host="b/c"'}, None),
        ({}, None),
        ({"Host": ""}, None),
        ({"Host": 'a"b'}, None),
        ({"Host": "a/b"}, None),
        ({"Host": "a@b"}, None),
        ({"Host": "a\r\nX: y"}, None),
        ({"Host": "a" * 300}, None),
    ],
)
def test_the_origin_is_what_the_client_used(headers: dict[str, str], origin: str | None) -> None:
    assert request(headers=headers).origin() == origin


def test_a_header_that_comes_twice_is_joined() -> None:
    one = request(headers=[("Accept", "a"), ("X", "x"), ("Accept", "b")])
    assert one.header(b"accept") == "a, b"
    assert one.header(b"other") is None


@pytest.mark.parametrize(("text", "length"), [(None, None), ("0", 0), ("12", 12), ("-1", None)])
def test_the_announced_length(text: str | None, length: int | None) -> None:
    headers = {} if text is None else {"Content-Length": text}
    assert request(headers=headers).content_length == length
