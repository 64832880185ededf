"""Lists in pages: the tags of a repository (end-8), and the catalog of repositories."""

from bisect import bisect_right
from collections.abc import AsyncGenerator
from typing import Final
from urllib.parse import urlencode

from jettison.server.api.context import Call, Context
from jettison.server.api.tags import SortedNames
from jettison.server.http.answers import JSON, Answer, ApiError, Code, Header, Piece, json_answer
from jettison.server.http.sharing import Busy

__all__ = ["get_catalog", "get_tags"]

_PIECE: Final = 64 * 1024


async def get_tags(call: Call) -> Answer:
    """List tags in lexical order: all of them, or ``n`` after ``last``."""
    listings = call.context.listings
    found = listings.kept(call.repository) if call.context.local else None
    if found is None:
        if listings.full:
            raise Busy
        found = await call.search(listings.current, call.repository)
    if found is None:
        detail = {"name": call.repository}
        raise ApiError(404, Code.NAME_UNKNOWN, "there is no such repository", detail)
    number, last = _page(call, call.context.configuration.tags_max)
    first = 0 if last is None else bisect_right(found.tags, last)
    if number is None:
        return _rest(call, found, first)
    end = first + number
    tags = found.tags[first:end]
    headers = []
    if number and end < len(found.tags):
        headers = [_next(call, f"{call.repository}/tags/list", number, tags[-1])]
    return json_answer({"name": call.repository, "tags": tags}, headers=headers)


def _rest(call: Call, found: SortedNames, first: int) -> Answer:
    """Answer with all tags from ``first`` on, a long list in pieces, as the client reads it."""
    head, rest = found.parts(first)
    length = len(head) + len(rest)
    if call.request.method == "HEAD":
        return Answer(200, [JSON], length=length)
    if length <= _PIECE:
        return Answer(200, [JSON], head + bytes(rest))
    return Answer(200, [JSON], stream=_pieces(head, rest), length=length)


async def _pieces(head: bytes, rest: memoryview) -> AsyncGenerator[Piece]:
    if head:
        yield head
    for start in range(0, len(rest), _PIECE):
        yield bytes(rest[start : start + _PIECE])


async def get_catalog(call: Call) -> Answer:
    """List the repositories that the client may see, in lexical order, a page at a time."""
    context = call.context
    most = context.configuration.catalog_max
    number, last = _page(call, most)
    wanted = most if number is None else number
    names = await call.search(_repositories, context, call, last or "", wanted + 1)
    headers = []
    if len(names) > wanted:
        del names[wanted:]
        if names:
            headers = [_next(call, "_catalog", wanted, names[-1])]
    return json_answer({"repositories": names}, headers=headers)


def _repositories(context: Context, call: Call, after: str, most: int) -> list[str]:
    found: list[str] = []
    everything = call.grant.sees_all
    for name in context.serving.repositories_after(after):
        if everything or call.grant.sees(name):
            found.append(name)
            if len(found) == most:
                break
    return found


def _page(call: Call, most: int) -> tuple[int | None, str | None]:
    """Return ``n`` and ``last``; raise 400 for an invalid ``n``."""
    text = call.request.parameter("n")
    last = call.request.parameter("last")
    if not text:
        return None, last
    if not text.isascii() or not text.isdecimal() or len(text) > 18 or int(text) > most:  # noqa: PLR2004 - more digits than any count
        message = f"n is a number of entries, at most {most}"
        raise ApiError(400, Code.PAGINATION_NUMBER_INVALID, message, {"n": text[:40]})
    return int(text), last


def _next(call: Call, path: str, number: int, last: str) -> Header:
    query = urlencode({"last": last, "n": number})
    prefix = call.context.configuration.http.prefix
    return (b"link", f'<{prefix}v2/{path}?{query}>; rel="next"'.encode())
