"""One listing of a bucket, sorted into repositories, tags, links and blobs.

The keys hold nearly all that a tree says: the digests stand in them. What a link leads to stands in
it, and its ETag tells as much without a request: that of an object that was put in one piece is the
MD5 of its bytes, and the bytes of a link follow from its name. So a link is *sound* if it has the
ETag of the link that its key calls for. Where ETags are no MD5 (SSE-KMS, other stores) none matches
by chance, and every link is read.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from jettison.model.digest import ALGORITHMS, BinaryDigest, Digest, binary_digest, digest_row
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.table import BlobTable, DigestTable
from jettison.storage.objects.tags import TagListing, TagTable
from jettison.storage.protocol import LinkKind, Stamp

__all__ = ["PARTS", "SOUND", "Listing", "RepositoryListing", "is_sound", "link_tag"]

SOUND: Final = 1
"""The number of a link in a table that needs not be read."""

_BLOBS: Final = f"{layout.BLOBS}/"
_REPOSITORIES: Final = f"{layout.REPOSITORIES}/"
PARTS: Final = ("_layers", "_manifests", "_uploads")
"""What a repository has in it, beside others whose names begin with its own."""
_NOTHING_TAKEN: Final[Mapping[str, Stamp]] = {}
_TOP: Final = frozenset({layout.BLOBS, layout.REPOSITORIES})
_TAGS: Final = ["_manifests", "tags"]
_TAG_DEPTH: Final = 3
_BLOB_DEPTH: Final = 4
_LINK_DEPTH: Final = 3
_FILES: Final = frozenset({"data", layout.LINK, "startedat"})
"""What has a name of its own in a tree; the rest of what is empty looks like a folder."""
_LINK_SIZES: Final = frozenset(len(name) + 1 + length for name, length in ALGORITHMS.items())
_ENDING: Final = -len("/link")
_BEGIN: Final = _ENDING - ALGORITHMS["sha256"]
"""Where the digest is in the key of a link, and of a blob, if it is one of sha256."""
_LINKED: Final = {
    "_layers/sha256/": LinkKind.LAYER,
    "_manifests/revisions/sha256/": LinkKind.REVISION,
}
_LINKED_ENDINGS: Final = tuple(f"/{folder}" for folder in _LINKED)
_GROUP: Final = re.compile(rf"{re.escape(layout.BLOBS)}/sha256/([0-9a-f]{{2}})/")


def is_sound(entry: Entry, digest: BinaryDigest) -> bool:
    """Whether the ETag of a link, and its size, are those of a link to a digest."""
    return _holds(entry, Digest.from_binary(digest))


def _holds(entry: Entry, link: str) -> bool:
    return entry.size == len(link) and entry.e_tag == _tag_of(link)


def _is_folder(parts: list[str], entry: Entry) -> bool:
    """Whether an object is empty and named as a folder of the tree: nothing is in it, or lost.

    A console makes such an object, and whatever copies a tree with its folders into a bucket. The
    slash at the end of its key is not told.
    """
    return not entry.size and parts[-1] not in _FILES and not parts[-1].endswith(".tmp")


def link_tag(digest: BinaryDigest) -> str:
    """Return the ETag of a link to a digest, put in one piece and not encrypted with a key."""
    return _tag_of(Digest.from_binary(digest))


def _tag_of(link: str) -> str:
    return hashlib.md5(link.encode(), usedforsecurity=False).hexdigest()


def _folder_of(entry: Entry) -> str:
    """Return the folder of a link or a blob, and of anything else some part of its key."""
    return entry.key[:_BEGIN]


class _Digests(NamedTuple):
    """Digests of sha256: the hex of each, and all of them concatenated."""

    encoded: list[str]
    row: bytes


def _digests_of(entries: Sequence[Entry], ending: str, begin: str = "") -> _Digests | None:
    """Return the digests of links or blobs of one folder; None if one is named otherwise."""
    encoded = [entry.key[_BEGIN:_ENDING] for entry in entries]
    if not all(entry.key.endswith(ending) for entry in entries):
        return None
    row = digest_row(encoded) if all(one.startswith(begin) for one in encoded) else None
    return None if row is None else _Digests(encoded, row)


class RepositoryListing:
    """What is in a repository.

    ``links`` are the links by kind, the number :data:`SOUND` or 0. ``emptied`` are digests that
    have a place without a link, and when something was last written there. ``strays`` are the
    objects that are nothing of a registry's, ``uploads`` those of each upload.
    """

    def __init__(self) -> None:
        self.links = {kind: DigestTable("b") for kind in LinkKind}
        self.emptied: dict[LinkKind, dict[BinaryDigest, Stamp]] = {kind: {} for kind in LinkKind}
        self.misnamed: dict[LinkKind, list[Entry]] = {kind: [] for kind in LinkKind}
        self.tags = TagTable()
        self.uploads: dict[str, list[Entry]] = {}
        self.strays: list[Entry] = []
        self.parts: set[str] = set()
        self.newest = Stamp(0)

    def settle(self) -> None:
        """Put in order what was added."""
        for kind, table in self.links.items():
            table.settle()
            self.emptied[kind] = {d: s for d, s in self.emptied[kind].items() if d not in table}
        revisions = self.links[LinkKind.REVISION] if self.tags.is_open() else ()
        self.tags.settle({link_tag(digest): digest for digest in revisions})

    def add_taken(self, parts: list[str], entry: Entry) -> None:
        """Add a link that a sweep has taken: its place is still there, as on a disk."""
        self.parts.add(parts[0])
        below = parts[1:] if parts[0] == "_layers" else parts[2:]
        digest = binary_digest(*below[:2]) if len(below) > 1 else None
        if digest is not None and parts[:2] != ["_manifests", "tags"]:
            kind = LinkKind.LAYER if parts[0] == "_layers" else LinkKind.REVISION
            self.emptied[kind][digest] = entry.stamp

    # Adding what a key says; ``parts`` are those below the repository.

    def add(self, parts: list[str], entry: Entry) -> None:
        """Add an object."""
        self.parts.add(parts[0])
        self.newest = max(self.newest, entry.stamp)
        is_tag = parts[:2] == _TAGS and len(parts) == _TAG_DEPTH  # as on a disk: without a link
        if _is_folder(parts, entry) and not is_tag:
            return
        match parts:
            case ["_layers", *below]:
                self._add_link(LinkKind.LAYER, below, entry)
            case ["_manifests", "revisions", *below]:
                self._add_link(LinkKind.REVISION, below, entry)
            case ["_manifests", "tags", tag, *below]:
                found = self.tags.get(tag) or TagListing()
                self._add_to_tag(found, below, entry)
                # The same names are in many repositories.
                self.tags.put(sys.intern(tag), found)
            case ["_uploads", upload, *_]:
                self.uploads.setdefault(upload, []).append(entry)
            case _:
                self._add_stray(entry)

    def add_links(self, folder: str, entries: Sequence[Entry]) -> bool:
        """Add the links of a folder if they are usual ones; whether they are."""
        kind = _LINKED.get(folder)
        digests = _digests_of(entries, f"/{layout.LINK}")
        if kind is None or digests is None:
            return False
        sound = [
            SOUND if _holds(entry, f"sha256:{encoded}") else 0
            for entry, encoded in zip(entries, digests.encoded, strict=True)
        ]
        stamps = [entry.stamp for entry in entries]
        self.links[kind].add_row(digests.row, stamps, sound)
        self.parts.add(folder.partition("/")[0])
        self.newest = max(self.newest, *stamps)
        return True

    def _add_link(self, kind: LinkKind, below: list[str], entry: Entry) -> None:
        digest = binary_digest(*below[:2]) if len(below) > 1 else None
        if digest is None:
            if len(below) == _LINK_DEPTH and below[-1] == layout.LINK:
                self.misnamed[kind].append(entry)
            self._add_stray(entry)
        elif below[2:] == [layout.LINK]:
            sound = SOUND if is_sound(entry, digest) else 0
            self.links[kind].add(digest, entry.stamp, sound)
        else:
            emptied = self.emptied[kind]
            emptied[digest] = max(emptied.get(digest, Stamp(0)), entry.stamp)
            self._add_stray(entry)

    def _add_to_tag(self, tag: TagListing, below: list[str], entry: Entry) -> None:
        match below:
            case ["current", layout.LINK]:
                tag.add_link(entry.stamp, entry.e_tag if entry.size in _LINK_SIZES else None)
                return
            case ["index", algorithm, encoded, layout.LINK]:
                digest = binary_digest(algorithm, encoded)
                if digest is not None:
                    sound = entry.e_tag if is_sound(entry, digest) else None
                    tag.add_history(digest, entry.stamp, sound)
                    return
                tag.strange = (*tag.strange, entry.key)
            case ["index", *_] if entry.size:
                tag.strange = (*tag.strange, entry.key)
        self._add_stray(entry)

    def _add_stray(self, entry: Entry) -> None:
        self.strays.append(entry)


class Listing:
    """What is in a bucket; the number of a blob is its size in bytes.

    ``drafts`` are the objects in a blob's place other than its content. ``names`` are those of
    objects that look like folders, among repositories. ``made`` is when the listing had ended.
    """

    def __init__(self) -> None:
        self.made = Stamp(0)
        self.blobs = BlobTable()
        self.drafts: dict[BinaryDigest, list[Entry]] = {}
        self.repositories: dict[str, RepositoryListing] = {}
        self.names: dict[str, Stamp] = {}
        self.strays: list[Entry] = []
        self._last = "", RepositoryListing()
        """What the keys of the last repository begin with, and that repository."""

    def add(self, entries: Iterable[Entry], taken: Mapping[str, Stamp] = _NOTHING_TAKEN) -> None:
        """Add objects; those that are ``taken``, and were not written again, are out of sight.

        Nearly all are links and blobs, and those of one folder come in a row.
        """
        for folder, together in groupby(entries, key=_folder_of):
            row = list(together)
            if taken:
                self.add_hidden((e.key, e.stamp) for e in row if taken.get(e.key) == e.stamp)
                row = [entry for entry in row if taken.get(entry.key) != entry.stamp]
            if not self._add_row(folder, row):
                for entry in row:
                    self._add(entry)

    def add_hidden(self, taken: Iterable[tuple[str, Stamp]]) -> None:
        """Add the places of links that a sweep has taken, by key, with their times."""
        for key, stamp in taken:
            if key.startswith(_REPOSITORIES):
                self._add_to_repository(Entry(key, 0, stamp, ""), taken=True)

    def settle(self, now: Stamp) -> None:
        """Put in order what was added; the listing has ended at ``now``.

        By the store's own clock it may have been later.
        """
        self.blobs.settle()
        for repository in self.repositories.values():
            repository.settle()
        self.made = max([now, *(one.newest for one in self.repositories.values())])

    def _add_row(self, folder: str, entries: Sequence[Entry]) -> bool:
        """Add the links or blobs of a folder if they are usual ones; whether they are."""
        group = _GROUP.fullmatch(folder)
        if group is not None:
            digests = _digests_of(entries, "/data", group[1])
            if digests is not None:
                sizes = [entry.size for entry in entries]
                self.blobs.add_row(digests.row, [entry.stamp for entry in entries], sizes)
            return digests is not None
        if entries and folder.startswith(_REPOSITORIES) and folder.endswith(_LINKED_ENDINGS):
            found = self._repository_of(folder)
            return found is not None and found[0].add_links("/".join(found[1]), entries)
        return False

    def _add(self, entry: Entry) -> None:
        key = entry.key
        if key.startswith(_BLOBS):
            self._add_blob(key[len(_BLOBS) :].split("/"), entry)
        elif key.startswith(_REPOSITORIES):
            self._add_to_repository(entry)
        elif entry.size or key not in _TOP:
            self.strays.append(entry)

    def _add_blob(self, parts: list[str], entry: Entry) -> None:
        if len(parts) < _BLOB_DEPTH and _is_folder(parts, entry):
            return
        digest = None
        if len(parts) >= _BLOB_DEPTH - 1 and parts[2].startswith(parts[1]):
            digest = binary_digest(parts[0], parts[2])
        if digest is None:
            self.strays.append(entry)
        elif parts[3:] == ["data"]:
            self.blobs.add(digest, entry.stamp, entry.size)
        else:
            self.drafts.setdefault(digest, []).append(entry)

    def _add_to_repository(self, entry: Entry, *, taken: bool = False) -> None:
        found = self._repository_of(entry.key)
        if found is not None:
            repository, parts = found
            (repository.add_taken if taken else repository.add)(parts, entry)
        elif entry.size == 0:
            self.names[entry.key[len(_REPOSITORIES) :]] = entry.stamp
        else:
            self.strays.append(entry)

    def _repository_of(self, key: str) -> tuple[RepositoryListing, list[str]] | None:
        """Return the repository that a key is in, and the parts that the key has below it."""
        above, found = self._last
        if key.startswith(above):
            parts = key[len(above) :].split("/")
            if parts[0] in PARTS:
                return found, parts
        parts = key[len(_REPOSITORIES) :].split("/")
        for place, part in enumerate(parts):
            if part in PARTS and place:
                name = "/".join(parts[:place])
                found = self.repositories.get(name) or RepositoryListing()
                self.repositories[name] = found
                self._last = f"{_REPOSITORIES}{name}/", found
                return found, parts[place:]
        return None
