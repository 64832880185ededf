"""Whose the bytes of a registry are: each in one class, and in the total once.

A blob that several repositories need is counted for each of them and once in the total. Sums over
repositories are therefore no total; sums over classes are.
"""

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from jettison.model.digest import BinaryDigest
from jettison.model.digest_rows import DigestRows
from jettison.model.plausibility import Amount

__all__ = [
    "NOBODY",
    "ClassTotals",
    "Hold",
    "Holders",
    "RepositorySpace",
    "Space",
    "SpaceClass",
    "SpaceSums",
    "class_of_kept",
    "repositories_of",
]


class SpaceClass(enum.StrEnum):
    """What becomes of a blob. Each blob is in one class."""

    OWN = "own"
    """A tag needs it, and no other repository has it."""
    SHARED = "shared"
    """A tag needs it, and several repositories have it."""
    UNTAGGED = "untagged"
    """No tag needs it; manifests without a tag do, which a collection keeps unless told to."""
    UNDO = "undo"
    """It can still be brought back: a removal's undo window is open."""
    YOUNG = "young"
    """Nothing needs it, and it is younger than the grace period."""
    PROTECTED = "protected"
    """Something that cannot be read may need it."""
    GARBAGE = "garbage"
    """A collection frees it now."""


_CLASSES: Final = tuple(SpaceClass)
_AT: Final = {kind: 2 * at for at, kind in enumerate(_CLASSES)}

NOBODY: Final = -1
"""The number of no repository: that of what no repository has a place for."""
_ALL: Final = -2


class Hold(enum.IntEnum):
    """How a repository holds a blob: by a tag, by a manifest without one, or by a mere place."""

    TAG = 0
    MANIFEST = 1
    PLACE = 2


_HOLDS: Final = 2
"""The bits of a hold, below the number of the repository."""
_HOLD: Final = (1 << _HOLDS) - 1


class Holders:
    """Which repositories hold each digest, and how, in 36 bytes for each of both.

    Repositories have numbers, in the order in which they are added.
    """

    def __init__(self) -> None:
        self._rows = DigestRows("I")

    def add(self, repository: int, hold: Hold, digests: Iterable[BinaryDigest]) -> None:
        """Note that a repository holds digests."""
        number = repository << _HOLDS | hold
        for digest in digests:
            self._rows.add(digest, number)

    def row(self, index: int) -> dict[BinaryDigest, list[int]]:
        """Return the holders of each digest in a row."""
        found: dict[BinaryDigest, list[int]] = {}
        for digest, number in self._rows.row(index):
            found.setdefault(digest, []).append(number)
        return found


def class_of_kept(holders: Iterable[int]) -> tuple[SpaceClass, list[int]] | None:
    """Return the class of a blob by its holders, and the repositories that it counts for.

    None if nothing but places holds it: then its class is for a collection to tell.
    """
    kept = [number for number in holders if number & _HOLD != Hold.PLACE]
    if not kept:
        return None
    repositories = repositories_of(kept)
    if all(number & _HOLD == Hold.MANIFEST for number in kept):
        return SpaceClass.UNTAGGED, repositories
    return (SpaceClass.OWN if len(repositories) == 1 else SpaceClass.SHARED), repositories


def repositories_of(holders: Iterable[int]) -> list[int]:
    """Return the repositories that hold a blob in any way, each once."""
    return list(dict.fromkeys(number >> _HOLDS for number in holders))


def _nothing() -> list[int]:
    return [0] * (2 * len(_CLASSES))


class SpaceSums:
    """Sums by repository and class, and of all together; small enough to cross to a process."""

    def __init__(self) -> None:
        self.sums: defaultdict[int, list[int]] = defaultdict(_nothing)
        """By the number of the repository: blobs and bytes of each class."""

    def add(self, kind: SpaceClass, size: int, repositories: Sequence[int], blobs: int = 1) -> None:
        """Count a blob for repositories, or for :data:`NOBODY` if there are none; once in all."""
        at = _AT[kind]
        for repository in (_ALL, *(repositories or (NOBODY,))):
            sums = self.sums[repository]
            sums[at] += blobs
            sums[at + 1] += size * blobs

    def move(
        self, size: int, repositories: Sequence[int], old: SpaceClass, new: SpaceClass
    ) -> None:
        """Count a blob in another class than before."""
        self.add(old, size, repositories, -1)
        self.add(new, size, repositories)

    def merge(self, other: "SpaceSums") -> None:
        """Add the sums of other blobs."""
        for repository, numbers in other.sums.items():
            mine = self.sums[repository]
            for at, number in enumerate(numbers):
                mine[at] += number

    @property
    def total(self) -> dict[str, Amount]:
        """The blobs of each class, each blob once."""
        return self.of(_ALL)

    def of(self, repository: int) -> dict[str, Amount]:
        """Return what counts for a repository, by class."""
        numbers = self.sums.get(repository) or _nothing()
        return {kind: Amount(numbers[at], numbers[at + 1]) for kind, at in _AT.items()}


class ClassTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Blobs and their bytes by class, each in one; None: that cannot be known.

    ``own``: a tag needs it, and no other repository has it. ``shared``: a tag needs it, and several
    repositories have it. ``untagged``: only manifests without a tag need it. ``undo``: an undo
    window is open for it. ``young``: nothing needs it, and it is younger than the grace period.
    ``protected``: something that cannot be read may need it. ``garbage``: a collection frees it
    now. ``uploads`` are the files of unfinished uploads, which are no blobs yet.
    """

    own: Amount
    shared: Amount
    untagged: Amount | None = None
    undo: Amount | None = None
    young: Amount | None = None
    protected: Amount | None = None
    garbage: Amount | None = None
    uploads: Amount | None = None

    @property
    def blobs(self) -> Amount:
        """All blobs that are known."""
        return Amount.of_all(one for kind in _CLASSES if (one := getattr(self, kind)) is not None)

    @property
    def held(self) -> Amount | None:
        """What nothing needs and a collection leaves for now, or None if that is not known."""
        kinds = (self.undo, self.young, self.protected)
        known = [one for one in kinds if one is not None]
        return Amount.of_all(known) if known else None

    @property
    def bytes(self) -> int:
        """The bytes of everything that is known."""
        return self.blobs.bytes + (0 if self.uploads is None else self.uploads.bytes)

    @property
    def alone(self) -> int:
        """The bytes of everything but what is shared."""
        return self.bytes - self.shared.bytes


class RepositorySpace(ClassTotals, frozen=True, kw_only=True):
    """What a repository takes. ``tags`` are those that lead to a manifest."""

    repository: str
    tags: int


class Space(msgspec.Struct, frozen=True):
    """The space that a registry takes: ``total`` has each blob once.

    ``repositories`` are sorted by name. ``nowhere`` is what no repository has a place for.
    ``unknown`` are sentences about what cannot be known: then ``own`` is an upper bound, and the
    total has no more than was seen. ``oldest_garbage_ns`` is when the garbage that was written or
    touched the longest ago was (nanoseconds since the epoch).
    """

    place: str
    repositories: tuple[RepositorySpace, ...]
    nowhere: ClassTotals
    total: ClassTotals
    unknown: tuple[str, ...] = ()
    oldest_garbage_ns: int | None = None

    @property
    def exact(self) -> bool:
        """Whether everything is known."""
        return not self.unknown
