"""Questions to the APIs beside a registry's, bounded, and the times in their answers."""

import enum
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final, TypeVar

from jettison.client.answers import describe, is_page, next_link
from jettison.client.auth import NO_ACCESS, Access
from jettison.client.failures import tidy
from jettison.client.response import Response
from jettison.client.transport import LIST_LIMIT, Transport
from jettison.errors import InvalidDigest, InvalidDocument, InvalidName
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import EARLIEST, Evidence, Moment, Times
from jettison.model.times import seconds_of

__all__ = [
    "Api",
    "CannotTell",
    "Found",
    "Login",
    "NotTold",
    "Value",
    "digest_of",
    "has_next",
    "moment",
    "tag_of",
]

Value = str | int | float | bool | None
"""A member of an answer whose type differs between versions, or may be anything but a list."""

_PAGES: Final = 10_000
_PARTS: Final = 2_000_000
"""Objects, lists and commas in one answer: 200,000 manifests of Google's list."""
_DIGITS: Final = 18

_T = TypeVar("_T")


class NotTold(Exception):
    """An API does not tell; the text is the reason, for people."""


class CannotTell(NotTold):
    """This registry never tells, which is no failure: it is as one without such an API."""


class Login(enum.Enum):
    """How an API takes the login to the registry. It goes to the registry's own origin alone."""

    REGISTRY = "as the registry itself does"
    PASSWORD = "user name and password"  # noqa: S105 - a name, no password
    TOKEN = "the password as a token, if the user name says that it is one"  # noqa: S105 - a name
    NONE = "none"


_WANTED: Final = {
    Login.TOKEN: ": log in as $oauthtoken, with an OAuth token as the password",
    Login.NONE: ", and as another host it gets none",
}


class Found:
    """Times as they are found. Of several for one thing the latest counts: it keeps more."""

    def __init__(self) -> None:
        self.tags: dict[Tag, Times] = {}
        self.manifests: dict[Digest, Times] = {}
        self.whole: Evidence | None = None
        """All that is known, where an API tells more than that."""

    def tag(self, name: Value, pushed: Moment | None, pulled: Moment | None = None) -> None:
        """Note the times of a tag; one with an invalid name is none."""
        tag = tag_of(name)
        if tag is not None:
            self.tags[tag] = _latest(self.tags.get(tag), Times(pushed=pushed, pulled=pulled))

    def manifest(self, name: Value, pushed: Moment | None, pulled: Moment | None = None) -> None:
        """Note the times of a manifest; one with an invalid digest is none."""
        digest = digest_of(name)
        if digest is not None:
            times = Times(pushed=pushed, pulled=pulled)
            self.manifests[digest] = _latest(self.manifests.get(digest), times)


def _latest(one: Times | None, other: Times) -> Times:
    if one is None:
        return other
    pushed = _later(one.pushed, other.pushed)
    return Times(pushed=pushed, pulled=_later(one.pulled, other.pulled))


def _later(one: Moment | None, other: Moment | None) -> Moment | None:
    if one is None or (other is not None and other.seconds > one.seconds):
        return other
    return one


def tag_of(name: Value) -> Tag | None:
    """Return a tag; None for what is none."""
    try:
        return Tag(name) if isinstance(name, str) else None
    except InvalidName:
        return None


def digest_of(name: Value) -> Digest | None:
    """Return a digest; None for what is none."""
    try:
        return Digest(name) if isinstance(name, str) else None
    except InvalidDigest:
        return None


def moment(value: Value, source: str, *, per_second: int = 1) -> Moment | None:
    """Return a time: RFC 3339, or a number since the epoch of which a second has so many.

    None for what is no time. Registries write the year 1 or 0 for "never" and for "not known", and
    there were none before 2000.
    """
    seconds: float | None = None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) <= _DIGITS else None
    if isinstance(value, str):
        seconds = seconds_of(value)
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST:
        seconds = value / per_second
    if seconds is None or not EARLIEST <= seconds < _LATEST:
        return None
    return Moment(seconds, source)


_MOST: Final = 10**_DIGITS
_LATEST: Final = 253402300800.0
"""The end of the year 9999."""


