"""Missing content that keeps the images of one repository from being pulled."""

from typing import Final

from jettison.fsck.hashing import BlobHashes
from jettison.fsck.listing import Listing
from jettison.fsck.manifests import Manifest, Manifests, State
from jettison.fsck.notes import SHOWN, Notes, damaged_blob, listed, unreadable_blob, unsettled_blob
from jettison.model.check_report import DefectClass, Remedy, RepairAction, Severity
from jettison.model.digest import BinaryDigest, Digest
from jettison.storage.protocol import Absence, BadLink, LinkKind, Place, Storage

__all__ = ["Images"]

_GONE: Final = "whose blob is absent"


class Images:
    """Checks the images of a repository; ``content`` has the facts about blobs."""

    def __init__(
        self,
        storage: Storage,
        listing: Listing,
        content: BlobHashes,
        manifests: Manifests,
        notes: Notes,
    ) -> None:
        self._storage = storage
        self._places = storage.places
        self._listing = listing
        self._name = listing.name
        self._content = content
        self._manifests = manifests
        self._notes = notes
        self._present: dict[BinaryDigest, bool] = {}

    def note(self) -> None:
        """Note what is absent, damaged or not linked."""
        for blob, manifests in self._manifests.needed.items():
            self._blob(blob, manifests)
        self._layer_links()
        for digest in self._manifests.order:
            self._manifest(digest, self._manifests[digest])

    def _link_place(self, kind: LinkKind, digest: BinaryDigest) -> Place:
        return self._places.link(kind, self._name, Digest.from_binary(digest))

    # Manifests.

    def _manifest(self, digest: BinaryDigest, manifest: Manifest) -> None:
        """Check one manifest itself: its link, and its blob."""
        long = Digest.from_binary(digest)
        place = self._link_place(LinkKind.REVISION, digest)
        if digest not in self._listing.linked and digest not in self._listing.malformed:
            self._unlinked(digest, manifest, place)
        elif manifest.state is State.ABSENT and digest in self._listing.linked:
            kind, sentence = DefectClass.ABSENT_MANIFEST, f"links manifest {long}, {_GONE}"
            # As long as an index lists it, nothing is gained: the index has to go first.
            listing = digest in self._manifests.above
            remedy = None if listing else Remedy(RepairAction.MOVE_LINK, place)
            self._notes.note(kind, place, sentence, sufferers=(digest,), remedy=remedy)
            self._dangling(kind, digest, _GONE)
        if manifest.state is State.DAMAGED:
            self._notes.add(damaged_blob(self._places, digest, manifest.reason), (digest,))
        elif manifest.state is State.UNSETTLED:
            self._notes.add(unsettled_blob(self._places, digest, manifest.reason))
        elif manifest.state is State.UNREADABLE:
            sentence = f"is manifest {long.short}, which cannot be read here: {manifest.reason}"
            self._notes.add(unreadable_blob(self._places, digest, sentence), (digest,))
        elif manifest.state is State.UNKNOWN:
            sentence = (
                f"links manifest {long.short}, which is not understood, so that the collector "
                f"keeps all that is linked in its repository: {manifest.reason}"
            )
            sufferers = () if manifest.pullable else (digest,)
            kind = DefectClass.UNKNOWN_MANIFEST
            self._notes.note(kind, place, sentence, sufferers=sufferers)

    def _unlinked(self, digest: BinaryDigest, manifest: Manifest, place: Place) -> None:
        tags = sorted(self._listing.tagged.get(digest, ()))
        above = self._manifests.above.get(digest, ())
        lawful = Absence.ANYTHING if tags else Absence.CHILDREN
        if manifest.state is State.ABSENT and self._storage.absence >= lawful:
            return
        if tags and manifest.state is State.ABSENT:
            kind = DefectClass.TAG_WITHOUT_REVISION
            self._dangling(kind, digest, "which is absent, link and blob")
            tags = []
            if not above:
                return
        if tags:
            kind, needing = DefectClass.TAG_WITHOUT_REVISION, listed("tag", tags)
        else:
            kind, needing = DefectClass.CHILD_WITHOUT_REVISION, listed("index", above, "es")
        sentence = f"is absent, and needed by {needing}: manifest {Digest.from_binary(digest)}"
        remedy = None
        if manifest.is_whole:
            watched = tuple(self._places.tag(self._name, tag) for tag in tags[:SHOWN])
            action = RepairAction.WRITE_REVISION
            remedy = self._manifests.link_to(digest, action, place, watched)
            sentence += ", whose blob is there"
        elif manifest.state is State.ABSENT:
            sentence += ", whose blob is absent too"
        elif manifest.is_open:
            sentence += f", of which nothing is known: {manifest.why_open}"
        self._notes.note(kind, place, sentence, sufferers=(digest,), remedy=remedy)

    def _dangling(self, kind: DefectClass, digest: BinaryDigest, why: str) -> None:
        """Note the tags of a manifest that is gone: they hold up the collector for ever.

        Nothing in the storage can mend them, so a repair moves them away.
        """
        for tag in self._listing.tagged.get(digest, ()):
            place = self._places.tag(self._name, tag)
            whole = self._places.whole_tag(self._name, tag)
            remedy = Remedy(RepairAction.MOVE_TAG, whole, watched=(place,))
            sentence = f"leads to manifest {Digest.from_binary(digest)}, {why}"
            self._notes.note(kind, place, sentence, remedy=remedy, tags=(tag,))

    # Blobs.

    def _blob(self, digest: BinaryDigest, manifests: list[BinaryDigest]) -> None:
        """Check a config or layer that manifests need."""
        link = self._listing.layers.get(digest)
        if self._storage.absence >= Absence.ANYTHING and link is None:
            return  # nobody has asked this cache for it yet
        target = link if isinstance(link, bytes) else digest
        if not self._exists(target):
            absent = self._manifests.wanting(digest)
            if absent:
                sentence = f"is absent, and needed by {listed('manifest', absent)} of {self._name}"
                place = self._places.blob(Digest.from_binary(target))
                self._notes.note(DefectClass.ABSENT_BLOB, place, sentence, sufferers=absent)
        elif target in self._content.damaged:
            size = f"{self._content.damaged[target]:,} bytes"
            self._notes.add(damaged_blob(self._places, target, size), manifests)
        elif target in self._content.unreadable:
            defect = unreadable_blob(self._places, target, self._content.unreadable[target])
            self._notes.add(defect, manifests)
        # What an index calls a layer may be a manifest, and has a manifest's link.
        if link is None and digest not in self._listing.linked and self._exists(target):
            unlinked = self._manifests.wanting(digest)
            if unlinked:
                place = self._link_place(LinkKind.LAYER, digest)
                needing = listed("manifest", unlinked)
                sentence = f"is absent, and needed by {needing}; its blob is there"
                remedy = self._manifests.link_to(digest, RepairAction.WRITE_LAYER, place)
                kind = DefectClass.BLOB_WITHOUT_LINK
                self._notes.note(kind, place, sentence, sufferers=unlinked, remedy=remedy)

    def _exists(self, digest: BinaryDigest) -> bool:
        found = self._present.get(digest)
        if found is None:
            found = self._present[digest] = self._storage.blob(digest) is not None
        return found

    def _layer_links(self) -> None:
        """Check the layer links themselves, needed or not."""
        # What cannot be read may need any of them.
        blind = self._manifests.any_open
        unneeded = "only what cannot be read here may need" if blind else "nothing here needs"
        for digest, target in self._listing.layers.items():
            place = self._link_place(LinkKind.LAYER, digest)
            remedy = None if blind else Remedy(RepairAction.MOVE_LINK, place)
            if isinstance(target, BadLink):
                self._bad_layer(digest, target, place, remedy)
            elif digest not in self._manifests.needed and not self._exists(target):
                sentence = f"links a blob that is absent, and that {unneeded}"
                kind, severity = DefectClass.DANGLING_LINK, Severity.NOTICE
                self._notes.note(kind, place, sentence, severity, remedy=remedy)

    def _bad_layer(
        self, digest: BinaryDigest, link: BadLink, place: Place, remedy: Remedy | None
    ) -> None:
        sufferers = self._manifests.wanting(digest)
        if link.unread:
            self._notes.note(DefectClass.UNREADABLE, place, link.why, sufferers=sufferers)
            return
        if self._exists(digest):
            remedy = self._manifests.link_to(digest, RepairAction.WRITE_LAYER, place)
        kind, sentence = DefectClass.MALFORMED_LINK, f"is malformed: {link.why}"
        severity = Severity.DAMAGE if sufferers else Severity.NOTICE
        self._notes.note(kind, place, sentence, severity, sufferers=sufferers, remedy=remedy)
