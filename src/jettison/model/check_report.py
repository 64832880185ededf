"""Defects of a storage tree, and what a repair can do about them: pure data.

A defect is *damage* if it keeps an image from being pulled or holds up the collector, and a
*notice* if it harms no image.
"""

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from jettison.model.printable import printable

__all__ = [
    "CheckReport",
    "Defect",
    "DefectClass",
    "DefectTally",
    "Remedy",
    "RepairAction",
    "Severity",
    "Unpullable",
    "make_defect",
    "merge_defects",
]


class Severity(enum.StrEnum):
    """Whether a defect keeps an image from being pulled or holds up the collector."""

    DAMAGE = "damage"
    NOTICE = "notice"


class DefectClass(enum.StrEnum):
    """The classes of defects, the worst first."""

    DAMAGED_BLOB = "damaged-blob"
    ABSENT_MANIFEST = "absent-manifest"
    ABSENT_BLOB = "absent-blob"
    TAG_WITHOUT_REVISION = "tag-without-revision"
    CHILD_WITHOUT_REVISION = "child-without-revision"
    BLOB_WITHOUT_LINK = "blob-without-link"
    MALFORMED_LINK = "malformed-link"
    UNKNOWN_MANIFEST = "unknown-manifest"
    UNREADABLE = "unreadable"
    PERMISSIONS = "permissions"
    SYMBOLIC_LINK = "symbolic-link"
    UNEXPECTED_FILE = "unexpected-file"
    UNSETTLED_BLOB = "unsettled-blob"
    DANGLING_LINK = "link-to-absent-blob"
    LEFTOVER = "leftover"

    @property
    def meaning(self) -> str:
        """A noun that describes the class."""
        return _EXPLANATIONS[self]


_EXPLANATIONS: Final = {
    DefectClass.DAMAGED_BLOB: "blobs whose content does not hash to their name",
    DefectClass.ABSENT_MANIFEST: "linked manifests whose blob is absent",
    DefectClass.ABSENT_BLOB: "configs and layers that a manifest references and that are absent",
    DefectClass.TAG_WITHOUT_REVISION: "tags on a manifest that is not linked in their repository",
    DefectClass.CHILD_WITHOUT_REVISION: "members of an index that are not linked beside it",
    DefectClass.BLOB_WITHOUT_LINK: "configs and layers that are not linked where they are needed",
    DefectClass.MALFORMED_LINK: "links that do not hold the digest they should",
    DefectClass.UNKNOWN_MANIFEST: "linked manifests that cannot be understood",
    DefectClass.UNREADABLE: "files and folders that cannot be read here",
    DefectClass.PERMISSIONS: "files and folders with a wrong owner or mode",
    DefectClass.SYMBOLIC_LINK: "symbolic links, which are not followed",
    DefectClass.UNEXPECTED_FILE: "files and folders that do not belong where they are",
    DefectClass.UNSETTLED_BLOB: "new blobs that do not hash to their name: still being written?",
    DefectClass.DANGLING_LINK: "links to absent blobs that nothing needs",
    DefectClass.LEFTOVER: "leftovers of killed or abandoned work",
}


class RepairAction(enum.StrEnum):
    """What a repair does, in the order in which it is done.

    References are written after what they reference, and removed before it.
    """

    RECOVER_BLOB = "put back"
    WRITE_LAYER = "link layer"
    WRITE_REVISION = "link manifest"
    WRITE_TAG = "point tag"
    MOVE_TAG = "move tag aside"
    MOVE_LINK = "move link aside"
    MOVE_LEFTOVER = "move leftover aside"
    MOVE_BLOB = "move blob aside"


class Remedy(msgspec.Struct, frozen=True):
    """What would mend a defect: ``path`` is relative to the root, ``content`` is written there.

    ``needs`` are paths that must exist for it, ``watched`` are others that must not have changed
    in between. Of the same action the lower ``rank`` comes first.
    """

    action: RepairAction
    path: str
    content: str | None = None
    needs: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    rank: int = 0


