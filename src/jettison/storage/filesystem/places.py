"""The names of places in a storage tree: paths relative to its root."""

from jettison.model.digest import Digest
from jettison.storage.filesystem import layout
from jettison.storage.protocol import LinkKind, Named, Place

__all__ = ["TreePlaces"]


class TreePlaces:
    """Names places as :mod:`~jettison.storage.filesystem.layout` lays them out."""

    top = Place(layout.MARKER)
    ours = Place(layout.OURS)
    journal = Place(layout.RUNS)
    aside = Place(layout.SET_ASIDE)

    def blob(self, digest: Digest) -> Place:
        """Return the file with a blob's bytes."""
        return Place(layout.blob_data(digest))

    def aside_blob(self, digest: Digest) -> Place:
        """Return the file that a blob is renamed to before it is removed."""
        return Place(layout.set_aside(digest))

    def blob_group(self, group: str) -> Place:
        """Return the folder that a group's blobs have their folders in."""
        return Place(f"{layout.BLOBS}/{group}")

    def repository(self, name: str) -> Place:
        """Return the folder of a repository; "" is the one that all are in."""
        return Place(layout.repository(name) if name else layout.REPOSITORIES)

    def tag(self, repository: str, tag: str) -> Place:
        """Return the file that says what a tag points to."""
        return Place(layout.current_link(repository, tag))

    def whole_tag(self, repository: str, tag: str) -> Place:
        """Return the folder of a tag."""
        return Place(layout.tag_folder(repository, tag))

    def links(self, kind: LinkKind, repository: str, algorithm: str) -> Place:
        """Return the folder that the links of an algorithm have their folders in."""
        return Place(f"{layout.repository(repository)}/{layout.KINDS[kind]}/{algorithm}")

    def link(self, kind: LinkKind, repository: str, digest: Digest) -> Place:
        """Return the file that makes a blob or manifest part of a repository."""
        above = self.links(kind, repository, digest.algorithm)
        return Place(f"{above}/{digest.hex}/{layout.LINK}")

    def history(self, repository: str, tag: str, algorithm: str) -> Place:
        """Return the folder that a tag's history of an algorithm has its folders in."""
        return Place(f"{layout.history(repository, tag)}/{algorithm}")

    def history_link(self, repository: str, tag: str, digest: Digest) -> Place:
        """Return the file that says that a tag once pointed to a digest."""
        return Place(layout.history_link(repository, tag, digest))

    def upload(self, repository: str, upload: str) -> Place:
        """Return the folder of an unfinished upload."""
        return Place(f"{layout.uploads(repository)}/{upload}")

    def named(self, place: str) -> Named | None:
        """Return what the file of a blob or of a link is; None for any other."""
        parts = place.split("/")
        for algorithm in parts[-4:-2]:
            digest = layout.digest_of(algorithm, parts[-2])
            if digest is None:
                continue
            if place == self.blob(digest):
                return Named(digest)
            above = "/".join(parts[:-3]).removeprefix(f"{layout.REPOSITORIES}/")
            for kind, inner in layout.KINDS.items():
                name = above.removesuffix(f"/{inner}")
                if place == self.link(kind, name, digest):
                    return Named(digest, kind, name)
        return None
