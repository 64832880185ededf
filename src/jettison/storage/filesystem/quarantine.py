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
from itertools import groupby
from typing import Final, NamedTuple, Self

from jettison.errors import StorageError
from jettison.model.digest import ALGORITHMS, BinaryDigest, Digest, binary_digest
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import BlockedError, Folder, UnusableError
from jettison.storage.filesystem.removing import TreeRemover
from jettison.storage.protocol import LinkKind, Outcome, Place, Stamp, outcomes_of

__all__ = ["AsideBlob", "LinkGroup", "LinkQuarantine", "Quarantine", "seeing_quarantine"]

_MOST_NOTED: Final = 100_000
_LINE: Final = 136


class AsideBlob(NamedTuple):
    """A blob that lies aside: when it was written or touched, and if a hard link shows it too."""

    stamp: Stamp
    shared: bool


class Quarantine:
    """The place beside the registry, in a ``with`` block, by whoever holds the tree's lock."""

    def __init__(self, tree: TreeRemover) -> None:
        self._tree = tree
        self._folders: dict[int, Folder] = {}
        self._beside: set[BinaryDigest] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders.values():
            folder.close()
        self._folders.clear()

    def has_room(self) -> bool:
        """Whether blobs can be set aside in a folder; a full disk has no room even for that."""
        return self._folder(32) is not None

    def put(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Move blobs out of the registry's sight; False for one that was not there.

        Nothing behind a link is moved.
        """
        top = self._tree.blobs_folder
        if top is None:
            return [False] * len(digests)
        found: list[Outcome] = []
        for length, some in groupby(digests, key=len):
            group = list(some)
            target, names = self._folder(length), [digest.hex() for digest in group]
            if target is None:
                target, names = self._tree.root_folder, list(map(self._name_beside, group))
                self._beside.update(group)
            found += top.move_each(list(map(layout.blob_file, group)), target, names)
        return found

    def look(self, digests: Sequence[BinaryDigest]) -> list[AsideBlob | None]:
        """Look at blobs that lie aside; None where none does."""
        found: list[AsideBlob | None] = []
        for folder, names in self._places(digests):
            looks = [None] * len(names) if folder is None else folder.look_each(names)
            found += [
                None if look is None else AsideBlob(Stamp(look.st_mtime_ns), look.st_nlink > 1)
                for look in looks
            ]
        return found

    def remove(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Remove blobs that lie aside, for good; False where none does."""
        found: list[Outcome] = []
        for folder, names in self._places(digests):
            found += [False] * len(names) if folder is None else folder.unlink_each(names)
        return found

    def remove_places(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Remove the folders that blobs came from, if nothing is in them; whether each is gone."""
        top = self._tree.blobs_folder
        if top is None:
            return [False] * len(digests)
        return top.remove_each_if_empty(
            [layout.blob_file(digest).removesuffix("/data") for digest in digests]
        )

    def put_back(self, digest: BinaryDigest) -> bool:
        """Undo :meth:`put`; False if a push has brought the blob again meanwhile."""
        [(folder, [name])] = self._places([digest])
        if folder is None or folder.look(name) is None:
            return False
        long = Digest.from_binary(digest)
        path = layout.blob_data(long)
        self._tree.make_folder_of(path)
        place = self._tree.folder(layout.blob(long))
        if place is None:
            raise StorageError(f"cannot put back {self._tree.path(path)}: its folder is gone")
        with place:
            return folder.give_back(name, place, "data")

    def put_back_each(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Undo :meth:`put` for blobs; what fails has its error."""
        return outcomes_of(self.put_back, digests)

    def digests(self) -> Iterator[BinaryDigest]:
        """Yield the blobs that lie aside, of a sweep that goes on or of one that was killed."""
        for algorithm in ALGORITHMS:
            folder = self._tree.folder(f"{layout.SET_ASIDE}/{algorithm}")
            if folder is None:
                continue
            with folder:
                names = [entry.name for entry in folder.entries()]
            for name in names:
                digest = binary_digest(algorithm, name)
                if digest is not None:
                    yield digest
        for entry in self._tree.root_folder.entries():
            if entry.name.startswith(layout.QUARANTINE_PREFIX):
                algorithm, _, encoded = entry.name.removeprefix(layout.QUARANTINE_PREFIX).partition(
                    "-"
                )
                digest = binary_digest(algorithm, encoded)
                if digest is not None:
                    self._beside.add(digest)
                    yield digest

    def _places(self, digests: Sequence[BinaryDigest]) -> Iterator[tuple[Folder | None, list[str]]]:
        """Yield where blobs lie: a folder, and their names in it, in the order given."""
        for beside, some in groupby(digests, key=self._beside.__contains__):
            if beside:
                yield self._tree.root_folder, list(map(self._name_beside, some))
                continue
            for length, these in groupby(some, key=len):
                yield self._folder(length), [digest.hex() for digest in these]

    def _name_beside(self, digest: BinaryDigest) -> str:
        long = Digest.from_binary(digest)
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


@contextmanager
def seeing_quarantine(tree: TreeRemover) -> Iterator[frozenset[BinaryDigest]]:
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

    def __init__(self, tree: TreeRemover) -> None:
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

    def take(self, links: Sequence[tuple[Digest, Stamp | None]]) -> list[Outcome]:
        """Take links out of the registry's sight; False for one that was not there.

        With a stamp also for one that has another: it goes back.
        """
        folder, asides = self._folder, [_aside(digest.hex) for digest, _ in links]
        taken = folder.move_each(
            [f"{digest.hex}/{layout.LINK}" for digest, _ in links], folder, asides
        )
        stamps = self.taken([digest for digest, _ in links])
        for at, (digest, stamp) in enumerate(links):
            if taken[at] is True and stamp is not None and stamps[at] != stamp:
                self.put_back(digest)
                taken[at] = False
        return taken

    def taken(self, digests: Sequence[Digest]) -> list[Stamp | None]:
        """Return when links that lie aside were written, None where none does."""
        looks = self._folder.look_each([_aside(digest.hex) for digest in digests])
        return [None if look is None else Stamp(look.st_mtime_ns) for look in looks]

    def put_back(self, digest: Digest) -> bool:
        """Undo :meth:`take`; False if none lies aside, or it was written again."""
        return _put_back(self._folder, digest.hex)

    def put_back_each(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Undo :meth:`take` for links; what fails has its error."""
        return outcomes_of(self.put_back, digests)

    def remove(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Remove links that lie aside, for good; False where none does."""
        return self._folder.unlink_each([_aside(digest.hex) for digest in digests])

    def remove_places(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Remove the folders of links if nothing is in them; whether each is gone."""
        return self._folder.remove_each_if_empty([digest.hex for digest in digests])


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
