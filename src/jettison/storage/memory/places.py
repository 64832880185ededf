"""The names of places in memory. They mean nothing but what they say."""

from jettison.model.digest import ALGORITHMS, Digest, binary_digest
from jettison.storage.protocol import LinkKind, Named, Place

__all__ = ["MemoryPlaces"]


class MemoryPlaces:
    """Names places like addresses: ``repositories/app@layers/sha256/<hex>``."""

    top = Place("registry")
    ours = Place("ours")
    journal = Place("ours/runs")
    aside = Place("ours/aside")

    def blob(self, digest: Digest) -> Place:
        """Return the name of a blob's place."""
        return Place(f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}")

    def aside_blob(self, digest: Digest) -> Place:
        """Return the name of a blob that lies aside."""
        return Place(f"{self.aside}/{digest.algorithm}/{digest.hex}")

    def blob_group(self, group: str) -> Place:
        """Return the name of a group of blobs."""
        return Place(f"blobs/{group}")

    def repository(self, name: str) -> Place:
        """Return the name of a repository's place; "" is that of all."""
        return Place(f"repositories/{name}" if name else "repositories")

    def tag(self, repository: str, tag: str) -> Place:
        """Return the name of a tag's link."""
        return Place(f"{self.whole_tag(repository, tag)}@current")

    def whole_tag(self, repository: str, tag: str) -> Place:
        """Return the name of a tag with all that belongs to it."""
        return Place(f"repositories/{repository}:{tag}")

    def links(self, kind: LinkKind, repository: str, algorithm: str) -> Place:
        """Return the name of all links of a kind and algorithm."""
        return Place(f"repositories/{repository}@{kind.value}s/{algorithm}")

    def link(self, kind: LinkKind, repository: str, digest: Digest) -> Place:
        """Return the name of a link's place."""
        return Place(f"{self.links(kind, repository, digest.algorithm)}/{digest.hex}")

    def history(self, repository: str, tag: str, algorithm: str) -> Place:
        """Return the name of a tag's history."""
        return Place(f"{self.whole_tag(repository, tag)}@history/{algorithm}")

    def history_link(self, repository: str, tag: str, digest: Digest) -> Place:
        """Return the name of an entry of a tag's history."""
        return Place(f"{self.history(repository, tag, digest.algorithm)}/{digest.hex}")

    def upload(self, repository: str, upload: str) -> Place:
        """Return the name of an unfinished upload's place."""
        return Place(f"repositories/{repository}@uploads/{upload}")

    def named(self, place: str) -> Named | None:
        """Return what the place of a blob or of a link is; None for any other."""
        above, _, encoded = place.rpartition("/")
        for algorithm in ALGORITHMS:
            raw = binary_digest(algorithm, encoded)
            if raw is None:
                continue
            digest = Digest.from_binary(raw)
            if place == self.blob(digest):
                return Named(digest)
            for kind in LinkKind:
                name = above.removeprefix("repositories/").rpartition("@")[0]
                if place == self.link(kind, name, digest):
                    return Named(digest, kind, name)
        return None
