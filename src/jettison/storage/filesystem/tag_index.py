"""Which tags point to a manifest, without reading all tags of its repository for each manifest.

The tree knows only the other direction. So all tags are read once and remembered by digest, and
what is remembered is looked at again each time. It holds no fewer tags than there are as long as
the manifest's revision link is the one that was seen before the tags were read: whoever points a
tag to a manifest puts the manifest, and that writes its revision link anew, in every program.
"""

import threading
import time
from collections import defaultdict

from jettison.model.digest import RawDigest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem.reading import SETTLED_NS, TreeReader
from jettison.storage.filesystem.repository import Links, RepositoryReader
from jettison.storage.protocol import LinkKind
from jettison.storage.recent import Recent

__all__ = ["TagIndex", "TagIndexes"]


class TagIndex:
    """The tags of one repository by manifest; safe to use from several threads."""

    def __init__(self, tree: TreeReader, repository: RepoName) -> None:
        self._tree = tree
        self._repository = repository
        self._lock = threading.Lock()
        self._linked: dict[RawDigest, int] = {}
        self._tags: dict[RawDigest, list[Tag]] = {}

    def tags(self, digest: RawDigest) -> list[Tag]:
        """Return the tags that point to a manifest, sorted."""
        with self._lock, RepositoryReader(self._tree, self._repository) as reader:
            with reader.links(LinkKind.REVISION) as links:
                linked = links.stamp(digest)
                if linked is None or self._linked.get(digest) != linked:
                    self._read_all(reader, links)
            known = self._tags.get(digest, ())
            return sorted(tag for tag in known if reader.tag(tag) == digest)

    def _read_all(self, reader: RepositoryReader, links: Links) -> None:
        # A link that was written a moment ago may be written again without its time showing it.
        settled = time.time_ns() - SETTLED_NS
        self._linked = {
            digest: linked
            for digest in reader.revision_names()
            if (linked := links.stamp(digest)) is not None and linked < settled
        }
        tags: defaultdict[RawDigest, list[Tag]] = defaultdict(list)
        for tag, digest in reader.tags().current.items():
            tags[digest].append(tag)
        self._tags = dict(tags)


class TagIndexes(Recent[TagIndex]):
    """The tags, by manifest, of the repositories that were asked about last."""

    def __init__(self, tree: TreeReader) -> None:
        super().__init__(lambda repository: TagIndex(tree, repository))
