"""What an undo restores and what it leaves, decided from the observed state.

A tag that points to another image by now is left. An undo concerns nothing that the run did not
touch. An image comes back whole or not at all, apart from what was missing before the run: a sparse
index comes back as sparse as it was.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeGuard

import msgspec

from jettison.errors import InvalidManifest
from jettison.model.digest import Digest
from jettison.model.journal import JournalEntry, RemovalEntry, SavedManifest, StepLeft, UndoEntry
from jettison.model.manifest import parse_manifest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Step
from jettison.model.snapshot import Node
from jettison.model.traversal import postorder

__all__ = [
    "Looked",
    "Needs",
    "NotBack",
    "TagSeen",
    "UndoPlan",
    "Undoable",
    "decide_undo",
    "is_undoable",
    "needs_of",
    "taken_tags",
    "untagged_nodes",
]


class Needs(msgspec.Struct, frozen=True):
    """What a manifest references: its blobs have the size, in bytes, that it gives.

    Blobs that are not distributable are left out.
    """

    children: tuple[Digest, ...] = ()
    blobs: dict[Digest, int | None] = {}
    subject: Digest | None = None


def needs_of(raw: bytes, media_type: str) -> Needs:
    """Return what a manifest references; nothing if it cannot be understood."""
    try:
        manifest = parse_manifest(raw, media_type)
    except InvalidManifest:
        return Needs()
    return Needs(
        tuple(child.digest for child in manifest.children),
        {blob.digest: blob.size for blob in manifest.blobs if blob.distributable},
        manifest.subject,
    )


class Looked(msgspec.Struct, frozen=True):
    """A manifest that an undo needs, with its bytes, and whether the registry has it."""

    saved: SavedManifest
    present: bool
    needs: Needs


class TagSeen(msgspec.Struct, frozen=True):
    """A tag that a run took from ``digest``, and where it points ``now``, to ``saved``.

    ``gave`` is where the run itself pointed it (an undo that overwrote it); ``stand_in`` says that
    it points to a placeholder.
    """

    repository: RepoName
    tag: Tag
    digest: Digest
    now: Digest | None = None
    gave: Digest | None = None
    saved: SavedManifest | None = None
    stand_in: bool = False

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.repository}:{self.tag}"

    @property
    def taken(self) -> bool:
        """Whether others have pointed it to another image."""
        return self.now not in {None, self.digest, self.gave} and not self.stand_in


class NotBack(msgspec.Struct, frozen=True):
    """A tag or manifest that an undo leaves, and why; ``taken``: its name is in use."""

    subject: str
    reason: str
    taken: bool = False


class UndoPlan(msgspec.Struct, frozen=True):
    """What an undo restores: blobs from a backup, manifests in order, tags.

    ``there`` are tags that need no step. ``throwaways`` are placeholders that an interrupted run
    may have left on a tag. ``displaced`` are the images whose tags are taken back, ``left`` is what
    is not restored. ``missing`` are blobs and children that were absent before the run; images that
    need them are restored as they were.
    """

    blobs: tuple[tuple[RepoName, Digest], ...] = ()
    manifests: tuple[SavedManifest, ...] = ()
    tags: tuple[tuple[RepoName, Tag, Digest], ...] = ()
    throwaways: tuple[tuple[RepoName, Digest], ...] = ()
    displaced: tuple[SavedManifest, ...] = ()
    left: tuple[NotBack, ...] = ()
    missing: tuple[tuple[RepoName, Digest], ...] = ()
    there: tuple[tuple[RepoName, Tag, Digest], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to restore."""
        return not (self.blobs or self.manifests or self.tags)


Undoable = RemovalEntry | UndoEntry
"""What may have removed something that can be restored through the registry."""


def is_undoable(run: JournalEntry) -> TypeGuard[Undoable]:
    """Whether a run did so."""
    return isinstance(run, RemovalEntry) or (isinstance(run, UndoEntry) and bool(run.saved))


def taken_tags(run: Undoable, begun: AbstractSet[int] | None) -> dict[tuple[RepoName, Tag], Digest]:
    """Return the tags that a run took, or may have taken, with their digests.

    ``begun`` are the steps that it began, None if all. A tag without a manifest is left out: it
    cannot be set again.
    """
    if isinstance(run, UndoEntry):
        return {(one.repository, tag): one.digest for one in run.saved for tag in one.tags}
    return {
        (step.repository, tag): step.digest
        for step, left in _steps(run, begun)
        if step.digest is not None
        for tag in step.tags
        if left is None or tag not in left.tags
    }


def untagged_nodes(run: Undoable, begun: AbstractSet[int] | None) -> set[Node]:
    """Return the manifests without a tag that a run removed, or may have removed."""
    if isinstance(run, UndoEntry):
        return {(one.repository, one.digest) for one in run.saved if not one.tags}
    return {
        (step.repository, step.deletes)
        for step, left in _steps(run, begun)
        if left is None and not step.tags and step.deletes is not None
    }


def _steps(
    run: RemovalEntry, begun: AbstractSet[int] | None
) -> Iterator[tuple[Step, StepLeft | None]]:
    """Yield the steps that a run began, with what it left of each."""
    left = {one.step: one for one in run.left}
    for number, step in enumerate(run.plan.steps):
        if begun is None or number in begun:
            yield step, left.get(number)


