"""What a storage tells: values without behaviour, the same whatever the storage is.

Nothing here is a path, a descriptor or an inode. A :data:`Place` names something for people, and
can be handed back to the storage it came from; a :data:`Stamp` tells when something was last
written. Digests are binary: a storage has millions of them.
"""

import enum
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, NewType, TypeVar

import msgspec

from jettison.errors import StorageError
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName, Tag
from jettison.model.printable import printable

__all__ = [
    "STAMP_KEY",
    "Absence",
    "Blob",
    "EmptyBlob",
    "Features",
    "History",
    "Layers",
    "Leftover",
    "LinkKind",
    "Named",
    "Outcome",
    "Place",
    "Problem",
    "Protects",
    "Repositories",
    "Revisions",
    "Stamp",
    "Tags",
    "Upload",
    "Writer",
    "age",
    "make_problem",
    "outcomes_of",
    "stamp_at",
]

Place = NewType("Place", str)
"""Where something is, relative to the top of its storage: a path in a tree, a key in a bucket."""

Stamp = NewType("Stamp", int)
"""When something was last written; two stamps of a thing are equal if nothing was written since.

Nanoseconds since the epoch, as exactly as the storage keeps time; compared with what
:func:`stamp_at` returns, or with another of the same storage.
"""

Outcome = bool | StorageError
"""What became of one of many things: whether it was done, or the error that one alone raises."""

T = TypeVar("T")

STAMP_KEY: Final = {"stamp": "mtime_ns", "moved": "moved_ns", "started": "started_ns"}
"""What stamps are called in documents that are printed and kept."""

_NANOSECONDS: Final = 1_000_000_000


def stamp_at(seconds: float) -> Stamp:
    """Return the stamp of what is written at that moment (seconds since the epoch)."""
    return Stamp(int(seconds * _NANOSECONDS))


def age(stamp: Stamp, now: float) -> float:
    """Return how long ago something was written (seconds), at ``now`` (seconds since the epoch)."""
    return now - stamp / _NANOSECONDS


def outcomes_of(
    do: Callable[[T], bool],
    items: Iterable[T],
    each: Callable[[Callable[[T], Outcome], Iterable[T]], Iterable[Outcome]] = map,
) -> list[Outcome]:
    """Do something to each of many things; what fails has its error.

    One after the other, or as ``each`` does it: that of a pool does many at once.
    """

    def one(item: T) -> Outcome:
        try:
            return do(item)
        except StorageError as error:
            return error

    return list(each(one, items))


class Features(msgspec.Struct, frozen=True):
    """What a storage can do; who needs what it cannot do has to find another way, or refuse.

    ``atomic_rename``: something is put in place whole or not at all, and taken away in one step.
    ``modification_times``: stamps are times of its own clock, and a touch renews them. ``append``:
    an upload is continued in place. ``change_detection``: what has changed is told without reading
    everything again. ``capacity``: how much room is left is known. ``forks``: a forked process can
    go on asking. ``local``: what a server asks (``Serving``) is answered at once, so that an event
    loop may ask it.
    """

    atomic_rename: bool = True
    modification_times: bool = True
    append: bool = True
    change_detection: bool = True
    capacity: bool = True
    forks: bool = True
    local: bool = True


class LinkKind(enum.Enum):
    """What a link makes part of a repository."""

    LAYER = "layer"
    REVISION = "revision"


class Named(NamedTuple):
    """What a place is: a blob's content, or, with a ``kind``, a link in a repository."""

    digest: Digest
    kind: LinkKind | None = None
    repository: str = ""


class Absence(enum.IntEnum):
    """What may lawfully be absent from a storage, by what its registry is configured to be.

    ``CHILDREN`` of an index, where it takes sparse ones; ``ANYTHING`` in a cache of another
    registry, which fetches what is asked for, and lets go of it when its time is over.
    """

    NOTHING = 0
    CHILDREN = 1
    ANYTHING = 2