class Defect(msgspec.Struct, frozen=True, rename={"kind": "class"}):
    """One defect.

    ``path`` is relative to the root and printable; ``sentence`` continues after it. ``tags``
    (``repository:tag``) cannot be pulled whole because of it, for example an index that lacks one
    platform. ``repository`` is None if the defect concerns none or several.
    """

    kind: DefectClass
    severity: Severity
    path: str
    sentence: str
    repository: str | None = None
    tags: tuple[str, ...] = ()
    remedy: Remedy | None = None

    @property
    def key(self) -> tuple[DefectClass, str | None, str]:
        """What identifies the defect in a later check."""
        return self.kind, self.repository, self.path

    @property
    def is_damage(self) -> bool:
        """Whether it keeps an image from being pulled or holds up the collector."""
        return self.severity is Severity.DAMAGE


def make_defect(
    kind: DefectClass,
    severity: Severity,
    path: str,
    sentence: str,
    *,
    repository: str | None = None,
    tags: tuple[str, ...] = (),
    remedy: Remedy | None = None,
) -> Defect:
    """Return a defect that can be printed. Nothing is done to a path that cannot."""
    shown = printable(path)
    if shown != path:
        remedy = None
    whose = None if repository is None else printable(repository)
    return Defect(kind, severity, shown, sentence, whose, tags, remedy)


class Unpullable(msgspec.Struct, frozen=True):
    """A tag (``repository:tag``) that cannot be pulled whole, and each reason."""

    name: str
    because: tuple[str, ...]


class DefectTally(msgspec.Struct, frozen=True):
    """How many defects are damage, and how many do no harm."""

    damage: int = 0
    notices: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self.damage + self.notices


class CheckReport(msgspec.Struct, frozen=True):
    """The result of a check of the tree at ``root``.

    ``bytes`` is the sum of the sizes of all blob files, ``hashed`` whether their content was
    compared with their names, ``seconds`` the duration. ``may_lack`` names what may lawfully be
    absent and was therefore not looked for.
    """

    root: str
    hashed: bool
    repositories: int
    blobs: int
    bytes: int
    seconds: float
    defects: tuple[Defect, ...]
    may_lack: str = ""

    @property
    def damage(self) -> int:
        """How many defects are damage."""
        return sum(defect.is_damage for defect in self.defects)

    @property
    def classes(self) -> dict[DefectClass, DefectTally]:
        """How many defects there are of each class that occurs, by severity, the worst first."""
        found = {}
        for kind in DefectClass:
            of_kind = [defect for defect in self.defects if defect.kind is kind]
            if of_kind:
                damage = sum(defect.is_damage for defect in of_kind)
                found[kind] = DefectTally(damage, len(of_kind) - damage)
        return found

    @property
    def unpullable(self) -> tuple[Unpullable, ...]:
        """The tags that cannot be pulled whole, sorted."""
        because: dict[str, list[str]] = {}
        for defect in self.defects:
            for name in defect.tags:
                because.setdefault(name, []).append(f"{defect.path} {defect.sentence}")
        return tuple(Unpullable(name, tuple(why)) for name, why in sorted(because.items()))


def merge_defects(defects: Iterable[Defect]) -> tuple[Defect, ...]:
    """Return the defects in order, each once, with the tags of all its mentions."""
    order = list(DefectClass)
    merged: dict[tuple[DefectClass, str | None, str], list[Defect]] = {}
    for defect in defects:
        merged.setdefault(defect.key, []).append(defect)
    found = []
    for same in merged.values():
        first = same[0]
        if len(same) > 1:
            tags = tuple(sorted({tag for defect in same for tag in defect.tags}))
            severity = min(defect.severity for defect in same)  # "damage" sorts first
            remedy = next((defect.remedy for defect in same if defect.remedy is not None), None)
            first = msgspec.structs.replace(first, tags=tags, severity=severity, remedy=remedy)
        found.append(first)
    found.sort(key=lambda defect: (order.index(defect.kind), defect.severity, defect.path))
    return tuple(found)
