# ruff: noqa: PTH114 (paths are kept as text here: a tree has a million of them)
"""Reading a storage tree: listings and links, without following a symbolic link to anywhere.

Listings take their facts from the folder itself (names and kinds) and look at single files only
where asked. An entry that vanishes meanwhile is skipped and never ends a listing (defect 2). What
cannot be understood is returned as a :class:`Problem`, so that a caller can protect what it might
stand for (design.md, rule 2); what cannot be *listed* raises, because nobody knows what it hides.
"""

import enum
import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from jettison.errors import InvalidName, StorageError
from jettison.model.digest import ALGORITHMS, Digest
from jettison.model.reference import RepoName, Tag
from jettison.store import layout

__all__ = [
    "Blob",
    "Layers",
    "Problem",
    "Protects",
    "Repositories",
    "Revisions",
    "Tags",
    "TreeReader",
    "Upload",
    "storage_errors",
]

LARGEST_MANIFEST: Final = 64 * 1024 * 1024
"""In bytes; Distribution accepts 4 MiB. Anything larger is no manifest and is not read."""

_REREADS: Final = 3
_REREAD_SECONDS: Final = 0.01
_MARKS: Final = frozenset({"_layers", "_manifests", "_uploads"})


class Protects(enum.StrEnum):
    """How far a problem reaches: what might be referenced by something that cannot be read."""

    NOTHING = "nothing"
    REPOSITORY = "repository"
    EVERYTHING = "everything"


class Problem(msgspec.Struct, frozen=True):
    """Something in the tree that is not as it should be.

    ``path`` is relative to the root; ``message`` is a sentence without it. ``repository`` may be
    a name that the specification does not allow, and is None where none is concerned.
    """

    repository: str | None
    path: str
    message: str
    protects: Protects = Protects.REPOSITORY


class Tags(NamedTuple):
    """The tags of a repository, and which entries among them are none."""

    current: dict[Tag, Digest]
    broken: dict[Tag, Problem]
    problems: list[Problem]
    """Those of ``broken``, and those of entries that have no tag's name."""


class Revisions(NamedTuple):
    """The manifests linked into a repository.

    ``linked`` has the time (nanoseconds) at which each link was written. ``damaged`` are digests
    that a link's folder or content names without the two being one sound link.
    """

    linked: dict[Digest, int]
    damaged: set[Digest]
    problems: list[Problem]


class Layers(NamedTuple):
    """The blobs that have a folder in ``_layers``; its link may be gone, which is not looked at."""

    named: set[Digest]
    problems: list[Problem]


class Repositories(NamedTuple):
    """What is below ``repositories/``.

    ``strays`` are folders that look like a repository and whose name is none: no registry serves
    them, but nobody knows that they are not wanted.
    """

    names: list[RepoName]
    strays: list[str]
    problems: list[Problem]


class Blob(NamedTuple):
    """A blob file: its size in bytes and when it was written or touched (nanoseconds)."""

    digest: Digest
    size: int
    mtime_ns: int


class Upload(NamedTuple):
    """An unfinished upload: when it began, and when it last moved (nanoseconds)."""

    id: str
    started_ns: int
    moved_ns: int


class _BlockedError(Exception):
    """A folder should be here, and something else is."""

    def __init__(self, path: str, *, is_link: bool) -> None:
        super().__init__(path)
        self.path = path
        self.is_link = is_link

    def problem(self, repository: str) -> Problem:
        if self.is_link:
            message = "is a symbolic link, which is not followed: what is behind it is unknown"
            return Problem(repository, self.path, message, Protects.EVERYTHING)
        return Problem(repository, self.path, "should be a folder, and is none")


class _UnusableError(Exception):
    """A file is there and cannot be used; the text says why."""


@contextmanager
def storage_errors(action: str, path: object) -> Iterator[None]:
    """Turn an OSError into a :class:`StorageError` that names the path."""
    try:
        yield
    except OSError as error:
        hint = None
        if isinstance(error, PermissionError):
            hint = "Run it as the user that the registry runs as, or as root."
        elif error.errno == errno.EROFS:
            hint = "The storage is mounted read-only."
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {action} {path}: {reason}", hint=hint) from error