class Protects(enum.StrEnum):
    """How far a problem reaches: what might be referenced by something that cannot be read."""

    NOTHING = "nothing"
    REPOSITORY = "repository"
    EVERYTHING = "everything"


class Problem(msgspec.Struct, frozen=True):
    """Something in the storage that is not as it should be.

    ``path`` is its place; ``message`` is a sentence without it. ``repository`` may be a name that
    the specification does not allow, and is None where none is concerned.
    """

    repository: str | None
    path: str
    message: str
    protects: Protects = Protects.REPOSITORY

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.path}: {self.message}"


def make_problem(
    repository: str | None, path: str, message: str, protects: Protects = Protects.REPOSITORY
) -> Problem:
    """Return a problem whose texts can be printed, whatever bytes the names have."""
    shown = None if repository is None else printable(repository)
    return Problem(shown, printable(path), message, protects)


class Repositories(NamedTuple):
    """The repositories of a storage.

    ``misnamed`` look like repositories and have a name that the specification does not allow: no
    registry serves them, and what they hold may still be wanted. ``empty`` are names that nothing
    at all is under.
    """

    names: list[RepoName]
    misnamed: list[str]
    empty: list[str]
    problems: list[Problem]


class Blob(NamedTuple):
    """A blob: its size in bytes and when it was written or touched.

    ``arrived`` is not before the moment at which it came to its place: a copy that keeps the times
    of the original, as ``cp -a``, ``rsync -a`` or a restore makes it, cannot keep that one.
    ``kept`` are the bytes of it that the storage does not get back when it is removed: hard links,
    holes.
    """

    digest: BinaryDigest
    size: int
    stamp: Stamp
    arrived: Stamp
    kept: int = 0


class EmptyBlob(NamedTuple):
    """What is where a blob's content should be and is not.

    ``leftovers`` are idle temporary files, ``removable``: nothing is in it and nothing was lately.
    ``drafts`` are contents, as far as they are written, that may become the blob.
    """

    leftovers: list["Leftover"]
    removable: bool
    drafts: list[bytes]


class Tags(NamedTuple):
    """The tags of a repository, and which entries among them are none."""

    current: dict[Tag, BinaryDigest]
    broken: dict[Tag, Problem]
    problems: list[Problem]
    """Those of ``broken``, and those of entries that have no tag's name."""
    strange: list[str]
    """The names of those entries."""
    foreign: list[Problem]
    """Entries that no registry makes, which are none of its tags."""


class History(NamedTuple):
    """Every digest that a tag's history names; with ``problems`` it may have named others too."""

    digests: list[BinaryDigest]
    problems: list[Problem]


class Revisions(NamedTuple):
    """The manifests linked into a repository.

    ``folders`` are all that have a place, ``emptied`` those of them without a link, which is what
    a DELETE leaves. ``damaged`` are digests that a place or a link's content names without the two
    being one sound link, ``meant`` what else a damaged name or link may have been meant to be.
    ``foreign`` are entries that no registry makes.
    """

    folders: list[BinaryDigest]
    linked: set[BinaryDigest]
    emptied: list[BinaryDigest]
    damaged: set[BinaryDigest]
    problems: list[Problem]
    meant: set[BinaryDigest]
    foreign: list[Problem]


class Layers(NamedTuple):
    """The blobs that have a place among the layers, whether there is a link in it or not."""

    named: set[BinaryDigest]
    problems: list[Problem]


class Upload(NamedTuple):
    """An unfinished upload: when it began and when it last moved.

    ``bytes`` are what the storage gets back with it, in ``files``.
    """

    id: str
    started: Stamp
    moved: Stamp
    files: int
    bytes: int


class Writer(NamedTuple):
    """A process that may be writing to a storage, and what gives it away."""

    pid: int
    clue: str


class Leftover(msgspec.Struct, frozen=True, array_like=True):
    """A temporary file that a killed process left.

    ``size`` is what the storage gets back with it, in bytes.
    """

    path: Place
    size: int
    stamp: Stamp
