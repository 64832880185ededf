"""Tags and repositories, sorted, and kept as long as none is added or removed."""

import heapq
import os
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from jettison.model.names import RepoName
from jettison.server.answers import encode_json
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import storage_errors
from jettison.storage.filesystem.reading import SETTLED_NS, InnerFolders
from jettison.storage.filesystem.tree import StorageTree

__all__ = ["Catalog", "Listings", "SortedNames"]

_KEPT_TAGS: Final = 200_000
_KEPT_FOLDERS: Final = 100_000
_MOST_BYTES: Final = 256 * 1024 * 1024
_RUN: Final = 20_000
"""The most names sorted in one call, which takes a few milliseconds."""

_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_TAGS: Final = re.compile(rf"(?:{_TAG.pattern}\n)*+")


class SortedNames:
    """The tags of a repository, the answer with all of them, and the time of its folder."""

    __slots__ = ("__weakref__", "_list_at", "body", "changed", "tags")

    def __init__(self, repository: RepoName, changed: int, tags: list[str]) -> None:
        self.changed = changed
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

    def __init__(self, tree: StorageTree) -> None:
        self._tree = tree
        self._kept: OrderedDict[str, SortedNames] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()
        self._alive: weakref.WeakSet[SortedNames] = weakref.WeakSet()

    @property
    def full(self) -> bool:
        """Whether no more lists may be made, because slow clients hold on to too many."""
        return sum(len(one.body) for one in self._alive) > _MOST_BYTES

    def kept(self, repository: RepoName) -> SortedNames | None:
        """Return the kept list if it is still right, by one look at the folder."""
        found = self._kept.get(repository)
        if found is None or found.changed != self._tree.mtime(layout.tags(repository)):
            return None
        with self._lock:
            if repository in self._kept:
                self._kept.move_to_end(repository)
        return found

    def read(self, repository: RepoName) -> SortedNames | None:
        """List the tags of a repository; None if there is no such repository."""
        folder = self._tree.folder(layout.tags(repository))
        if folder is None:
            # Without a tag, but with manifests, it is a repository all the same.
            exists = self._tree.mtime(layout.manifests(repository)) is not None
            return SortedNames(repository, 0, []) if exists else None
        with folder, storage_errors("list", folder.path):
            changed = folder.own_time()
            names = os.listdir(folder.descriptor)  # noqa: PTH208 - it is open
        found = SortedNames(repository, changed, _sorted_tags(names))
        self._alive.add(found)
        if changed < time.time_ns() - SETTLED_NS:
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


def _sorted_tags(names: list[str]) -> list[str]:
    """Return the tags among the names of folders, in order.

    It works in pieces, because each call keeps all other threads waiting, the event loop included.
    """
    runs = []
    for start in range(0, len(names), _RUN):
        run = names[start : start + _RUN]
        if _TAGS.fullmatch("".join(f"{name}\n" for name in run)) is None:
            run = [name for name in run if _TAG.fullmatch(name)]
        run.sort()
        runs.append(run)
    return runs[0] if len(runs) == 1 else list(heapq.merge(*runs))


class Catalog:
    """The repositories; the folders that contain some are remembered until they change."""

    def __init__(self, tree: StorageTree) -> None:
        self._tree = tree
        self._known: dict[str, InnerFolders] = {}

    def walk(self, after: str) -> Iterator[str]:
        """Yield the repositories after ``after``, in lexical order."""
        if len(self._known) > _KEPT_FOLDERS:
            self._known = {}
        return self._tree.walk_repositories(after, self._known)
