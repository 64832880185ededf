"""Checks one repository of a storage, changing nothing: what cannot be pulled, and why.

Every tag and every linked manifest is followed to any depth, even through unlinked manifests: a
registry answers 404 for these, and a repair can link them again.
"""

import time
from collections.abc import Iterator
from typing import Final

from jettison.errors import InvalidName, StorageError, StorageUnavailable
from jettison.fsck.broken_links import BrokenLinks
from jettison.fsck.hashing import BlobHashes
from jettison.fsck.images import Images
from jettison.fsck.listing import Listing
from jettison.fsck.manifests import Manifests
from jettison.fsck.notes import Notes
from jettison.model.check_report import Defect, DefectClass, Severity, make_defect
from jettison.model.names import RepoName
from jettison.storage.protocol import Checking, RepositoryScan, Stamp, Storage

__all__ = ["RepositoryChecker"]

_AGAIN_SECONDS: Final = 0.05


class RepositoryChecker:
    """Checks repositories of a storage.

    Content younger than ``idle`` may still be being written; uploads older than ``abandoned`` are
    abandoned; ``content`` has the facts about the content of blobs.
    """

    def __init__(
        self,
        storage: Storage,
        checking: Checking,
        idle: Stamp,
        abandoned: Stamp,
        content: BlobHashes,
    ) -> None:
        self._storage = storage
        self._checking = checking
        self._idle = idle
        self._abandoned = abandoned
        self._content = content

    def check(self, name: str) -> list[Defect]:
        """Return the defects of a repository.

        Damage is looked for twice, because a push or a deletion beside the check may show it for a
        moment.
        """
        found = self._check(name)
        if any(defect.is_damage for defect in found):
            time.sleep(_AGAIN_SECONDS)
            before = {defect.key for defect in found}
            found = [defect for defect in self._check(name) if defect.key in before]
        return found

    def _check(self, name: str) -> list[Defect]:
        defects, physical = list(self._misnamed(name)), []
        try:
            with self._storage.repository(name) as scan:
                listing = Listing.of(scan, self._checking)
                physical = listing.defects
                defects += self._images(scan, listing)
                defects += self._uploads(scan)
        except StorageUnavailable:
            raise
        except StorageError as error:
            place, sentence = (
                self._storage.places.repository(name),
                f"cannot be read here: {error.message}",
            )
            kind, severity = DefectClass.UNREADABLE, Severity.DAMAGE
            defects.append(make_defect(kind, severity, place, sentence, repository=name))
        told = {defect.path for defect in defects}
        return defects + [defect for defect in physical if defect.path not in told]

    def _images(self, scan: RepositoryScan, listing: Listing) -> list[Defect]:
        roots = {*listing.tags.current.values(), *listing.linked, *listing.malformed}
        manifests, notes = Manifests(self._storage, self._idle, roots), Notes(listing.name)
        Images(self._storage, listing, self._content, manifests, notes).note()
        BrokenLinks(self._storage, self._checking, scan, listing, manifests, notes).note()
        return notes.defects(listing.tagged, manifests.above)

    def _uploads(self, scan: RepositoryScan) -> Iterator[Defect]:
        for upload in scan.uploads():
            if upload.moved <= self._abandoned:
                place = self._storage.places.upload(scan.name, upload.id)
                sentence = (
                    f"is an upload of {upload.bytes:,} bytes that was given up; "
                    "the next gc removes it"
                )
                kind, severity = DefectClass.LEFTOVER, Severity.NOTICE
                yield make_defect(kind, severity, place, sentence, repository=scan.name)

    def _misnamed(self, name: str) -> Iterator[Defect]:
        try:
            RepoName(name)
        except InvalidName:
            sentence = (
                "holds up the collector: it is a repository whose name the specification "
                "does not allow"
            )
            place = self._storage.places.repository(name)
            kind, severity = DefectClass.UNEXPECTED_FILE, Severity.DAMAGE
            yield make_defect(kind, severity, place, sentence, repository=name)
