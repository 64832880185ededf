"""Lists of tags, and the answers with them, kept as long as no tag is added or removed."""

import threading
import weakref
from collections import OrderedDict, deque
from typing import Final

from jettison.model.names import RepoName
from jettison.server.http.answers import encode_json
from jettison.storage.protocol import Serving, Stamp

__all__ = ["Listings", "SortedNames"]

_KEPT_TAGS: Final = 200_000
_MOST_BYTES: Final = 256 * 1024 * 1024


class SortedNames:
    """The tags of a repository, the answer with all of them, and when one was last added."""

    __slots__ = ("__weakref__", "_list_at", "body", "stamp", "tags")

    def __init__(self, repository: RepoName, stamp: Stamp | None, tags: list[str]) -> None:
        self.stamp = stamp
        self.tags = tags
        head = b'{"name":%b,"tags":[' % encode_json(repository)
        # No character of a tag is another one in JSON.
        inner = '","'.join(tags).encode()
        self.body = b'%b"%b"]}' % (head, inner) if tags else head + b"]}"
        self._list_at = len(head)

    def parts(self, first: int) -> tuple[bytes, memoryview]:
        """Return the answer with the tags from ``first`` on, as its beginning and the rest."""
        body = memoryview(self.body)
        if first == 0:
            return b"", body
        head = self.body[: self._list_at]
        if first >= len(self.tags):
            return head, memoryview(b"]}")
        return head, body[self.body.index(b'"%b"' % self.tags[first].encode(), self._list_at) :]


class Listings:
    """The kept lists of tags; the least recently used are dropped."""

    def __init__(self, storage: Serving) -> None:
        self._storage = storage
        self._kept: OrderedDict[str, SortedNames] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()
        # Lists come and go in threads: so they are counted, and never looked through.
        self._bytes = 0
        self._gone: deque[int] = deque()

    @property
    def full(self) -> bool:
        """Whether no more lists may be made, because slow clients hold on to too many."""
        with self._lock:
            while self._gone:
                self._bytes -= self._gone.popleft()
            return self._bytes > _MOST_BYTES

    def _count_in(self, found: SortedNames) -> None:
        size = len(found.body)
        with self._lock:
            self._bytes += size
        # Whoever drops a list may hold the lock just then: so this takes none.
        weakref.finalize(found, self._gone.append, size).atexit = False

    def kept(self, repository: RepoName) -> SortedNames | None:
        """Return the kept list if it is still right, which costs one look."""
        found = self._kept.get(repository)
        if found is None or found.stamp != self._storage.tags_stamp(repository):
            return None
        with self._lock:
            if repository in self._kept:
                self._kept.move_to_end(repository)
        return found

    def current(self, repository: RepoName) -> SortedNames | None:
        """Return the tags of a repository, kept or not; None if there is no such repository."""
        return self.kept(repository) or self.read(repository)

    def read(self, repository: RepoName) -> SortedNames | None:
        """List the tags of a repository; None if there is no such repository."""
        names = self._storage.tags(repository)
        if names is None:
            return None
        found = SortedNames(repository, names.stamp, names.names)
        self._count_in(found)
        if found.stamp is not None:
            self._keep(repository, found)
        return found

    def _keep(self, repository: RepoName, found: SortedNames) -> None:
        with self._lock:
            before = self._kept.pop(repository, None)
            self._count += len(found.tags) - (0 if before is None else len(before.tags))
            self._kept[repository] = found
            while self._count > _KEPT_TAGS and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._count -= len(oldest.tags)
