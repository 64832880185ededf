"""Reading a storage tree: listings and links, without following a symbolic link to anywhere.

Listings take their facts from the folder itself (names and kinds) and look at single files only
where asked. An entry that vanishes meanwhile is skipped and never ends a listing (defect 2). What
cannot be understood is returned as a :class:`Problem`, so that a caller can protect what it might
stand for (decision 0002); what cannot be *listed* raises, because nobody knows what it hides.

Digests are raw here: a tree has millions of them.
"""

import contextlib
import hashlib
import os
import stat
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from jettison.errors import InvalidManifest, InvalidName, StorageError
from jettison.model.digest import ALGORITHMS, BinaryDigest, Digest, binary_digest, in_a_row
from jettison.model.manifest_references import References, references_of
from jettison.model.names import RepoName
from jettison.storage.filesystem import layout, native
from jettison.storage.filesystem.beneath import open_beneath
from jettison.storage.filesystem.folder import (
    SETTLED_NS,
    BlockedError,
    Folder,
    UnusableError,
    storage_errors,
)
from jettison.storage.filesystem.native import Look
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.protocol import (
    Absence,
    Blob,
    Features,
    LinkKind,
    Problem,
    Protects,
    Repositories,
    Stamp,
    make_problem,
)

__all__ = [
    "SETTLED_NS",
    "InnerFolders",
    "TreeReader",
    "arrival",
    "is_leftover",
]

LARGEST_MANIFEST: Final = 64 * 1024 * 1024
"""In bytes; Distribution accepts 4 MiB. Anything larger is no manifest and is not read."""

_USUAL_MANIFEST: Final = 8192
_AT_ONCE: Final = 256
_MARKS: Final = frozenset({"_layers", "_manifests", "_uploads"})
_FOLLOWED_NOT: Final = "is a symbolic link, which is not followed; what is behind it is left alone"
_RAW_LENGTH: Final = 32


class InnerFolders(NamedTuple):
    """A folder below ``repositories/``, and when it changed.

    ``below`` are the folders in it that may be repositories, or hold some, in reversed order: each
    by its name, and once more with a slash for what is in it.
    """

    changed: int
    is_repository: bool
    below: list[str]


_PLACES: Final = TreePlaces()
_NO_FOLDERS: Final = InnerFolders(0, is_repository=False, below=[])


def _is_name(text: str) -> bool:
    try:
        RepoName(text)
    except InvalidName:
        return False
    return True