class Api:
    """The API of a product beside that of its registry; ``name`` is the product's."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self.name = name

    @property
    def host(self) -> str:
        """The registry's host."""
        return self._transport.host

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._transport.now

    async def get(
        self,
        target: str,
        kind: type[_T],
        login: Login = Login.REGISTRY,
        access: Access = NO_ACCESS,
        *,
        absent: str = "does not have the repository",
    ) -> tuple[_T, Response]:
        """Return an answer as ``kind``; raise :class:`NotTold` for any other answer.

        ``target`` is a path, or a URL of another host, which gets no login. ``absent`` is what 404
        means.
        """
        response, given = await self._answer(target, login, access)
        if response.foreign and login is not Login.NONE:
            raise NotTold(f"{self.name}'s API leads to another host")
        if response.status == HTTPStatus.NOT_FOUND:
            raise NotTold(f"{self.name}'s API {absent} (404)")
        if response.status != HTTPStatus.OK:
            raise self._refused(response, login, given=given)
        if is_page(response):
            raise NotTold(f"{self.name}'s API answers with a web page")
        try:
            found = strict_json.decode(
                response.body, kind, max_bytes=LIST_LIMIT, max_parts=_PARTS, strict=True
            )
        except InvalidDocument as error:
            said = tidy(error.message)
            raise NotTold(f"{self.name}'s API answers with something else: {said}") from None
        return found, response

    async def _answer(self, target: str, login: Login, access: Access) -> tuple[Response, bool]:
        """Return an answer, and whether a login was sent for it."""
        headers = {"Accept": "application/json"}
        transport = self._transport
        if login is Login.REGISTRY:
            response = await transport.request(
                "GET", target, access, headers=headers, limit=LIST_LIMIT
            )
            return response, transport.auth.given
        sent = None
        if login is not Login.NONE:
            token = login is Login.TOKEN
            sent = await transport.auth.header_beside(access.repository, token=token)
        response = await transport.request_beside(target, sent, headers=headers, limit=LIST_LIMIT)
        return response, sent is not None

    def _refused(self, response: Response, login: Login, *, given: bool) -> NotTold:
        status = response.status
        if status in {401, 403}:
            said = "refuses the login" if given else "wants a login"
            kind = _WANTED.get(login, "")
            return NotTold(f"{self.name}'s API {said} ({status}){kind}")
        return NotTold(f"{self.name}'s API answers {describe(response)}")

    async def linked(
        self, path: str, query: str, kind: type[_T], access: Access
    ) -> AsyncIterator[_T]:
        """Yield the pages of a list whose ``Link`` leads to the next, at the same path."""
        visited: set[str] = set()
        while query not in visited:
            visited.add(query)
            if len(visited) > _PAGES:
                raise self._endless()
            page, response = await self.get(
                f"{path}?{query}" if query else path, kind, access=access
            )
            yield page
            target = next_link(response.headers.getall("Link", []))
            if target is None:
                return
            query = self._transport.url(target, response.url).raw_query_string
        raise self._endless()

    async def numbered(
        self, target: str, kind: type[_T], login: Login, repository: RepoName
    ) -> AsyncIterator[tuple[_T, Response]]:
        """Yield pages 1, 2, 3… of a list for as long as they are asked for."""
        access = Access(repository)
        before = None
        for number in range(1, _PAGES):
            page, response = await self.get(f"{target}&page={number}", kind, login, access)
            if response.body == before:
                break
            before = response.body
            yield page, response
        raise self._endless()

    def _endless(self) -> NotTold:
        return NotTold(f"{self.name}'s API answers with a list that has no end")


def has_next(response: Response, read: int, items: int) -> bool:
    """Whether a page of ``items``, after which ``read`` have come, is not the last.

    ``Link`` and ``X-Total-Count`` tell; without either, only an empty page is the end.
    """
    links = response.headers.getall("Link", [])
    total = response.headers.get("X-Total-Count", "")
    if next_link(links) is not None:
        return items > 0
    if total.isascii() and total.isdigit() and len(total) <= _DIGITS:
        return items > 0 and read < int(total)
    return items > 0 and not links
