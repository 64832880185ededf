"""Looking at a storage itself: what is wrong in it whatever its images are (fsck)."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from jettison.model.check_report import Defect, DefectClass
from jettison.model.digest import BinaryDigest
from jettison.storage.protocol.facts import Blob, Place, Problem

__all__ = ["BadLink", "Checking", "GroupCheck", "RepositoryCheck", "TopCheck"]


class BadLink(NamedTuple):
    """A link that leads nowhere, and why, as the rest of a sentence.

    ``unread``: it cannot be read, and may be as it should be.
    """

    why: str
    unread: bool = False


class TopCheck(NamedTuple):
    """The groups of blobs, and what is wrong outside of groups and repositories."""

    groups: list[str]
    defects: list[Defect]


class GroupCheck(NamedTuple):
    """How many blobs a group has, of how many bytes together, and what is wrong in it."""

    blobs: int
    bytes: int
    defects: list[Defect]


class RepositoryCheck(NamedTuple):
    """What each layer's link in a repository leads to, and what else is wrong in it."""

    layers: dict[BinaryDigest, BinaryDigest | BadLink]
    defects: list[Defect]


class Checking(Protocol):
    """A check of a storage, which looks at each thing once and changes nothing.

    Defects here are of the storage alone: what does not belong where it is, has the wrong owner,
    or was left by killed processes. What cannot be read is among them.
    """

    def top(self) -> TopCheck:
        """Look at everything outside of groups of blobs and of repositories."""

    def hidden(self) -> frozenset[Place]:
        """Return the places of what a collection keeps out of sight; where nothing can rename.

        It goes on, or was killed, and then the next one brings that back.
        """

    def group(self, group: str) -> GroupCheck:
        """Look at a group of blobs; their content is not read."""

    def repository(self, name: str) -> RepositoryCheck:
        """Look at everything in a repository; ``name`` may be one that is not allowed."""

    def mismatch(self, digest: BinaryDigest, told: Callable[[int], bool]) -> Blob | None:
        """Read a blob, and return it if its content has another digest, None otherwise.

        ``told`` is called with the number of bytes of each piece; False ends the reading. Raises
        :class:`~jettison.errors.StorageError`, with the reason alone, for one that cannot be read.
        """

    def link(self, place: str) -> BinaryDigest | BadLink | None:
        """Return what the link in a place leads to; None if there is none."""

    def defect_class(self, problem: Problem) -> DefectClass:
        """Return what kind of defect a problem is that a listing has told of."""
