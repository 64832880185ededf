"""Links of tags and manifests that lead nowhere, and the remains that show where they led."""

from jettison.errors import StorageError
from jettison.fsck.listing import Listing
from jettison.fsck.manifests import Manifests, State
from jettison.fsck.notes import Notes
from jettison.model.check_report import DefectClass, Remedy, RepairAction
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import Tag
from jettison.storage.protocol import (
    BadLink,
    Checking,
    LinkKind,
    Problem,
    RepositoryScan,
    Storage,
)

__all__ = ["BrokenLinks"]


class BrokenLinks:
    """Notes what a listing of a repository could not understand."""

    def __init__(
        self,
        storage: Storage,
        checking: Checking,
        scan: RepositoryScan,
        listing: Listing,
        manifests: Manifests,
        notes: Notes,
    ) -> None:
        self._storage = storage
        self._checking = checking
        self._scan = scan
        self._listing = listing
        self._manifests = manifests
        self._notes = notes

    def note(self) -> None:
        """Note each problem of the listing."""
        name, place_of = self._listing.name, self._storage.places.link
        by_place: dict[str, BinaryDigest] = {
            place_of(LinkKind.REVISION, name, Digest.from_binary(digest)): digest
            for digest in self._listing.malformed
        }
        broken = {id(problem): tag for tag, problem in self._listing.tags.broken.items()}
        for problem in self._listing.problems:
            kind = self._checking.defect_class(problem)
            tag, digest = broken.get(id(problem)), by_place.get(problem.path)
            if kind is not DefectClass.SYMBOLIC_LINK and tag is not None:
                self._tag(tag, problem)
            elif kind is not DefectClass.SYMBOLIC_LINK and digest is not None:
                self._revision(digest, problem)
            else:
                self._notes.note(
                    kind,
                    problem.path,
                    f"holds up the collector: it {problem.message}",
                    sufferers=() if digest is None else (digest,),
                    tags=() if tag is None else (tag,),
                )

    def _revision(self, digest: BinaryDigest, problem: Problem) -> None:
        """Link a manifest again if it is whole; else move the link away if nothing needs it."""
        kind, remedy = DefectClass.MALFORMED_LINK, None
        sentence = f"is malformed: {problem.message}"
        manifest = self._manifests[digest]
        named = self._checking.link(problem.path)
        if isinstance(named, BadLink) and named.unread:
            kind, sentence = DefectClass.UNREADABLE, f"holds up the collector: it {named.why}"
        elif manifest.is_whole:
            action = RepairAction.WRITE_REVISION
            remedy = self._manifests.link_to(digest, action, problem.path)
        elif manifest.is_open:
            sentence += f"; nothing is known of its manifest: {manifest.why_open}"
        elif isinstance(named, bytes) and self._manifests[named].is_there:
            sentence += ", which is there, so that the link is left"
        else:
            remedy = Remedy(RepairAction.MOVE_LINK, problem.path)
        self._notes.note(kind, problem.path, sentence, sufferers=(digest,), remedy=remedy)

    def _tag(self, tag: Tag, problem: Problem) -> None:
        """Find in a tag's history where it pointed.

        A tag is moved away only if its whole history leads to nothing that exists: as long as the
        tag is in its place, it keeps the collector from its repository (decision 0002).
        """
        kind, remedy = DefectClass.MALFORMED_LINK, None
        place = self._storage.places.tag(self._listing.name, tag)
        named = self._checking.link(place)
        if isinstance(named, BadLink) and named.unread:
            kind, sentence = DefectClass.UNREADABLE, f"holds up the collector: it {named.why}"
        else:
            said, remedy = self._from_history(tag, place)
            sentence = f"{problem.message}; {said}"
        self._notes.note(kind, problem.path, sentence, remedy=remedy, tags=(tag,))

    def _from_history(self, tag: Tag, place: str) -> tuple[str, Remedy | None]:
        """Return the finding of a tag's history, as half a sentence, and the remedy."""
        try:
            digests, problems = self._scan.history(tag)
        except StorageError as error:
            return f"nothing is done, since its history cannot be read: {error.message}", None
        if problems:
            why = f"{problems[0].path} {problems[0].message}"
            return f"nothing is done, since its history is not understood: {why}", None
        manifests = {digest: self._manifests[digest] for digest in digests}
        for digest, manifest in manifests.items():
            if manifest.is_open:
                short = Digest.from_binary(digest).short
                why = f"nothing is known of {short}: {manifest.why_open}"
                return f"nothing is done, since of its history {why}", None
        there = [digest for digest, manifest in manifests.items() if manifest.is_there]
        if not there:
            folder = self._storage.places.whole_tag(self._listing.name, tag)
            sentence = "its history leads to nothing that is there"
            return sentence, Remedy(RepairAction.MOVE_TAG, folder, watched=(place,))
        newest = max(there, key=lambda digest: self._written(tag, digest))
        linked = newest in self._listing.linked or newest in self._listing.malformed
        if len(digests) == 1 and linked and manifests[newest].state is State.SOUND:
            sentence = f"its history names only {Digest.from_binary(newest)}"
            return sentence, self._manifests.link_to(newest, RepairAction.WRITE_TAG, place)
        sentence = (
            f"the newest in its history is {Digest.from_binary(newest)}: "
            "push the tag again, or delete it; until then it protects its repository"
        )
        return sentence, None

    def _written(self, tag: Tag, digest: BinaryDigest) -> int:
        long = Digest.from_binary(digest)
        links = self._storage.link_quarantine()
        group = links.history(self._listing.name, tag, long.algorithm)
        if group is None:
            return 0
        with group:
            return group.stamp(long) or 0
