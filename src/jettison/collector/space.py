"""Counting whose each byte of a storage is, while a collection of it is planned.

The plan reads all that is needed: what each repository reaches, and which blobs there are. So the
count costs a look at the sizes of the blobs that stay, and reads nothing again. What class a blob
is in that nothing reaches, the plan tells.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

from jettison.collector.plan import CollectionPlan
from jettison.collector.scan import RepositoryScanned
from jettison.model.digest import BinaryDigest, in_a_row
from jettison.model.digest_rows import row_of
from jettison.model.plausibility import Amount
from jettison.model.space import (
    NOBODY,
    ClassTotals,
    Hold,
    Holders,
    RepositorySpace,
    Space,
    SpaceClass,
    SpaceSums,
    class_of_kept,
    repositories_of,
)
from jettison.storage.protocol import Repositories

__all__ = ["SpaceCount"]


class SpaceCount:
    """The space of a storage, counted by one plan; a plan that is made again begins anew.

    ``scan`` is what the storage listed as repositories.
    """

    def __init__(self) -> None:
        self.begin(Repositories([], [], [], []))

    def begin(self, scan: Repositories) -> None:
        """Begin to count."""
        self.scan = scan
        self._holders = Holders()
        self._sums = SpaceSums()
        self._names: list[str] = []
        self._tags: list[int] = []
        self._uploads: list[Amount] = []

    def add(self, name: str, scanned: RepositoryScanned) -> None:
        """Note what a repository holds."""
        number = len(self._names)
        self._names.append(name)
        self._tags.append(scanned.tags)
        self._uploads.append(Amount(*scanned.unfinished))
        untagged = set(in_a_row(scanned.untagged_only))
        reached = {*in_a_row(scanned.reached), *map(BinaryDigest, scanned.reached_long)}
        self._holders.add(number, Hold.TAG, reached - untagged)
        self._holders.add(number, Hold.MANIFEST, untagged)
        places = set(in_a_row(scanned.unused))
        links = chain(scanned.layer_links, scanned.revisions)
        places.update(BinaryDigest(link.digest) for link in links)
        empty = chain(scanned.emptied, scanned.empty_layers)
        places.update(BinaryDigest(place.digest) for place in empty)
        places.update(map(BinaryDigest, chain(scanned.protected, scanned.young)))
        places.update(BinaryDigest(digest) for digest, _ in scanned.held)
        self._holders.add(number, Hold.PLACE, places - reached)

    # Blobs, group by group. What is looked at in another process is taken over by this one.

    def kept(
        self,
        digests: Sequence[BinaryDigest],
        sizes: Iterable[int | None],
        loose: Sequence[BinaryDigest],
    ) -> tuple[SpaceSums, list[list[int]]]:
        """Return the sums of blobs that stay, and the repositories of each ``loose`` one.

        All are of one group.
        """
        sums = SpaceSums()
        row = self._holders.row(row_of(next(iter((*digests, *loose))))) if digests or loose else {}
        for digest, size in zip(digests, sizes, strict=True):
            found = class_of_kept(row.get(digest, ()))
            if size is not None and found is not None:
                sums.add(found[0], size, found[1])
        return sums, [repositories_of(row.get(digest, ())) for digest in loose]

    def take(self, sums: SpaceSums) -> None:
        """Take over the sums of a group."""
        self._sums.merge(sums)

    def loose(self, kind: SpaceClass, size: int, repositories: Sequence[int]) -> None:
        """Count a blob that no repository reaches."""
        self._sums.add(kind, size, repositories)

    def keep_young(self, blobs: Iterable[tuple[BinaryDigest, int]]) -> None:
        """Count blobs (with their sizes) as young that were garbage."""
        for digest, size in blobs:
            repositories = repositories_of(self._holders.row(row_of(digest)).get(digest, ()))
            self._sums.move(size, repositories, SpaceClass.GARBAGE, SpaceClass.YOUNG)

    def space(self, plan: CollectionPlan) -> Space:
        """Return what was counted while this plan was made."""
        repositories = [
            RepositorySpace(
                repository=name,
                tags=self._tags[number],
                uploads=self._uploads[number],
                **self._sums.of(number),
            )
            for number, name in enumerate(self._names)
        ]
        repositories.sort(key=lambda one: one.repository)
        return Space(
            plan.root,
            tuple(repositories),
            ClassTotals(**self._sums.of(NOBODY), uploads=Amount()),
            ClassTotals(**self._sums.total, uploads=Amount.of_all(self._uploads)),
            oldest_garbage_ns=min((blob.stamp for blob in plan.blobs), default=None),
        )