class TreeReader:
    """Reads the storage tree at ``root``.

    ``absence`` says what may lawfully be absent. ``aside`` are blobs, and ``links_aside`` says
    that there may be links, to be taken for what they are in their places: a collection has set
    them aside and the next one will put them back.

    Paths taken and given are those of :mod:`jettison.storage.filesystem.layout`. Permission and
    hardware errors raise :class:`~jettison.errors.StorageError` with the path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.absence = Absence.NOTHING
        self.aside: frozenset[BinaryDigest] = frozenset()
        self.links_aside = False
        self._prefix = f"{root}/"
        self._root = Folder.root(root)
        self._blobs: Folder | None = None
        self._repositories: Folder | None = None
        self._scanned: tuple[Repositories, dict[str, int]] | None = None
        self._opened = [self._root.descriptor]
        weakref.finalize(self, _close_all, self._opened)

    @property
    def location(self) -> str:
        """The root directory, for messages, and to open it again."""
        return str(self.root)

    @property
    def features(self) -> Features:
        """All that a storage can do."""
        return Features()

    @property
    def places(self) -> TreePlaces:
        """The paths of things, relative to the root."""
        return _PLACES

    def path(self, relative: str) -> str:
        """Return the full path of something in the tree."""
        return self._prefix + relative

    def keeps_removed(self) -> bool:
        """Whether what is removed stays, hidden: no."""
        return False

    def free_bytes(self) -> int:
        """Return how many bytes are free on the file system, for those who are not root."""
        with storage_errors("look at", self.root):
            found = os.statvfs(self._root.descriptor)
        return found.f_bavail * found.f_frsize

    @property
    def root_folder(self) -> Folder:
        """The root directory, held open."""
        return self._root

    def folder(self, relative: str) -> Folder | None:
        """Open a folder of the tree; None if it is not there, or something else is."""
        try:
            return self._root.open(relative)
        except BlockedError:
            return None

    def relative(self, path: str) -> str:
        """Return a full path as one relative to the root."""
        return path.removeprefix(self._prefix)

    # Repositories.

    def look_again(self) -> None:
        """Do nothing: all is answered as it is."""

    def scan_repositories(self) -> Repositories:
        """Walk ``repositories/`` without descending into any; nested ones are found too.

        Where no folder has changed since the last walk, its folders are only looked at.
        """
        known = self._scanned
        if known is None or not self._are_unchanged(known[1]):
            times: dict[str, int] = {}
            self._scanned = known = (self._scan_repositories(times), times)
        found = known[0]
        return Repositories(
            list(found.names), list(found.misnamed), list(found.empty), list(found.problems)
        )

    def _are_unchanged(self, times: Mapping[str, int]) -> bool:
        if not times or min(times.values()) < 0:
            return False
        paths = [f"{layout.REPOSITORIES}/{name}".rstrip("/") for name in times]
        looks = self._root.look_each(paths)
        return all(
            look is not None and look.st_mtime_ns == then
            for look, then in zip(looks, times.values(), strict=True)
        )

    def _scan_repositories(self, times: dict[str, int]) -> Repositories:
        found = Repositories([], [], [], [])
        todo = [""]
        while todo:
            name = todo.pop()
            folder = self._repository_folder(name, found.problems)
            if folder is None:
                continue
            with folder:
                times[name] = folder.settled_time()
                names, others = folder.folders()
            is_repository = not _MARKS.isdisjoint(names)
            prefix = f"{name}/" if name else ""
            todo += [f"{prefix}{inner}" for inner in names if not inner.startswith("_")]
            for entry in others:
                if entry.is_symlink() and entry.name not in _MARKS:
                    found.problems.append(self._blind(f"{prefix}{entry.name}"))
                is_repository |= entry.name in _MARKS
            if not name:
                continue
            if not is_repository:
                if not names and not others:
                    found.empty.append(name)
                continue
            try:
                found.names.append(RepoName(name))
            except InvalidName:
                found.misnamed.append(name)
        found.names.sort()
        return found

    def changes_each(self, names: Sequence[str], kind: LinkKind) -> list[tuple[Stamp, ...]]:
        """Return what :meth:`RepositoryReader.changes` says of each repository."""
        top, inner = self.repositories_folder, layout.KINDS[kind]
        if top is None:
            return [(Stamp(0),) * len(ALGORITHMS)] * len(names)
        paths = [f"{name}/{inner}/{algorithm}" for name in names for algorithm in ALGORITHMS]
        stamps = [Stamp(0 if look is None else look.st_mtime_ns) for look in top.look_each(paths)]
        settled = time.time_ns() - SETTLED_NS
        rows = zip(*[iter(stamps)] * len(ALGORITHMS), strict=True)
        return [row if max(row) < settled else () for row in rows]

    def are_linked(self, kind: LinkKind, pairs: Sequence[tuple[str, BinaryDigest]]) -> list[bool]:
        """Tell of each repository and digest whether there is a link of that kind."""
        top, inner = self.repositories_folder, layout.KINDS[kind]
        if top is None:
            return [False] * len(pairs)
        digests = [(name, Digest.from_binary(raw)) for name, raw in pairs]
        return [
            look is not None
            for look in top.look_each(
                [f"{name}/{inner}/{d.algorithm}/{d.hex}/{layout.LINK}" for name, d in digests]
            )
        ]

    def _repository_folder(self, name: str, problems: list[Problem]) -> Folder | None:
        try:
            return self._root.open(f"{layout.REPOSITORIES}/{name}".rstrip("/"))
        except BlockedError as error:
            if error.is_link:  # it was a folder when its parent was listed
                problems.append(self._blind(name))
            return None

    def _blind(self, name: str) -> Problem:
        path = f"{layout.REPOSITORIES}/{name}"
        message = "is a symbolic link, which is not followed: what is behind it is unknown"
        return make_problem(name, path, message, Protects.EVERYTHING)

    def repositories(self) -> list[RepoName]:
        """Return the names of all repositories, sorted."""
        return self.scan_repositories().names

    def walk_repositories(
        self, after: str = "", known: "dict[str, InnerFolders] | None" = None
    ) -> Iterator[str]:
        """Yield the repositories that have manifests, in lexical order, those behind ``after``.

        Only folders are read in which there may be one, and none ahead of what is asked for. Those
        in ``known`` are only looked at, as long as they do not change; it is brought up to date.
        """
        known = {} if known is None else known
        # A name is for a repository itself, one with a slash for all below it. In lexical order the
        # latter stand together, though app-2 stands between app and app/web.
        todo = list(self._inner_folders("", known).below)
        inner: dict[str, list[str]] = {}
        while todo:
            name = todo.pop()
            if name[-1] != "/":
                if name > after:
                    found = self._inner_folders(name, known)
                    if found.below:
                        inner[name] = found.below
                    if found.is_repository:
                        yield name
            elif name[:-1] > after:
                todo += inner.pop(name[:-1], ())
            elif name > after or after.startswith(name):
                todo += self._inner_folders(name[:-1], known).below

    def _inner_folders(self, name: str, known: "dict[str, InnerFolders]") -> "InnerFolders":
        """Return whether a folder is a repository with manifests, and what may be others in it."""
        top = self.repositories_folder
        if top is None:
            return _NO_FOLDERS
        found = known.get(name)
        if found is not None and found.changed == top.time(name or "."):
            return found
        try:
            folder = top.open(name or ".")
        except BlockedError:
            folder = None
        if folder is None:
            known.pop(name, None)
            return _NO_FOLDERS
        with folder:
            changed = folder.own_time()
            names, _ = folder.folders()
        prefix = f"{name}/" if name else ""
        inner = [f"{prefix}{one}" for one in names if not one.startswith("_")]
        below = sorted([*inner, *(f"{one}/" for one in inner)], reverse=True)
        found = InnerFolders(changed, "_manifests" in names and _is_name(name), below)
        if changed < time.time_ns() - SETTLED_NS:
            known[name] = found
        return found

    def name_stamp(self, name: str) -> Stamp | None:
        """Return when something was last made or removed in a folder of repositories."""
        found = self._root.time(layout.repository(name))
        return None if found is None else Stamp(found)

    def unseen_uploads(self) -> str | None:
        """Return None: all that there is of an upload is listed."""
        return None

    def has_repository(self, name: str) -> bool:
        """Whether there is a repository of this name (a folder with nested ones alone is none)."""
        folder = self.folder(layout.repository(name))
        if folder is None:
            return False
        with folder:
            return any(entry.name in _MARKS for entry in folder.entries())

    # Blobs.

    @property
    def blobs_folder(self) -> Folder | None:
        """The folder ``blobs/``, held open; None if there is none."""
        self._blobs = self._blobs or self._hold(layout.BLOBS)
        return self._blobs

    @property
    def repositories_folder(self) -> Folder | None:
        """The folder ``repositories/``, held open; None if there is none."""
        self._repositories = self._repositories or self._hold(layout.REPOSITORIES)
        return self._repositories

    def _hold(self, relative: str) -> Folder | None:
        folder = self.folder(relative)
        if folder is not None:
            self._opened.append(folder.descriptor)
        return folder

    def blob_groups(self, problems: list[Problem] | None = None) -> list[str]:
        """Return the folders that blobs' own folders are in, ``<algorithm>/<two digits>``, sorted.

        What is a symbolic link, or no folder, is left out, and noted in ``problems``.
        """
        noted = problems if problems is not None else []
        top = self.blobs_folder
        if top is None:
            return []
        return [
            f"{algorithm}/{prefix}"
            for algorithm in ALGORITHMS
            for prefix in self._inside(top, algorithm, noted)
        ]

    def blobs_in(self, group: str, problems: list[Problem] | None = None) -> list[BinaryDigest]:
        """Return the blobs that have a group in one of :meth:`blob_groups`, sorted.

        No blob is looked at. What has no digest's name is left out, and noted in ``problems``.
        """
        noted = problems if problems is not None else []
        top = self.blobs_folder
        if top is None:
            return []
        algorithm, _, prefix = group.partition("/")
        found, strange = self._digests_inside(top, group, algorithm, noted)
        # They are sorted, so the first and the last speak for all.
        if {digest[:1].hex() for digest in (*found[:1], *found[-1:])} - {prefix}:
            strange += [digest.hex() for digest in found if digest[:1].hex() != prefix]
            found = [digest for digest in found if digest[:1].hex() == prefix]
        for name in strange:
            if layout.is_foreign(name):
                continue  # a NAS or a desktop puts its own everywhere
            self._note(noted, f"{layout.BLOBS}/{group}/{name}", "is no blob's group")
        return found

    def _digests_inside(
        self, top: Folder, relative: str, algorithm: str, problems: list[Problem]
    ) -> tuple[list[BinaryDigest], list[str]]:
        """Return the sorted digests, and other names, of the folders in a folder of ``blobs/``."""
        if algorithm == "sha256":
            with contextlib.suppress(BlockedError):
                folder = top.open(relative)
                if folder is None:
                    return [], []
                with folder:
                    row = native.list_digests(folder.descriptor)
                if row is not None:
                    return sorted(in_a_row(row)), []
        return binary_digests(algorithm, self._inside(top, relative, problems))

    def group_change(self, group: str) -> int:
        """Return when a blob's folder was made or removed in a group (nanoseconds).

        -1 where that was so lately that its time does not tell what comes next.
        """
        top = self.blobs_folder
        changed = (0 if top is None else top.time(group)) or 0
        return changed if changed < time.time_ns() - SETTLED_NS else -1

    def changed_blob_groups(self, seen: dict[str, int]) -> Iterator[tuple[str, list[BinaryDigest]]]:
        """Yield those of :meth:`blob_groups` in which something was made or removed.

        ``seen`` (nanoseconds) are the times of the last call, and are brought up to date. A folder
        that changed a moment ago is yielded again next time: file systems keep time in ticks.
        """
        top = self.blobs_folder
        paths = self.blob_groups()
        looks = [None] * len(paths) if top is None else top.look_each(paths)
        for path, look in zip(paths, looks, strict=True):
            changed = 0 if look is None else look.st_mtime_ns
            settled = changed < time.time_ns() - SETTLED_NS
            if settled and seen.get(path) == changed:
                continue
            seen[path] = changed if settled else -1
            yield path, self.blobs_in(path)

    def _inside(self, top: Folder, relative: str, problems: list[Problem]) -> list[str]:
        """Return the sorted names of the folders in a folder of ``blobs/``."""
        try:
            folder = top.open(relative)
        except BlockedError as error:
            message = _FOLLOWED_NOT if error.is_link else "should be a folder, and is none"
            self._note(problems, self.relative(error.path), message)
            return []
        if folder is None:
            return []
        with folder:
            names, others = folder.folders()
        for entry in others:
            message = _FOLLOWED_NOT if entry.is_symlink() else "should be a folder, and is none"
            if not (is_leftover(entry) or _is_foreign(entry)):
                self._note(problems, f"{layout.BLOBS}/{relative}/{entry.name}", message)
        names.sort()
        return names

    def _note(self, problems: list[Problem], path: str, message: str) -> None:
        problems.append(make_problem(None, path, message, Protects.NOTHING))

    def blobs(self) -> Iterator[Blob]:
        """Yield every blob with its size and time, looking at each."""
        for folder in self.blob_groups():
            for blob in self.blobs_each(self.blobs_in(folder)):
                if blob is not None:
                    yield blob

    def blob(self, digest: BinaryDigest) -> Blob | None:
        """Return a blob's size and time, or None if there is none."""
        top = self.blobs_folder
        name = layout.blob_file(digest)
        found = None if top is None else top.look(name)
        if found is None and digest in self.aside:
            top = self._root
            names = layout.set_aside_names(digest)
            name = names[0] if top.look(names[0]) is not None else names[1]
            found = top.look(name)
        if top is None or found is None or not stat.S_ISREG(found.st_mode):
            return None
        kept = top.kept(name, found)
        return Blob(digest, found.st_size, Stamp(found.st_mtime_ns), arrival(found), kept)

    def blobs_each(self, digests: Sequence[BinaryDigest]) -> list[Blob | None]:
        """Return the size and time of each blob as :meth:`blob` does, quicker if there are many."""
        top = self.blobs_folder
        if top is None or self.aside:
            return list(map(self.blob, digests))
        names = list(map(layout.blob_file, digests))
        found: list[Blob | None] = []
        for digest, name, look in zip(digests, names, top.look_each(names), strict=True):
            if look is None or not stat.S_ISREG(look.st_mode):
                found.append(None)
            else:
                kept = top.kept(name, look)
                blob = Blob(digest, look.st_size, Stamp(look.st_mtime_ns), arrival(look), kept)
                found.append(blob)
        return found

    def sizes_each(
        self, digests: Sequence[BinaryDigest], *, readable: bool = False
    ) -> list[int | None]:
        """Return the size of each blob in bytes; with ``readable`` only if it can be read."""
        top = self.blobs_folder
        if top is None:
            return [None] * len(digests)
        if readable or not self.aside:
            sizes = top.blob_sizes(digests, readable=readable)
            if sizes is not None:
                return sizes
        found = [None if blob is None else blob.size for blob in self.blobs_each(digests)]
        if not readable:
            return found
        begun = top.read_each(list(map(layout.blob_file, digests)), 1)
        return [
            size if raw or (raw == b"" and not size) else None
            for size, raw in zip(found, begun, strict=True)
        ]

    def manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, References]]:
        """Yield what manifests reference, each with its digest, as :func:`references_of` says.

        Only those that are as manifests are: whole, of usual size, understood. What is the matter
        with the others :meth:`read_manifest` tells.
        """
        for some in self._whole_manifests(digests):
            yield from references_of_each(some)

    def whole_manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, bytes]]:
        """Yield the bytes of manifests that are whole and of usual size, each with its digest."""
        for some in self._whole_manifests(digests):
            yield from some

    def _whole_manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[list[tuple[BinaryDigest, bytes]]]:
        folder = self.blobs_folder
        if folder is None:
            return
        sha256 = hashlib.sha256
        todo = [digest for digest in digests if len(digest) == _RAW_LENGTH]
        for first in range(0, len(todo), _AT_ONCE):
            some = todo[first : first + _AT_ONCE]
            raws = folder.read_each(list(map(layout.blob_file, some)), _USUAL_MANIFEST)
            yield [
                (digest, raw)
                for digest, raw in zip(some, raws, strict=True)
                if raw is not None and sha256(raw, usedforsecurity=False).digest() == digest
            ]

    def read_manifest(self, digest: BinaryDigest) -> bytes | None:
        """Return a manifest's bytes, whatever they are, or None if there is no such blob.

        One that a sweep has set aside is there.

        Whether they have the digest is for the caller to see. Raises
        :class:`~jettison.errors.StorageError` for a file that cannot be read, or that is too
        large for any manifest.
        """
        folder, name = self._blobs or self.blobs_folder, layout.blob_file(digest)
        try:
            raw = None if folder is None else folder.read(name, LARGEST_MANIFEST)
            if raw is None:
                # A sweep may have set it aside just now, and will put it back if it is needed.
                folder = self._root
                for name in layout.set_aside_names(digest):
                    raw = folder.read(name, LARGEST_MANIFEST)
                    if raw is not None:
                        break
        except UnusableError as error:
            raise StorageError(f"{folder and folder.path}/{name} {error}") from None
        return raw

    def read_blob(self, digest: BinaryDigest, chunk: int = 256 * 1024) -> Iterator[bytes]:
        """Yield a blob's bytes in pieces of ``chunk`` bytes; nothing if there is no such blob."""
        top = self.blobs_folder
        if top is None:
            return
        name = layout.blob_file(digest)
        with storage_errors("read", f"{top.path}/{name}"):
            try:
                descriptor = open_beneath(top.descriptor, name, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                return
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return
                while piece := os.read(descriptor, chunk):
                    yield piece
            finally:
                os.close(descriptor)

    def mtime(self, relative: str) -> int | None:
        """Return a file's or folder's time (nanoseconds), or None if it is not there."""
        return self._root.time(relative)


def digest_folders(
    folder: Folder, algorithm: str
) -> tuple[list[BinaryDigest], list[str], list[os.DirEntry[str]]]:
    """Return the digests that folders in a folder are named after, in the order of the listing.

    Then the names of folders that are no digest's, and the entries that are no folders.
    """
    if algorithm == "sha256":
        row = native.list_digests(folder.descriptor)
        if row is not None:
            return in_a_row(row), [], []
    names, others = folder.folders()
    return *binary_digests(algorithm, names), others


def binary_digests(algorithm: str, names: Sequence[str]) -> tuple[list[BinaryDigest], list[str]]:
    """Return the digests that folders are named after, and the names that are no digest's."""
    joined = "".join(names)
    if algorithm == "sha256" and joined.isascii() and {*map(len, names)} <= {2 * _RAW_LENGTH}:
        try:
            whole = bytes.fromhex(joined)
        except ValueError:
            whole = b""
        if whole.hex() == joined:
            return in_a_row(whole), []
    pairs = [(name, binary_digest(algorithm, name)) for name in names]
    good = [digest for _, digest in pairs if digest is not None]
    return good, [name for name, digest in pairs if digest is None]


def arrival(status: os.stat_result | Look) -> Stamp:
    """Return the latest of a file's times, and so not before it came to its place."""
    return Stamp(max(status.st_mtime_ns, status.st_ctime_ns))


def references_of_each(
    manifests: Sequence[tuple[BinaryDigest, bytes]],
) -> Iterator[tuple[BinaryDigest, References]]:
    """Yield what manifests reference; what cannot be understood is left out."""
    quickly = native.references_each([raw for _, raw in manifests]) or [None] * len(manifests)
    for (digest, raw), usual in zip(manifests, quickly, strict=True):
        if usual is not None:
            yield digest, usual
            continue
        with contextlib.suppress(InvalidManifest):
            found = references_of(raw)
            if found.edges is not None:
                yield digest, found


def _is_foreign(entry: os.DirEntry[str]) -> bool:
    return layout.is_foreign(entry.name) and not entry.is_symlink()


def is_leftover(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file that Distribution 3.x was killed while writing."""
    return entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
