"""The space of a registry that is seen over its API: by what its manifests say of their content.

Repositories are seen one after the other, so that a registry of any size fits in memory.
"""

from collections.abc import Mapping

from jettison.model.digest import Digest
from jettison.model.digest_rows import ROWS, DigestRows
from jettison.model.graph import reach
from jettison.model.plausibility import Amount
from jettison.model.retention.removed_bytes import sizes_of_contents
from jettison.model.snapshot import RepositorySnapshot
from jettison.model.space import (
    ClassTotals,
    Hold,
    Holders,
    RepositorySpace,
    Space,
    SpaceSums,
    class_of_kept,
)

__all__ = ["DescribedSpace"]


class DescribedSpace:
    """Space counted by descriptors.

    What nothing needs no API shows, and few show manifests without a tag: these are None then.
    """

    def __init__(self) -> None:
        self._holders = Holders()
        self._sizes = DigestRows("Q")
        self._repositories: list[tuple[str, int, bool]] = []

    @property
    def complete(self) -> bool:
        """Whether manifests without a tag were seen in all repositories."""
        return all(complete for _, _, complete in self._repositories)

    def add(self, repository: RepositorySnapshot, measured: Mapping[Digest, int]) -> None:
        """Count a repository; ``measured`` are sizes in bytes that no descriptor gives."""
        number = len(self._repositories)
        self._repositories.append((repository.name, len(repository.tags), repository.complete))
        present = repository.manifests.keys() | repository.unreadable
        sizes = sizes_of_contents(repository, present)
        for digest, size in sizes.items():
            self._sizes.add(digest.binary, measured.get(digest, size))
        found = reach(set(repository.tags.values()), repository.edges, repository.referrers())
        tagged = found.manifests & present
        # What cannot be understood may need everything in its repository (decision 0002).
        needed = sizes if found.lost & present else sizes_of_contents(repository, tagged)
        self._holders.add(number, Hold.TAG, (digest.binary for digest in needed))
        others = sizes.keys() - needed.keys()
        self._holders.add(number, Hold.MANIFEST, (digest.binary for digest in others))

    def space(self, place: str, unknown: tuple[str, ...]) -> Space:
        """Return what was counted."""
        sums = SpaceSums()
        for index in range(ROWS):
            sizes: dict[bytes, int] = {}
            for digest, size in self._sizes.row(index):
                # Descriptors may lie; the largest size is the one that is never too low.
                sizes[digest] = max(size, sizes.get(digest, 0))
            for digest, holders in self._holders.row(index).items():
                kept = class_of_kept(holders)
                if kept is not None:
                    sums.add(kept[0], sizes[digest], kept[1])
        repositories = [
            RepositorySpace(repository=name, tags=tags, **_seen(sums.of(number), complete))
            for number, (name, tags, complete) in enumerate(self._repositories)
        ]
        repositories.sort(key=lambda one: one.repository)
        return Space(
            place,
            tuple(repositories),
            ClassTotals(own=Amount(), shared=Amount()),
            ClassTotals(**_seen(sums.total, self.complete)),
            unknown,
        )


def _seen(amounts: Mapping[str, Amount], complete: bool) -> dict[str, Amount]:  # noqa: FBT001 - a fact
    names = ("own", "shared", "untagged") if complete else ("own", "shared")
    return {name: amounts[name] for name in names}
