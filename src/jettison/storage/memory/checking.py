"""What is wrong in a storage in memory whatever its images are, for fsck."""

from collections.abc import Callable, Iterable

from jettison.model.check_report import (
    Defect,
    DefectClass,
    Remedy,
    RepairAction,
    Severity,
    make_defect,
)
from jettison.model.digest import BinaryDigest, Digest
from jettison.storage.filesystem.layout import MalformedLinkError, parse_link
from jettison.storage.memory.state import CONTENT, Memory, group_of, idle_drafts, locked
from jettison.storage.protocol import (
    BadLink,
    Blob,
    GroupCheck,
    Leftover,
    LinkKind,
    Place,
    Problem,
    RepositoryCheck,
    Stamp,
    TopCheck,
)

__all__ = ["MemoryCheck"]


class MemoryCheck:
    """Checks a memory; what was written after ``idle`` may still be being written."""

    def __init__(self, memory: Memory, idle: Stamp) -> None:
        self.memory = memory
        self._idle = idle

    @locked
    def top(self) -> TopCheck:
        """Return the groups, and what a killed collection left aside."""
        groups = sorted(set(map(group_of, self.memory.blobs)))
        return TopCheck(groups, list(map(self._left_aside, sorted(self.memory.aside))))

    def _left_aside(self, digest: BinaryDigest) -> Defect:
        long = Digest.from_binary(digest)
        place = self.memory.places.aside_blob(long)
        if self.memory.blob(digest) is not None:
            return _leftover(place, "was set aside by a killed collection, and pushed again since")
        remedy = Remedy(RepairAction.RECOVER_BLOB, place, self.memory.places.blob(long))
        sentence = "is a blob that a killed collection set aside; the next gc puts it back"
        return _leftover(place, sentence, remedy=remedy)

    def hidden(self) -> frozenset[Place]:
        """Return nothing: what lies aside is a file, which :meth:`top` tells of."""
        return frozenset()

    @locked
    def group(self, group: str) -> GroupCheck:
        """Count the blobs of a group, and tell of what killed writers left in it."""
        sizes: list[int] = []
        defects: list[Defect] = []
        for digest, slot in self.memory.blobs.items():
            if group_of(digest) == group:
                place = self.memory.places.blob(Digest.from_binary(digest))
                defects += _leftovers(idle_drafts(slot, place, self._idle))
                if CONTENT in slot.files:
                    sizes.append(len(slot.files[CONTENT].content))
        return GroupCheck(len(sizes), sum(sizes), defects)

    @locked
    def repository(self, name: str) -> RepositoryCheck:
        """Read the links of a repository's layers, and tell of what killed writers left in it."""
        state = self.memory.repositories.get(name)
        layers: dict[BinaryDigest, BinaryDigest | BadLink] = {}
        for digest, slot in ({} if state is None else state.links[LinkKind.LAYER]).items():
            if CONTENT in slot.files:
                layers[digest] = _target(slot.files[CONTENT].content)
        return RepositoryCheck(layers, _leftovers(self.memory.leftovers(name, self._idle), name))

    @locked
    def mismatch(self, digest: BinaryDigest, told: Callable[[int], bool]) -> Blob | None:
        """Return a blob whose content has another digest."""
        slot = self.memory.blobs.get(digest)
        file = None if slot is None else slot.files.get(CONTENT)
        if file is None or (file.content and not told(len(file.content))):
            return None
        if Digest.from_binary(digest).matches(file.content):
            return None
        return Blob(digest, len(file.content), file.stamp, file.arrived)

    @locked
    def link(self, place: str) -> BinaryDigest | BadLink | None:
        """Return what the link in a place leads to; None if there is none."""
        content = self.memory.link_in(place)
        return None if content is None else _target(content)

    def defect_class(self, problem: Problem) -> DefectClass:  # noqa: ARG002 - of one kind only
        """Return what kind of defect a problem is: there are no symbolic links here."""
        return DefectClass.UNEXPECTED_FILE


def _target(content: bytes) -> BinaryDigest | BadLink:
    try:
        return parse_link(content).binary
    except MalformedLinkError as error:
        return BadLink(str(error))


def _leftovers(found: Iterable[Leftover], repository: str | None = None) -> list[Defect]:
    sentence = "is a temporary file that a process left that was killed"
    return [_leftover(one.path, sentence, repository) for one in found]


def _leftover(
    place: str, sentence: str, repository: str | None = None, remedy: Remedy | None = None
) -> Defect:
    kind, notice = DefectClass.LEFTOVER, Severity.NOTICE
    return make_defect(kind, notice, place, sentence, repository=repository, remedy=remedy)