class TreeReader:
    """Reads the storage tree at ``root``.

    Paths taken and given are those of :mod:`jettison.store.layout`. Permission and hardware
    errors raise :class:`~jettison.errors.StorageError` with the path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._prefix = f"{root}/"

    def path(self, relative: str) -> str:
        """Return the full path of something in the tree."""
        return self._prefix + relative

    # Repositories.

    def scan_repositories(self) -> Repositories:
        """Walk ``repositories/`` without descending into any; nested ones are found too."""
        found = Repositories([], [], [])
        todo = [""]
        while todo:
            name = todo.pop()
            folder = f"{layout.REPOSITORIES}/{name}".rstrip("/")
            try:
                entries = self._entries(folder)
            except _BlockedError:
                continue  # replaced by a file or a link since its parent was listed
            is_repository = False
            for entry in entries:
                if entry.name.startswith("_"):
                    is_repository |= entry.name in _MARKS
                elif entry.is_dir(follow_symlinks=False):
                    todo.append(f"{name}/{entry.name}".lstrip("/"))
                elif entry.is_symlink():
                    blocked = _BlockedError(f"{folder}/{entry.name}", is_link=True)
                    found.problems.append(blocked.problem(f"{name}/{entry.name}".lstrip("/")))
            if not is_repository or not name:
                continue
            try:
                found.names.append(RepoName(name))
            except InvalidName:
                found.strays.append(name)
        found.names.sort()
        return found

    def repositories(self) -> list[RepoName]:
        """Return the names of all repositories, sorted."""
        return self.scan_repositories().names

    def has_repository(self, name: str) -> bool:
        """Whether there is a repository of this name (a folder with nested ones alone is none)."""
        try:
            entries = self._entries(layout.repository(name))
        except _BlockedError:
            return False
        return any(entry.name in _MARKS for entry in entries)

    # Tags and revisions.

    def tags(self, name: str) -> Tags:
        """Return what each tag of a repository points to; none if there is no tags folder."""
        found = Tags({}, {}, [])
        for entry in self._repository_entries(layout.tags(name), name, found.problems):
            path = layout.tag_folder(name, entry.name)
            if not _is_folder(entry):
                if not _is_leftover(entry):
                    found.problems.append(_no_folder(name, path, entry))
                continue
            try:
                tag = Tag(entry.name)
            except InvalidName:
                message = "is a tag whose name the specification does not allow"
                found.problems.append(Problem(name, path, message))
                continue
            link = self.tag(name, tag)
            if isinstance(link, Problem):
                found.broken[tag] = link
                found.problems.append(link)
            elif link is not None:
                found.current[tag] = link
        return found

    def tag(self, name: str, tag: Tag) -> Digest | Problem | None:
        """Return what a tag points to; None if there is no such tag."""
        path = layout.current_link(name, tag)
        try:
            link = self._link(path)
            if link is not None:
                return link[0]
            # Being removed just now, or being made: look again before judging.
            for _ in range(_REREADS):
                if not os.path.lexists(self.path(layout.tag_folder(name, tag))):
                    return None
                time.sleep(_REREAD_SECONDS)
                link = self._link(path)
                if link is not None:
                    return link[0]
        except _UnusableError as error:
            return Problem(name, path, str(error))
        return Problem(name, path, "is missing, so nobody knows what the tag points to")

    def history(self, name: str, tag: Tag) -> set[Digest]:
        """Return every digest that the tag's history names."""
        named: set[Digest] = set()
        for digest, _ in self._digest_folders(layout.history(name, tag), name, []):
            named.add(digest)
        return named

    def revisions(self, name: str) -> Revisions:
        """Return the manifests linked into a repository, tagged or not."""
        found = Revisions({}, set(), [])
        folder = layout.revisions(name)
        for digest, entry in self._digest_folders(folder, name, found.problems, strict=True):
            path = layout.revision_link(name, digest)
            if entry.is_symlink():
                found.damaged.add(digest)
                found.problems.append(_no_folder(name, path.removesuffix("/link"), entry))
                continue
            try:
                link = self._link(path)
            except _UnusableError as error:
                found.damaged.add(digest)
                found.problems.append(Problem(name, path, str(error)))
                continue
            if link is None:
                continue  # DELETE leaves the folder and takes the link
            if link[0] == digest:
                found.linked[digest] = link[1]
                continue
            found.damaged.update((digest, link[0]))
            message = f"points to {link[0]} instead of what its folder is named after"
            found.problems.append(Problem(name, path, message))
        return found

    def revision_time(self, name: str, digest: Digest) -> int | None:
        """Return when a revision was linked (nanoseconds), or None if it is not."""
        return self.mtime(layout.revision_link(name, digest))

    def stamp(self, name: str) -> str:
        """Return a text that changes whenever a tag or revision of the repository is written.

        It is empty, and so never to be trusted, while something was written in the last seconds:
        file systems keep time in ticks, and two writes within one look like one.
        """
        latest = 0
        lines = []
        problems: list[Problem] = []
        for digest, _ in self._digest_folders(layout.revisions(name), name, problems):
            mtime = self.mtime(layout.revision_link(name, digest)) or 0
            lines.append((mtime, digest))
            latest = max(latest, mtime)
        for entry in self._repository_entries(layout.tags(name), name, problems):
            mtime = self.mtime(layout.current_link(name, entry.name)) or 0
            lines.append((mtime, Digest.of(entry.name.encode("utf-8", "surrogateescape"))))
            latest = max(latest, mtime)
        lines.sort()
        if problems or latest > time.time_ns() - _SETTLED_NS:
            return ""
        return Digest.of(repr(lines).encode())

    # Layers and uploads.

    def layers(self, name: str) -> Layers:
        """Return the blobs that a repository's ``_layers`` names."""
        found = Layers(set(), [])
        for digest, entry in self._digest_folders(layout.layers(name), name, found.problems):
            found.named.add(digest)
            if entry.is_symlink():
                path = layout.layer_link(name, digest).removesuffix("/link")
                found.problems.append(_no_folder(name, path, entry))
        return found

    def layer_target(self, name: str, digest: Digest) -> Digest | None:
        """Return the blob that a layer's link leads to.

        It is the digest itself, but for content pushed under another algorithm: Distribution
        stores that under its sha256 and makes the other digest's link point there. None for a
        link that is absent or damaged.
        """
        try:
            link = self._link(layout.layer_link(name, digest))
        except _UnusableError:
            return None
        return None if link is None else link[0]

    def layer_time(self, name: str, digest: Digest) -> int | None:
        """Return when a layer was linked (nanoseconds), or None if it is not."""
        return self.mtime(layout.layer_link(name, digest))

    def layers_time(self, name: str) -> int:
        """Return when a layer was last linked or removed (nanoseconds), 0 if never.

        Only the making of a layer's folder is seen, not the rewriting of a link in one.
        """
        folder = layout.layers(name)
        return max(self.mtime(f"{folder}/{algorithm}") or 0 for algorithm in ALGORITHMS)

    def uploads(self, name: str) -> list[Upload]:
        """Return a repository's unfinished uploads."""
        found = []
        for entry in self._repository_entries(layout.uploads(name), name, []):
            if not _is_folder(entry):
                continue
            folder = f"{layout.uploads(name)}/{entry.name}"
            try:
                names = [inner.name for inner in self._entries(folder)]
            except _BlockedError:
                continue
            times = [self.mtime(folder), *(self.mtime(f"{folder}/{inner}") for inner in names)]
            known = [moment for moment in times if moment is not None]
            if known:
                found.append(Upload(entry.name, min(known), max(known)))
        return found

    # Blobs.

    def blob_digests(self, problems: list[Problem] | None = None) -> Iterator[Digest]:
        """Yield the digest of every blob folder, in the order of their paths.

        No blob is looked at. Symbolic links are left out, and noted in ``problems``.
        """
        noted = problems if problems is not None else []
        for algorithm in ALGORITHMS:
            top = f"{layout.BLOBS}/{algorithm}"
            for prefix in self._sorted(top, noted):
                for encoded in self._sorted(f"{top}/{prefix}", noted):
                    digest = layout.digest_of(algorithm, encoded)
                    if digest is not None and encoded.startswith(prefix):
                        yield digest

    def blobs(self) -> Iterator[Blob]:
        """Yield every blob with its size and time, looking at each."""
        for digest in self.blob_digests():
            blob = self.blob(digest)
            if blob is not None:
                yield blob

    def blob(self, digest: Digest) -> Blob | None:
        """Return a blob's size and time, or None if there is none."""
        path = layout.blob_data(digest)
        with storage_errors("look at", self.path(path)):
            try:
                found = os.lstat(self.path(path))
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return Blob(digest, found.st_size, found.st_mtime_ns)

    def read_manifest(self, digest: Digest) -> bytes | None:
        """Return a manifest's bytes, whatever they are, or None if there is no such blob.

        Whether they have the digest is for the caller to see. Raises
        :class:`~jettison.errors.StorageError` for a file that cannot be read, or that is too
        large for any manifest.
        """
        path = layout.blob_data(digest)
        try:
            found = self._read(path, LARGEST_MANIFEST)
        except _UnusableError as error:
            raise StorageError(f"{self.path(path)} {error}") from None
        return None if found is None else found[0]

    def read_blob(self, digest: Digest, chunk: int = 256 * 1024) -> Iterator[bytes]:
        """Yield a blob's bytes in pieces of ``chunk`` bytes; nothing if there is no such blob."""
        path = self.path(layout.blob_data(digest))
        with storage_errors("read", path):
            try:
                descriptor = os.open(path, _READ)
            except FileNotFoundError:
                return
            try:
                while piece := os.read(descriptor, chunk):
                    yield piece
            finally:
                os.close(descriptor)

    def mtime(self, relative: str) -> int | None:
        """Return a file's or folder's time (nanoseconds), or None if it is not there."""
        with storage_errors("look at", self.path(relative)):
            try:
                return os.lstat(self.path(relative)).st_mtime_ns
            except (FileNotFoundError, NotADirectoryError):
                return None

    # Below: one folder, one file.

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """List a folder; [] if it is not there. Raises _BlockedError if it is something else."""
        path = self.path(folder)
        with storage_errors("list", path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except FileNotFoundError:
                return []
            except NotADirectoryError:
                raise _BlockedError(folder, is_link=os.path.islink(path)) from None
            try:
                with os.scandir(descriptor) as entries:
                    return list(entries)
            finally:
                os.close(descriptor)

    def _repository_entries(
        self, folder: str, name: str, problems: list[Problem]
    ) -> list[os.DirEntry[str]]:
        """List a folder of a repository, noting what stands in its way, or in its parents'."""
        try:
            for parent in _parents(folder, layout.repository(name)):
                path = self.path(parent)
                if os.path.islink(path):
                    raise _BlockedError(parent, is_link=True)  # noqa: TRY301 - one place to note both
            return self._entries(folder)
        except _BlockedError as error:
            problems.append(error.problem(name))
            return []

    def _digest_folders(
        self, folder: str, name: str, problems: list[Problem], *, strict: bool = False
    ) -> Iterator[tuple[Digest, os.DirEntry[str]]]:
        """Yield what ``folder/<algorithm>/<hex>/`` says, folders and symbolic links alike.

        ``strict`` notes names that are no digest's.
        """
        for algorithm in self._repository_entries(folder, name, problems):
            if algorithm.is_symlink():
                blocked = _BlockedError(f"{folder}/{algorithm.name}", is_link=True)
                problems.append(blocked.problem(name))
            if not _is_folder(algorithm):
                continue
            inner = f"{folder}/{algorithm.name}"
            for entry in self._repository_entries(inner, name, problems):
                if not (_is_folder(entry) or entry.is_symlink()):
                    continue
                digest = layout.digest_of(algorithm.name, entry.name)
                if digest is not None:
                    yield digest, entry
                elif strict:
                    message = "is named after something that is no digest"
                    problems.append(Problem(name, f"{inner}/{entry.name}", message))

    def _sorted(self, folder: str, problems: list[Problem]) -> list[str]:
        """Return the sorted names of the folders in a folder of ``blobs/``."""
        message = "is a symbolic link, which is not followed; what is behind it is left alone"
        try:
            entries = self._entries(folder)
        except _BlockedError as error:
            if error.is_link:
                problems.append(Problem(None, folder, message, Protects.NOTHING))
            return []
        for entry in entries:
            if entry.is_symlink():
                path = f"{folder}/{entry.name}"
                problems.append(Problem(None, path, message, Protects.NOTHING))
        return sorted(entry.name for entry in entries if _is_folder(entry))

    def _link(self, relative: str) -> tuple[Digest, int] | None:
        """Read a link: its digest and time; None if absent. Raises _UnusableError.

        A malformed one is read again: Distribution 2.x rewrites links in place, so for a moment
        one is empty.
        """
        attempt = 0
        while True:
            found = self._read(relative, 4096)
            if found is None:
                return None
            try:
                return layout.parse_link(found[0]), found[1]
            except layout.MalformedLinkError as error:
                attempt += 1
                if attempt == _REREADS:
                    raise _UnusableError(str(error)) from None
            time.sleep(_REREAD_SECONDS)

    def _read(self, relative: str, limit: int) -> tuple[bytes, int] | None:
        """Read a small file: its bytes and time; None if absent. Raises _UnusableError."""
        try:
            descriptor = os.open(self.path(relative), _READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _UnusableError("is a symbolic link, which is not followed") from None
            raise _UnusableError(f"cannot be read: {error.strerror}") from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _UnusableError("should be a file, and is none")
            if status.st_size > limit:
                raise _UnusableError(f"is {status.st_size} bytes long, too much for what it is")
            pieces = []
            while piece := os.read(descriptor, status.st_size + 1):
                pieces.append(piece)
            return b"".join(pieces), status.st_mtime_ns
        except OSError as error:
            raise _UnusableError(f"cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)


_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SETTLED_NS: Final = 2_000_000_000


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file that Distribution 3.x was killed while writing."""
    return entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False)


def _no_folder(name: str, path: str, entry: os.DirEntry[str]) -> Problem:
    if entry.is_symlink():
        return Problem(name, path, "is a symbolic link, which is not followed")
    return Problem(name, path, "should be a folder, and is none")


def _parents(folder: str, top: str) -> list[str]:
    """Return the folders strictly between ``top`` and ``folder``, the upper first."""
    parts = folder[len(top) + 1 :].split("/")[:-1]
    return [f"{top}/{'/'.join(parts[: count + 1])}" for count in range(len(parts))]
