"""The defects of one repository, and the tags that cannot be pulled because of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from jettison.model.check_report import (
    Defect,
    DefectClass,
    Remedy,
    RepairAction,
    Severity,
    make_defect,
)
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import Tag
from jettison.model.traversal import postorder
from jettison.storage.protocol import Places

__all__ = ["SHOWN", "Notes", "damaged_blob", "listed", "unreadable_blob", "unsettled_blob"]

SHOWN: Final = 3
"""The most manifests or tags that a sentence names."""


class Notes:
    """Notes defects of the repository ``name``, one of each class for a place."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._defects: dict[tuple[DefectClass, str], Defect] = {}
        self._sufferers: dict[tuple[DefectClass, str], set[BinaryDigest]] = {}

    def note(
        self,
        kind: DefectClass,
        path: str,
        sentence: str,
        severity: Severity = Severity.DAMAGE,
        *,
        sufferers: Iterable[BinaryDigest] = (),
        remedy: Remedy | None = None,
        tags: tuple[Tag, ...] = (),
    ) -> None:
        """Note a defect; the tags above ``sufferers``, which are manifests, cannot be pulled."""
        names = tuple(f"{self._name}:{tag}" for tag in tags)
        defect = make_defect(
            kind, severity, path, sentence, repository=self._name, tags=names, remedy=remedy
        )
        self.add(defect, sufferers)

    def add(self, defect: Defect, sufferers: Iterable[BinaryDigest] = ()) -> None:
        """Note a defect unchanged, such as one of a blob, which belongs to no repository."""
        key = defect.kind, defect.path
        self._defects[key] = defect
        self._sufferers.setdefault(key, set()).update(sufferers)

    def defects(
        self,
        tagged: Mapping[BinaryDigest, Sequence[Tag]],
        above: Mapping[BinaryDigest, Sequence[BinaryDigest]],
    ) -> list[Defect]:
        """Return the defects, each with the tags that cannot be pulled because of it.

        ``tagged`` are the tags of each manifest, ``above`` the indexes that list it.
        """
        for key, sufferers in self._sufferers.items():
            reached = postorder(sorted(sufferers), lambda digest: above.get(digest, ()))
            tags = {f"{self._name}:{tag}" for digest in reached for tag in tagged.get(digest, ())}
            if tags:
                defect = self._defects[key]
                tags.update(defect.tags)
                self._defects[key] = msgspec.structs.replace(defect, tags=tuple(sorted(tags)))
        return list(self._defects.values())


def damaged_blob(places: Places, digest: BinaryDigest, size: str) -> Defect:
    """Return the defect of a blob whose content does not match its name."""
    place = places.blob(Digest.from_binary(digest))
    remedy = Remedy(RepairAction.MOVE_BLOB, place)
    sentence = f"({size}) does not hash to its name"
    return make_defect(DefectClass.DAMAGED_BLOB, Severity.DAMAGE, place, sentence, remedy=remedy)


def unsettled_blob(places: Places, digest: BinaryDigest, size: str) -> Defect:
    """Return the defect of a blob that may still be being written."""
    place = places.blob(Digest.from_binary(digest))
    sentence = f"({size}) does not hash to its name; still being written?"
    return make_defect(DefectClass.UNSETTLED_BLOB, Severity.NOTICE, place, sentence)


def unreadable_blob(places: Places, digest: BinaryDigest, sentence: str) -> Defect:
    """Return the defect of a blob that cannot be read."""
    place = places.blob(Digest.from_binary(digest))
    return make_defect(DefectClass.UNREADABLE, Severity.DAMAGE, place, sentence)


def listed(noun: str, things: Sequence[Tag] | Sequence[BinaryDigest], plural: str = "s") -> str:
    """Return the first few tags or manifests, for a sentence."""
    names = [one if isinstance(one, str) else Digest.from_binary(one).short for one in things]
    shown = ", ".join(names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{noun}{'' if len(names) == 1 else plural} {shown}{more}"