def decide_undo(
    tags: Sequence[TagSeen],
    untagged: Iterable[Node],
    looked: Mapping[Node, Looked],
    absent: Mapping[Node, str],
    backed: AbstractSet[Node],
    before: AbstractSet[Node],
    *,
    overwrite: bool = False,
) -> UndoPlan:
    """Decide from the tags and manifests that a run removed, and from the present state.

    ``looked`` are the manifests found anywhere. ``absent`` are blobs that the registry lacks or
    has damaged, with what is wrong; those in ``backed`` come from a backup, and ``before`` were
    missing before the run. ``overwrite`` takes back tags that point to other images.
    """
    taken = [] if overwrite else [seen for seen in tags if seen.taken]
    free = [seen for seen in tags if overwrite or not seen.taken]
    gone = {blob: why for blob, why in absent.items() if blob not in backed | before}
    family = _Family(tags, set(untagged), looked)
    starts = {_node(seen) for seen in free} | family.orphans
    lost: dict[Node, str] = {}
    for node in family.reach(starts):
        reason = _what_is_lost(node, looked, gone, before, lost)
        if reason is not None:
            lost[node] = reason
    whole = family.reach(starts - lost.keys(), without=lost)
    back = [seen for seen in free if _node(seen) not in lost]
    left = [NotBack(s.name, f"now points to {s.now}, and stays there", taken=True) for s in taken]
    left += [NotBack(seen.name, lost[_node(seen)]) for seen in free if _node(seen) in lost]
    left += [
        NotBack(f"{node[0]}@{node[1]}", lost[node])
        for node in sorted(family.untagged & lost.keys())
        if not any(owner in lost for owner in family.owners[node])
    ]
    needed = {(node[0], blob) for node in whole for blob in looked[node].needs.blobs}
    children = {(node[0], child) for node in whole for child in looked[node].needs.children}
    return UndoPlan(
        blobs=tuple(sorted(needed & absent.keys() & backed)),
        manifests=tuple(looked[node].saved for node in whole if not looked[node].present),
        tags=tuple((s.repository, s.tag, s.digest) for s in back if s.now != s.digest),
        throwaways=tuple((s.repository, s.now) for s in back if s.stand_in and s.now is not None),
        displaced=tuple(s.saved for s in back if s.saved is not None and not s.stand_in),
        left=tuple(left),
        there=tuple((s.repository, s.tag, s.digest) for s in back if s.now == s.digest),
        missing=tuple(sorted((needed & absent.keys() | children - looked.keys()) & before)),
    )


def _node(seen: TagSeen) -> Node:
    return (seen.repository, seen.digest)


class _Family:
    """Which manifests come back together.

    An untagged manifest comes back with the image of the same run that lists it or that it refers
    to (``owners``). ``orphans`` have no such image, and come back by themselves.
    """

    def __init__(
        self, tags: Sequence[TagSeen], untagged: AbstractSet[Node], looked: Mapping[Node, Looked]
    ) -> None:
        self.untagged = untagged
        self.owners: defaultdict[Node, list[Node]] = defaultdict(list)
        self._looked = looked
        self._referrers: defaultdict[Node, list[Node]] = defaultdict(list)
        own = untagged | {_node(seen) for seen in tags}
        for node in sorted(own & looked.keys()):
            needs = looked[node].needs
            for child in needs.children:
                self.owners[node[0], child].append(node)
            if needs.subject is not None and node in untagged:
                subject = (node[0], needs.subject)
                if subject in own:
                    self.owners[node].append(subject)
                    self._referrers[subject].append(node)
        self.orphans = {node for node in untagged if node not in self.owners}

    def reach(self, starts: Iterable[Node], without: Container[Node] = ()) -> list[Node]:
        """Return what comes back, each manifest after its children and after its subject."""

        def children(node: Node) -> list[Node]:
            found = self._looked.get(node)
            digests = () if found is None else found.needs.children
            return [(node[0], digest) for digest in digests if (node[0], digest) in self._looked]

        def with_it(node: Node) -> list[Node]:
            others = [*children(node), *self._referrers[node]]
            return [other for other in others if other not in without]

        reached = postorder(sorted(starts), with_it)
        inside = set(reached)

        def first(node: Node) -> list[Node]:
            found = self._looked.get(node)
            subject = None if found is None else found.needs.subject
            before = children(node) + ([] if subject is None else [(node[0], subject)])
            return [other for other in before if other in inside]

        return postorder(reached, first)


def _what_is_lost(
    node: Node,
    looked: Mapping[Node, Looked],
    gone: Mapping[Node, str],
    before: AbstractSet[Node],
    lost: Mapping[Node, str],
) -> str | None:
    """Return why a manifest cannot be restored as it was, or None."""
    found = looked.get(node)
    repository = node[0]
    if found is None:
        return "its manifest is gone"
    for blob in found.needs.blobs:
        if (repository, blob) in gone:
            return f"its blob {blob} {gone[repository, blob]}"
    for child in found.needs.children:
        other = (repository, child)
        if other in before:
            continue
        if other not in looked:
            return f"its child {child} is gone"
        if other in lost:
            return f"of its child {child}, {lost[other]}"
    return None
