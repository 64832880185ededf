"""What every handler works with: the tree, the settings, the threads, and who listens to events."""

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from functools import lru_cache, partial
from typing import Final, ParamSpec, TypeVar

from jettison.configuration import Configuration
from jettison.errors import InvalidDigest, InvalidName
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.server.access import Grant
from jettison.server.api.events import Events
from jettison.server.api.immutable import ImmutableTags
from jettison.server.api.sessions import Sessions
from jettison.server.api.tags import Listings
from jettison.server.http.answers import ApiError, Code, Header, shown
from jettison.server.http.requests import Request
from jettison.server.http.sharing import Bodies, Buffers, Turns
from jettison.server.observing.exchange import Exchange
from jettison.server.placement import Placement
from jettison.server.pulls import PullKeeper
from jettison.server.shares import shares_of
from jettison.storage.protocol import Storage
from jettison.storage.pulls import book_of
from jettison.storage.referrers_index import ReferrersIndexes
from jettison.storage.registry import StorageRegistry
from jettison.storage.tag_index import TagIndexes

__all__ = ["Call", "Context", "parse_digest", "parse_name", "parse_tag"]

P = ParamSpec("P")
T = TypeVar("T")
_Locks = weakref.WeakValueDictionary[RepoName, asyncio.Lock]

_KEPT: Final = 4096
_MOST_WAITING: Final = 128
_MOST_WAITING_ALL: Final = 1024
_LARGE_BYTES: Final = 64 * 1024 * 1024
_DELETION_OFF: Final = "deletion is not enabled; set storage.delete.enabled: true"


