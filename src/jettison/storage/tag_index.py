"""The tags of each manifest, without reading all tags of its repository for each.

A storage has only the other direction. So all tags are read once and remembered by digest, and the
remembered ones are checked each time. None is missing as long as the manifest's revision link is
the one seen before the tags were read: every program that points a tag to a manifest puts the
manifest, and that writes its revision link anew.
"""

import threading
import time
from collections import defaultdict
from typing import Final

from jettison.model.digest import BinaryDigest
from jettison.model.names import RepoName, Tag
from jettison.storage.protocol import LinkKind, Links, RepositoryScan, Scanning, Stamp, stamp_at
from jettison.storage.recent import Recent

__all__ = ["TagIndex", "TagIndexes"]

SETTLED_SECONDS: Final = 2.0
"""Something that changed so lately may change again without a new stamp."""


class TagIndex:
    """The tags of one repository by manifest; safe to use from several threads."""

    def __init__(self, storage: Scanning, repository: RepoName) -> None:
        self._storage = storage
        self._repository = repository
        self._lock = threading.Lock()
        self._linked: dict[BinaryDigest, Stamp] = {}
        self._tags: dict[BinaryDigest, list[Tag]] = {}

    def tags(self, digest: BinaryDigest) -> list[Tag]:
        """Return the tags that point to a manifest, sorted."""
        with self._lock, self._storage.repository(self._repository) as reader:
            with reader.links(LinkKind.REVISION) as links:
                linked = links.stamp(digest)
                if linked is None or self._linked.get(digest) != linked:
                    self._read_all(reader, links)
            known = self._tags.get(digest, ())
            return sorted(tag for tag in known if reader.tag(tag) == digest)

    def _read_all(self, reader: RepositoryScan, links: Links) -> None:
        # A link that was written a moment ago may be written again without its time showing it.
        settled = stamp_at(time.time() - SETTLED_SECONDS)
        self._linked = {
            digest: linked
            for digest in reader.revision_names()
            if (linked := links.stamp(digest)) is not None and linked < settled
        }
        tags: defaultdict[BinaryDigest, list[Tag]] = defaultdict(list)
        for tag, digest in reader.tags().current.items():
            tags[digest].append(tag)
        self._tags = dict(tags)


class TagIndexes(Recent[TagIndex]):
    """The tags, by manifest, of the latest repositories."""

    def __init__(self, storage: Scanning) -> None:
        super().__init__(lambda repository: TagIndex(storage, repository))
