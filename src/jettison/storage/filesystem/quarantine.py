"""What a sweep is about to remove: out of the registry's sight, and not gone yet.

A blob's file is renamed into ``jettison/aside/<algorithm>/``, and either renamed back or removed.
On a full disk, where not even a folder can be made, it is renamed into the root directory itself.
A link is renamed within its own folder, which is quick, works on a full disk, and tells where it
belongs; as long as there are any, a file ``jettison/links-aside`` is there.

Whatever was renamed is looked at afterwards, when nobody finds it any more. So what a push writes
or touches at the last moment is seen and goes back, wherever between two system calls it comes.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from jettison.errors import StorageError
from jettison.model.digest import ALGORITHMS, Digest, RawDigest, raw_digest
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import BlockedError, Folder, UnusableError, storage_errors
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.protocol import LinkKind, Place, Stamp

__all__ = ["AsideBlob", "LinkGroup", "LinkQuarantine", "Quarantine", "seeing_quarantine"]

_MOST_NOTED: Final = 100_000
_LINE: Final = 136


class AsideBlob(NamedTuple):
    """A blob that lies aside: when it was written or touched, and if a hard link shows it too."""

    stamp: Stamp
    shared: bool


class Quarantine:
    """The place beside the registry, in a ``with`` block, by whoever holds the tree's lock.

    Quickest in the order of the digests: the folder of the last blob is held open.
    """

    def __init__(self, tree: StorageTree) -> None:
        self._tree = tree
        self._folders: dict[int, Folder] = {}
        self._beside: set[RawDigest] = set()
        self._near: Folder | None = None
        self._near_path = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in (self._near, *self._folders.values()):
            if folder is not None:
                folder.close()
        self._near = None
        self._folders.clear()

    def has_room(self) -> bool:
        """Whether blobs can be set aside in a folder; a full disk has no room even for that."""
        return self._folder(32) is not None

    def put(self, digest: RawDigest) -> bool:
        """Move a blob out of the registry's sight; False if it was not there."""
        near = self._blobs_near(digest)
        encoded = digest.hex()
        # Listed as a folder, and perhaps replaced since: nothing behind a link is moved.
        if near is None or not near.is_folder(encoded):
            return False
        target, name = self._folder(len(digest)), encoded
        if target is None:
            target, name = self._tree.root_folder, self._name_beside(digest)
            self._beside.add(digest)
        with storage_errors("move aside", f"{near.path}/{encoded}/data"):
            return near.move(f"{encoded}/data", target, name)

    def look(self, digest: RawDigest) -> AsideBlob | None:
        """Look at a blob that lies aside; None if none does."""
        folder, name = self._place(digest)
        found = None if folder is None else folder.look(name)
        return None if found is None else AsideBlob(Stamp(found.st_mtime_ns), found.st_nlink > 1)

    def remove(self, digest: RawDigest) -> bool:
        """Remove a blob that lies aside, for good, and the folder that it came from."""
        folder, name = self._place(digest)
        removed = folder is not None and folder.unlink(name)
        near = self._blobs_near(digest)
        if near is not None:
            near.remove_if_empty(digest.hex())
        return removed

    def put_back(self, digest: RawDigest) -> bool:
        """Undo :meth:`put`; False if a push has brought the blob again meanwhile."""
        folder, name = self._place(digest)
        if folder is None or folder.look(name) is None:
            return False
        long = Digest.from_raw(digest)
        path = layout.blob_data(long)
        self._tree.make_folder_of(path)
        self._forget_near()
        place = self._tree.folder(layout.blob(long))
        if place is None:
            raise StorageError(f"cannot put back {self._tree.path(path)}: its folder is gone")
        with place:
            return folder.give_back(name, place, "data")

    def digests(self) -> Iterator[RawDigest]:
        """Yield the blobs that lie aside, of a sweep that goes on or of one that was killed."""
        for algorithm in ALGORITHMS:
            folder = self._tree.folder(f"{layout.SET_ASIDE}/{algorithm}")
            if folder is None:
                continue
            with folder:
                names = [entry.name for entry in folder.entries()]
            for name in names:
                digest = raw_digest(algorithm, name)
                if digest is not None:
                    yield digest
        for entry in self._tree.root_folder.entries():
            if entry.name.startswith(layout.BESIDE):
                algorithm, _, encoded = entry.name.removeprefix(layout.BESIDE).partition("-")
                digest = raw_digest(algorithm, encoded)
                if digest is not None:
                    self._beside.add(digest)
                    yield digest

    def _place(self, digest: RawDigest) -> tuple[Folder | None, str]:
        if digest in self._beside:
            return self._tree.root_folder, self._name_beside(digest)
        return self._folder(len(digest)), digest.hex()

    def _name_beside(self, digest: RawDigest) -> str:
        long = Digest.from_raw(digest)
        return layout.beside(f"{long.algorithm}-{long.hex}")

    def _folder(self, length: int) -> Folder | None:
        """Return the folder for digests of so many bytes, made if there is room for it."""
        if length not in self._folders:
            algorithm = {size // 2: name for name, size in ALGORITHMS.items()}[length]
            path = f"{layout.SET_ASIDE}/{algorithm}"
            if not self._tree.make_folder_if_room(path):
                return None
            folder = self._tree.folder(path)
            if folder is None:
                message = f"{self._tree.path(path)} is in the way of what is set aside"
                raise StorageError(message, hint="Remove it; it is no part of a registry.")
            self._folders[length] = folder
        return self._folders[length]

    def _blobs_near(self, digest: RawDigest) -> Folder | None:
        """Open the folder that a blob's own folder is in, or have it open already."""
        path = layout.blob_file(digest).rpartition("/")[0].rpartition("/")[0]
        if path != self._near_path:
            self._forget_near()
            top = self._tree.blobs_folder
            try:
                self._near = None if top is None else top.open(path)
            except BlockedError:
                self._near = None
            self._near_path = path
        return self._near

    def _forget_near(self) -> None:
        if self._near is not None:
            self._near.close()
        self._near, self._near_path = None, ""


@contextmanager
def seeing_quarantine(tree: StorageTree) -> Iterator[frozenset[RawDigest]]:
    """Let what lies aside be seen in its place, and yield the blobs of it."""
    with Quarantine(tree) as aside:
        tree.aside = frozenset(aside.digests())
    tree.links_aside = LinkQuarantine(tree).any_left
    try:
        yield tree.aside
    finally:
        tree.aside, tree.links_aside = frozenset(), False


class LinkQuarantine:
    """Links that lie beside their places, for whoever holds the tree's lock."""

    def __init__(self, tree: StorageTree) -> None:
        self._tree = tree

    def begin(self, unlinked: Sequence[Digest] = ()) -> None:
        """Leave word that links are taken, for whoever comes after this process is killed.

        ``unlinked`` are the blobs that are to go with them: they lose their links on purpose.
        """
        self.end()  # of one before, whose links are back
        known = unlinked if len(unlinked) <= _MOST_NOTED else ()
        with contextlib.suppress(StorageError):  # a disk that is too full
            self._tree.write(layout.LINKS_ASIDE, "\n".join(known).encode())

    def unlinked(self) -> list[Digest]:
        """Return the blobs that a sweep that did not come to its end was to remove."""
        try:
            raw = self._tree.root_folder.read(layout.LINKS_ASIDE, _MOST_NOTED * _LINE)
        except UnusableError:
            return []
        found = (
            layout.digest_of(*line.partition(":")[::2])
            for line in (raw or b"").decode("latin-1").split("\n")
        )
        return [digest for digest in found if digest is not None]

    def end(self) -> None:
        """Take that back: none lies aside any more."""
        self._tree.unlink(layout.LINKS_ASIDE)

    @property
    def any_left(self) -> bool:
        """Whether links may lie aside, of a sweep that goes on or of one that was killed."""
        return self._tree.mtime(layout.LINKS_ASIDE) is not None

    def group(self, kind: LinkKind, repository: str, algorithm: str) -> "LinkGroup | None":
        """Open the folder of the links of a kind; None if it is not there."""
        return self._open(self._tree.places.links(kind, repository, algorithm))

    def history(self, repository: str, tag: str, algorithm: str) -> "LinkGroup | None":
        """Open the folder of a tag's history; None if it is not there."""
        return self._open(self._tree.places.history(repository, tag, algorithm))

    def _open(self, place: Place) -> "LinkGroup | None":
        folder = self._tree.folder(place)
        return None if folder is None else LinkGroup(folder, place)

    def recover(self) -> None:
        """Put back all that a killed sweep has left aside, wherever it is."""
        found = self._tree.scan_repositories()
        for name in (*found.names, *found.misnamed):
            top = self._tree.folder(layout.repository(name))
            if top is not None:
                with top:
                    for inner in (layout.LAYERS, layout.REVISIONS):
                        self._recover(top, inner)
                    for tag in _inside(top, layout.TAGS):
                        self._recover(top, f"{layout.TAGS}/{tag}/index")
        self.end()

    def _recover(self, top: Folder, inner: str) -> None:
        for algorithm in ALGORITHMS:
            with contextlib.suppress(BlockedError):
                folder = top.open(f"{inner}/{algorithm}")
                if folder is not None:
                    with folder:
                        for encoded in folder.folders()[0]:
                            if folder.time(_aside(encoded)) is not None:
                                _put_back(folder, encoded)


class LinkGroup:
    """The folder that links' own folders are in, held open, in a ``with`` block."""

    def __init__(self, folder: Folder, place: Place) -> None:
        self._folder = folder
        self._place = place

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()

    def place(self, digest: Digest) -> Place:
        """Return the path of a link."""
        return Place(f"{self._place}/{digest.hex}/{layout.LINK}")

    def stamp(self, digest: Digest) -> Stamp | None:
        """Return when a link was written, None if it is not in its place."""
        return _stamp(self._folder.time(f"{digest.hex}/{layout.LINK}"))

    def take(self, digest: Digest, stamp: Stamp | None = None) -> bool:
        """Take a link out of the registry's sight; False if it was not there.

        Also False for one that has another stamp than it should have: it goes back.
        """
        folder, encoded = self._folder, digest.hex
        with storage_errors("move aside", f"{folder.path}/{encoded}"):
            if not folder.move(f"{encoded}/{layout.LINK}", folder, _aside(encoded)):
                return False
        if stamp is None or folder.time(_aside(encoded)) == stamp:
            return True
        self.put_back(digest)
        return False

    def taken(self, digest: Digest) -> Stamp | None:
        """Return when a link that lies aside was written, None if none does."""
        return _stamp(self._folder.time(_aside(digest.hex)))

    def put_back(self, digest: Digest) -> bool:
        """Undo :meth:`take`; False if none lies aside, or it was written again."""
        return _put_back(self._folder, digest.hex)

    def remove(self, digest: Digest) -> bool:
        """Remove a link that lies aside, for good; False if none does."""
        return self._folder.unlink(_aside(digest.hex))

    def remove_place(self, digest: Digest) -> bool:
        """Remove the folder of a link if nothing is in it; whether it is gone."""
        return self._folder.remove_if_empty(digest.hex)


def _put_back(folder: Folder, encoded: str) -> bool:
    return folder.give_back(_aside(encoded), folder, f"{encoded}/{layout.LINK}")


def _stamp(time: int | None) -> Stamp | None:
    return None if time is None else Stamp(time)


def _inside(top: Folder, inner: str) -> list[str]:
    with contextlib.suppress(BlockedError):
        folder = top.open(inner)
        if folder is not None:
            with folder:
                return folder.folders()[0]
    return []


def _aside(encoded: str) -> str:
    return f"{encoded}/{layout.ASIDE_LINK}"