class Context:
    """One for each process."""

    def __init__(
        self,
        configuration: Configuration,
        storage: Storage,
        events: Events,
        executor: Executor,
        buffers: Buffers,
        placement: Placement,
    ) -> None:
        self.configuration = configuration
        self.storage = storage
        self.events = events
        self.serving = storage.serving()
        self.local = storage.features.local
        """Whether the event loop may ask :attr:`serving`."""
        self.immutable = ImmutableTags(configuration.immutable, self.serving)
        self.uploading = storage.uploading()
        self.registry = StorageRegistry(storage)
        self.relations = ReferrersIndexes(storage, save=not configuration.storage.readonly)
        self.tagged = TagIndexes(storage)
        self.pulls = PullKeeper(configuration.pulls, book_of(storage))
        self.sessions = Sessions()
        self.listings = Listings(self.serving)
        self.buffers = buffers
        self.downloads = 0
        """How many files are being sent."""
        self.large_bodies = Bodies(_LARGE_BYTES)
        """Manifests of a size that few have, from their first byte until they are stored."""
        shares = shares_of(storage.features)
        self._threads = Turns(shares.threads, shares.threads_each)
        self._searches = Turns(
            shares.searches, shares.searches_each, _MOST_WAITING, _MOST_WAITING_ALL
        )
        self._parsing = Turns(1, 1, _MOST_WAITING, _MOST_WAITING_ALL)
        self.pushed: OrderedDict[Digest, RepoName] = OrderedDict()
        """Where blobs were pushed last: a hint for who mounts one without naming a source."""
        self._executor = executor
        self._placement = placement
        self._writing: _Locks = weakref.WeakValueDictionary()
        self._relating: _Locks = weakref.WeakValueDictionary()

    async def run(
        self, client: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that waits for the disk, in a thread; others are served meanwhile.

        Clients take turns with the threads; ``client`` is "" for what the server does by itself.
        """
        return await self._run(client, partial(self._placement.anywhere, function, *args, **kwargs))

    async def brief(
        self, client: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As :meth:`run`, for what makes many short calls of the system and hardly computes."""
        with self._placement.sharing():
            return await self._run(client, partial(self._placement.near, function, *args, **kwargs))

    async def _run(self, client: str, function: Callable[[], T]) -> T:
        await self._threads.take(client)
        try:
            future = asyncio.wrap_future(self._executor.submit(function))
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                # The thread goes on all the same, with files that the caller is about to close.
                await asyncio.wait([future])
                raise
        finally:
            self._threads.give(client)

    async def search(
        self, client: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that may look through many files: few of these at a time.

        Raises :class:`~jettison.server.http.sharing.Busy` where too many wait.
        """
        async with self._searches.turn(client):
            return await self.run(client, function, *args, **kwargs)

    async def parse(
        self, client: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that reads a large manifest: many times its room, so one at a time.

        Raises :class:`~jettison.server.http.sharing.Busy` where too many wait.
        """
        async with self._parsing.turn(client):
            return await self.run(client, function, *args, **kwargs)

    def note_pushed(self, repository: RepoName, digest: Digest) -> None:
        """Note where a blob was pushed."""
        self.pushed[digest] = repository
        self.pushed.move_to_end(digest)
        if len(self.pushed) > _KEPT:
            self.pushed.popitem(last=False)

    def writing(self, repository: RepoName) -> asyncio.Lock:
        """Return the lock of those who write to a repository: they wait here, not in threads.

        Writers of other processes are kept out by the tree's own lock.
        """
        return _lock(self._writing, repository)

    def relating(self, repository: RepoName) -> asyncio.Lock:
        """Return the lock of those who ask what refers to what in a repository, as above."""
        return _lock(self._relating, repository)

    def require_deletion(self) -> None:
        """Raise 405 unless deletion is enabled."""
        if not self.configuration.storage.delete_enabled:
            raise ApiError(405, Code.UNSUPPORTED, _DELETION_OFF)


def _lock(locks: _Locks, repository: RepoName) -> asyncio.Lock:
    lock = locks.get(repository)
    if lock is None:
        lock = locks[repository] = asyncio.Lock()
    return lock


class Call:
    """One request on its way through a handler: who asks, for what, and where to go from here."""

    __slots__ = ("_repository", "context", "exchange", "grant", "reference", "request")

    def __init__(
        self,
        context: Context,
        request: Request,
        grant: Grant,
        repository: RepoName | None,
        reference: str,
        exchange: Exchange,
    ) -> None:
        self.context = context
        self.request = request
        self.grant = grant
        self._repository = repository
        self.reference = reference
        self.exchange = exchange

    @property
    def client(self) -> str:
        """Who takes turns with others: the user, or without a name the address."""
        return self.grant.user or self.request.client

    async def ask(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that only asks the storage: at once, or in a thread where that waits."""
        if self.context.local:
            return function(*args, **kwargs)
        return await self.context.run(self.client, function, *args, **kwargs)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :meth:`Context.run`."""
        return await self.context.run(self.client, function, *args, **kwargs)

    async def brief(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :meth:`Context.brief`."""
        return await self.context.brief(self.client, function, *args, **kwargs)

    async def search(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :meth:`Context.search`."""
        return await self.context.search(self.client, function, *args, **kwargs)

    @property
    def repository(self) -> RepoName:
        """The repository that the URL names; only for endpoints that have one."""
        assert self._repository is not None  # noqa: S101 - the router's promise
        return self._repository

    def url(self, path: str) -> str:
        """Return the URL of something below ``/v2/<name>/``, as the client is to ask for it."""
        http = self.context.configuration.http
        path = f"{http.prefix}v2/{self.repository}/{path}"
        if http.relative_urls:
            return path
        origin = http.host.rstrip("/") if http.host else self.request.origin()
        return path if origin is None else origin + path

    def location(self, path: str) -> Header:
        """Return the header that leads to something below ``/v2/<name>/``."""
        return (b"location", self.url(path).encode("latin-1"))


# Clients ask for the same again and again.
_name: Final = lru_cache(_KEPT)(RepoName)
_digest: Final = lru_cache(_KEPT)(Digest)


def parse_name(text: str) -> RepoName:
    """Return the name of a repository, or raise 400 ``NAME_INVALID``."""
    try:
        return _name(text)
    except InvalidName:
        message = f"invalid repository name: {shown(text)}"
        raise ApiError(400, Code.NAME_INVALID, message) from None


def parse_digest(text: str) -> Digest:
    """Return a digest, or raise 400 ``DIGEST_INVALID``."""
    try:
        return _digest(text)
    except InvalidDigest:
        message = f"{shown(text)} is no digest; it looks like sha256:<64 hex digits>"
        raise ApiError(400, Code.DIGEST_INVALID, message) from None


def parse_tag(text: str) -> Tag:
    """Return a tag, or raise 400 ``TAG_INVALID``."""
    try:
        return Tag(text)
    except InvalidName as error:
        message = f"invalid tag: {shown(text)}"
        raise ApiError(400, Code.TAG_INVALID, message, error.hint) from None
