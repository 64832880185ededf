"""Links of a storage tree: files that hold a digest, and how they are read while others write them.

A registry rewrites links in place, and makes and removes a tag file by file.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import eq
from typing import Final, NamedTuple, Self, TypeVar

from jettison.model.digest import ALGORITHMS, BinaryDigest, plain_digests
from jettison.model.names import Tag
from jettison.storage.filesystem import layout, native
from jettison.storage.filesystem.folder import Folder, UnusableError
from jettison.storage.protocol import Problem, Stamp

__all__ = [
    "FIRST",
    "LONGEST",
    "Links",
    "Unsettled",
    "is_fresh",
    "link_states",
    "meant_by",
    "patiently",
    "plain_links",
]

PATIENCE_SECONDS: Final = 2.0
"""How long something that was written lately may look broken before it counts as broken."""

BRIEF_SECONDS: Final = 0.06
"""The same for what was not: a link in the middle of a rewrite may still have its old time."""

LONGEST: Final = 4096
"""In bytes; what is longer is no link."""

FIRST: Final = 256
"""Bytes that are read at once: of a link, all."""

_REREAD_SECONDS: Final = 0.02
_FRESH_NS: Final = 10_000_000_000
_SHA256_BYTES: Final = 32

Key = TypeVar("Key", Tag, BinaryDigest)


class Links:
    """The links of one kind in a repository, in a ``with`` block: each folder opened once."""

    def __init__(self, folders: Mapping[str, Folder | None], *, aside: bool = False) -> None:
        self._folders = folders
        self._aside = aside

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders.values():
            if folder is not None:
                folder.close()

    def _folder(self, digest: BinaryDigest) -> Folder | None:
        return self._folders["sha256" if len(digest) == _SHA256_BYTES else "sha512"]

    def stamp(self, digest: BinaryDigest) -> Stamp | None:
        """Return when a link was written, or None if there is none."""
        folder = self._folder(digest)
        if folder is None:
            return None
        found = folder.time(f"{digest.hex()}/{layout.LINK}")
        if found is None and self._aside:
            found = folder.time(f"{digest.hex()}/{layout.ASIDE_LINK}")
        return None if found is None else Stamp(found)

    def stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was written as :meth:`stamp` does, quicker if there are many."""
        folder = self._folders["sha256"]
        if folder is None or self._aside or any(len(one) != _SHA256_BYTES for one in digests):
            return list(map(self.stamp, digests))
        looks = folder.look_each([f"{digest.hex()}/{layout.LINK}" for digest in digests])
        return [None if look is None else Stamp(look.st_mtime_ns) for look in looks]

    def place_stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was last made or removed, None if never."""
        found: dict[BinaryDigest, Stamp | None] = {}
        for name, folder in self._folders.items():
            some = [digest for digest in digests if len(digest) == ALGORITHMS[name] // 2]
            if folder is None or not some:
                continue
            looks = folder.look_each([digest.hex() for digest in some])
            stamps = [None if look is None else Stamp(look.st_mtime_ns) for look in looks]
            found.update(zip(some, stamps, strict=True))
        return list(map(found.get, digests))


class Unsettled(NamedTuple):
    """Something that looks broken, and may not be finished; more so if written lately."""

    problem: Problem
    fresh: bool


def patiently(
    keys: Sequence[Key], look: "Callable[[Key], BinaryDigest | Problem | Unsettled | None]"
) -> Iterator[tuple[Key, BinaryDigest | Problem | None]]:
    """Look at each; at what is unsettled again a little later, all of it together.

    In the middle of a rewrite a link is empty. On a slow disk a moment can last.
    """
    began = 0.0
    while keys:
        again: list[Key] = []
        waited = time.monotonic() - began if began else 0.0
        for key in keys:
            found = look(key)
            if not isinstance(found, Unsettled):
                yield key, found
            elif waited > (PATIENCE_SECONDS if found.fresh else BRIEF_SECONDS):
                yield key, found.problem
            else:
                again.append(key)
        keys = again
        if keys:
            began = began or time.monotonic()
            time.sleep(_REREAD_SECONDS)


def plain_links(raws: Sequence[bytes | None]) -> Sequence[BinaryDigest | None]:
    """Return the digest in each link that is as nearly all links are, None for any other."""
    found = plain_digests([raw or b"" for raw in raws])
    if found is not None:
        return found
    each = (plain_digests([raw or b""]) for raw in raws)
    return [None if one is None else one[0] for one in each]


def link_states(folder: Folder, algorithm: str, digests: list[BinaryDigest]) -> Iterable[int]:
    """Tell of each digest whether its folder's link is as nearly all links are."""
    if algorithm == "sha256":
        quickly = native.link_states(folder.descriptor, b"".join(digests))
        if quickly is not None:
            return quickly
    encoded = [digest.hex() for digest in digests]
    raws = folder.read_each([f"{name}/{layout.LINK}" for name in encoded], FIRST)
    # True is LINKED; of the others nothing is known.
    return map(eq, raws, [f"{algorithm}:{name}".encode() for name in encoded])


def meant_by(folder: Folder, name: str) -> set[BinaryDigest]:
    """Return the digests that stand in a file, whatever else does."""
    try:
        raw = folder.read(name, LONGEST)
    except UnusableError:
        return set()
    return set() if raw is None else layout.digests_in(raw.decode("latin-1"))


def is_fresh(folder: Folder, name: str) -> bool:
    """Whether an entry was written a moment ago, or in the future: clocks may differ."""
    written = folder.time(name)
    return written is not None and written > time.time_ns() - _FRESH_NS
