"""Lists that a registry gives page by page, whatever it does with them.

A list may begin anew, go round in circles, have no end, break off, or name what nobody can ask for.
"""

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from yarl import URL

from jettison.client.answers import error_codes, next_link
from jettison.client.auth import Access
from jettison.client.failures import tidy
from jettison.client.meanings import Meanings
from jettison.client.transport import LIST_LIMIT, Transport, same_origin
from jettison.errors import (
    AccessDenied,
    InvalidDocument,
    InvalidName,
    RegistryFailing,
    UnexpectedResponse,
    Unreachable,
)
from jettison.model.listing_problems import ListingProblem, ProblemCode
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.names import RepoName, Tag

__all__ = ["Pages"]

_PAGE: Final = 1000
# Pages in a row that bring nothing new: more is a registry that turns in circles.
_IDLE_PAGES: Final = 20
# A list has an end: far beyond what any registry holds, and what fits into memory.
_PAGES: Final = 10_000
_NAMES: Final = 1_000_000
_BAD_NAMES: Final = 10_000

_NAME = TypeVar("_NAME", RepoName, Tag)


class _EndlessList(UnexpectedResponse):
    """More names than any registry has: the names that came are useless."""


class Pages:
    """Reads the lists of the registry at ``host``."""

    def __init__(self, host: str, transport: Transport, meanings: Meanings) -> None:
        self._host = host
        self._transport = transport
        self._meanings = meanings

    async def names(
        self,
        path: str,
        access: Access,
        read: Callable[[bytes], list[str]],
        kind: type[_NAME],
    ) -> AsyncIterator[_NAME | ListingProblem | None]:
        """Yield the names of a list; invalid names and an incomplete list as problems."""
        begun = False
        bad = 0
        try:
            async for page in self.pages(path, access, read, numbered=True):
                if page is None:
                    yield None
                    return
                for text in page:
                    name = _named(kind, text)
                    bad += isinstance(name, ListingProblem)
                    if bad > _BAD_NAMES:
                        message = f"{self._host} lists more than {_BAD_NAMES:,} invalid names"
                        yield ListingProblem(ProblemCode.CUT_SHORT, "(more)", message)
                        return
                    yield name
                begun = True
        except Unreachable as error:
            # Is it the registry that is out of reach, or this list?
            if self._meanings.confirmed is not None:
                raise
            await self._meanings.confirm()
            raise RegistryFailing(error.message, hint=error.hint) from None
        except (AccessDenied, UnexpectedResponse) as error:
            # What came before is true all the same.
            if not begun or isinstance(error, _EndlessList):
                raise
            message = f"the list is incomplete: {error.message}"
            yield ListingProblem(ProblemCode.CUT_SHORT, "(more)", message)

    async def pages(
        self,
        path: str,
        access: Access,
        read: Callable[[bytes], list[str]],
        *,
        numbered: bool,
    ) -> AsyncIterator[list[str] | None]:
        """Yield pages without repetitions, following ``Link``; None if the list does not exist."""
        headers = {"Accept": "application/json" if numbered else OCI_INDEX}
        url = self._transport.url(f"{path}?n={_PAGE}" if numbered else path)
        visited: set[URL] = set()
        seen: set[str] = set()
        idle = 0
        first = True
        while True:
            visited.add(url)
            response = await self._transport.request(
                "GET", url, access, headers=headers, limit=LIST_LIMIT
            )
            codes = error_codes(response)
            if (
                response.status == HTTPStatus.BAD_REQUEST
                and numbered
                and "PAGINATION_NUMBER_INVALID" in codes
            ):
                numbered = False
                url = self._transport.url(path)
                continue
            # One page of several that is suddenly not there is no end of the list.
            if response.status in {HTTPStatus.NOT_FOUND, 405, 501} and first:
                await self._meanings.expect_registry(response)
                yield None
                return
            if response.status != HTTPStatus.OK:
                raise await self._meanings.unexpected(response, access, f"GET {path}")
            if response.body.count(b",") > _NAMES:
                raise self._endless(path)
            try:
                page = read(response.body)
            except InvalidDocument:
                raise await self._meanings.unreadable(response, path) from None
            fresh = [text for text in dict.fromkeys(page) if text not in seen]
            seen.update(fresh)
            yield fresh
            first = False
            idle = 0 if fresh else idle + 1
            target = next_link(response.headers.getall("Link", []))
            if target is None:
                return
            url = self._next_page(path, self._transport.url(target, response.url))
            if url in visited or idle >= _IDLE_PAGES:
                message = f"the pages of {path} on {self._host} go round in circles"
                raise UnexpectedResponse(message)
            if len(visited) >= _PAGES or len(seen) > _NAMES:
                raise self._endless(path)

    def _next_page(self, path: str, url: URL) -> URL:
        """Return the URL of the next page, always at the registry.

        A registry behind a proxy may name its inner address, ``http://registry:5000/v2/…``; only
        path and query count.
        """
        if same_origin(url, self._transport.origin):
            return url
        inner = url.raw_path if url.raw_path.startswith("/v2/") else path
        return self._transport.url(f"{inner}?{url.raw_query_string}")

    def _endless(self, path: str) -> UnexpectedResponse:
        message = f"{self._host} answers GET {path} with a list that has no end"
        return _EndlessList(message)


def _named(kind: type[_NAME], text: str) -> _NAME | ListingProblem:
    try:
        return kind(text)
    except InvalidName:
        message = "an invalid name, which no request can contain"
        return ListingProblem(ProblemCode.INVALID_NAME, tidy(text) or "(no name)", message)
