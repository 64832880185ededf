"""What killed collections have left out of sight, and how it comes back.

It lies below ``jettison/aside/``, a folder for each collection: notes that name what was deleted,
and copies. Whoever can write there can write anywhere in the bucket; still nothing is put in any
place but those of blobs and links.
"""

from collections.abc import Container
from typing import Final

import msgspec

from jettison.errors import InvalidDocument, StorageError
from jettison.model import codec
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.objects.bucket import Bucket, Entry
from jettison.storage.objects.versions import Versions
from jettison.storage.protocol import Stamp, outcomes_of

__all__ = [
    "ANY_BYTES",
    "COPIES",
    "LINKS",
    "MARKERS",
    "LeftHidden",
    "NotedBlobs",
    "NotedLinks",
    "copy_key",
    "put_link",
]

COPIES: Final = "copies"
LINKS: Final = ".links"
MARKERS: Final = ".markers"
ANY_BYTES: Final = "latin-1"
"""Contents of links are noted as text, whatever they are."""

_LARGEST_NOTE: Final = 16 * 1024 * 1024
"""In bytes: of so many links of the largest size, each byte escaped."""
_LINK_PARTS: Final = ("/_layers/", "/_manifests/")
_PLACES: Final = TreePlaces()


class NotedLinks(msgspec.Struct, frozen=True):
    """Links that are out of sight: their contents by key."""

    links: dict[str, str]


class NotedBlobs(msgspec.Struct, frozen=True):
    """Blobs that a delete marker hides: bytes, and when they were written, by key."""

    blobs: dict[str, tuple[int, int]]


def copy_key(key: str, folder: str) -> str:
    """Return where a blob is copied to."""
    algorithm, _, encoded, _ = key.split("/")[-4:]
    return f"{folder}/{algorithm}/{encoded}"


def put_link(bucket: Bucket, key: str, content: str, coming: Container[str] = ()) -> bool:
    """Write a link again that is absent; False for one that would be damage.

    That is the link of a manifest of which the data is gone, or of a tag's history without the tag:
    others may have removed those meanwhile. ``coming`` are blobs that will be back.
    """
    needed = _needed(key, content)
    if needed is not None and needed not in coming and bucket.look(needed) is None:
        return False
    bucket.put(key, content.encode(ANY_BYTES))
    return True


def _needed(key: str, content: str) -> str | None:
    """Return the key of what has to be there beside a link; None if nothing has to."""
    repository, _, inner = key.rpartition("/_manifests/")
    match inner.split("/"):
        case ["tags", tag, "index", *_]:
            return f"{repository}/_manifests/tags/{tag}/current/{layout.LINK}"
        case ["revisions", *_]:
            digest = layout.digest_of(*content.partition(":")[::2])
            return None if digest is None else _PLACES.blob(digest)
    return None


class LeftHidden:
    """What killed collections have left out of sight."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._versions = Versions(bucket)
        self.links: dict[str, str] = {}
        self.blobs: dict[str, Entry] = {}
        self._copies: dict[str, list[Entry]] = {}
        self._notes: list[str] = []
        for page in bucket.pages(layout.SET_ASIDE):
            for entry in page:
                self._add(entry)

    def _add(self, entry: Entry) -> None:
        parts = entry.key.split("/")
        if parts[-1].endswith((LINKS, MARKERS)):
            self._add_note(entry.key)
        elif COPIES in parts:
            digest = layout.digest_of(*parts[-2:])
            if digest is not None:
                key = _PLACES.blob(digest)
                self._copies.setdefault(key, []).append(entry)
                self.blobs[key] = entry._replace(key=key)

    def _add_note(self, key: str) -> None:
        raw = self._bucket.get(key, _LARGEST_NOTE)
        if raw is None:
            return
        try:
            if key.endswith(LINKS):
                links = codec.decode(raw, NotedLinks).links
                self.links |= {one: text for one, text in links.items() if _is_link(one)}
            else:
                for one, (size, stamp) in codec.decode(raw, NotedBlobs).blobs.items():
                    named = _PLACES.named(one)
                    if named is not None and named.kind is None:
                        self.blobs[one] = Entry(one, size, Stamp(stamp), "")
        except InvalidDocument as error:
            message = f"{self._bucket.location}/{key} cannot be read: {error.message}"
            hint = "It names what a killed collection has hidden; restore it, or remove it."
            raise StorageError(message, hint=hint) from None
        self._notes.append(key)

    def bring_back_blob(self, key: str) -> bool:
        """Let a blob be in its place again; False if it is by now, or is nowhere any more."""
        if key not in self.blobs:
            return False
        copies = self._copies.get(key, [])
        absent = self._bucket.look(key) is None
        if absent and copies:
            self._bucket.copy(copies[-1].key, key, copies[-1].size)
        elif absent:
            absent = self._versions.unmark(key)
        self._bucket.remove([copy.key for copy in copies])
        del self.blobs[key]
        if not self.blobs:
            self.bring_back_links()
        return absent

    def bring_back_links(self) -> None:
        """Write the links again."""
        for outcome in outcomes_of(self._bring_back_link, list(self.links), self._bucket.pool.map):
            if isinstance(outcome, StorageError):
                raise outcome
        self.links = {}
        if not self.blobs:
            self._remove_notes()

    def _bring_back_link(self, key: str) -> bool:
        absent = self._bucket.look(key) is None
        return absent and put_link(self._bucket, key, self.links[key], self.blobs)

    def _remove_notes(self) -> None:
        """Remove what names all this, now that all is in its place; the sweep's own note last."""
        self._bucket.remove(self._notes)
        self._bucket.remove([layout.LINKS_ASIDE])


def _is_link(key: str) -> bool:
    parts = key.split("/")
    inside = key.startswith(f"{layout.REPOSITORIES}/") and parts[-1] == layout.LINK
    return inside and not {"", ".", ".."} & set(parts) and any(one in key for one in _LINK_PARTS)
