"""What goes and what stays in a removal of tags or manifests, each with its reason.

The rules: a tag goes alone. Its manifest goes with it if that was its last tag, no kept index lists
it and nothing protects it. Then its children that nothing else lists, and its referrers, go too.
Repositories are independent of each other here: they share only blobs.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from jettison.errors import Refused
from jettison.model.digest import Digest
from jettison.model.graph import Edges, reach
from jettison.model.listing_problems import summarized
from jettison.model.manifest import ManifestKind, referenced_digest
from jettison.model.names import Tag
from jettison.model.plan import Kept, KeptCode, Step, StepAction, StepCode
from jettison.model.snapshot import RepositorySnapshot
from jettison.model.traversal import postorder

__all__ = ["Removal", "plan_removal"]

_NAMED: Final = "named by the request", StepCode.NAMED
_NO_MANIFEST: Final = "leads to no readable manifest", StepCode.NO_MANIFEST


class Removal(msgspec.Struct, frozen=True):
    """The outcome for one repository: steps in the order of execution, and what stays."""

    steps: tuple[Step, ...]
    kept: tuple[Kept, ...]
    warnings: tuple[str, ...] = ()

    @property
    def manifests(self) -> frozenset[Digest]:
        """The manifests that go."""
        return frozenset(digest for step in self.steps if (digest := step.deletes) is not None)

    @property
    def tags(self) -> frozenset[Tag]:
        """The tags that go, whether alone or with their manifest."""
        return frozenset(tag for step in self.steps for tag in step.tags)


def plan_removal(
    repository: RepositorySnapshot,
    tags: AbstractSet[Tag],
    digests: AbstractSet[Digest] = frozenset(),
    *,
    break_indexes: bool = False,
) -> Removal:
    """Decide what goes when ``tags`` are untagged and ``digests`` are deleted.

    The snapshot must have all of them; ``tags`` may include tags without a manifest. A digest that
    a kept index lists raises :class:`~jettison.errors.Refused` unless ``break_indexes``. A kept
    manifest that cannot be read might list any other, and a tag that cannot be resolved might
    point to any. Then only tags go; but an unresolved tag does not stop the removal of named
    digests.
    """
    lost_tags = sorted(tags - repository.tags.keys())
    tags = tags & repository.tags.keys()
    tags_of = repository.tags_of()
    going = set(tags).union(*(tags_of.get(digest, ()) for digest in digests))
    start = {repository.tags[tag] for tag in going} | digests
    referrers = repository.referrers()
    affected = reach(start, repository.lists, referrers).manifests
    # Of each tag that says something about a manifest, which.
    about = {tag: subject for tag in repository.tags if (subject := referenced_digest(tag))}

    # What keeps others alive from now on: every tag that stays, unless it only says something
    # about a manifest that may go (then it lives or dies with that), and every untagged manifest
    # that is none of this removal's business.
    roots = {
        digest
        for tag, digest in repository.tags.items()
        if tag not in going and about.get(tag) not in affected
    }
    roots.update(digest for digest in repository.manifests if digest not in affected)
    roots.update(repository.unreadable - affected)
    weak = _referrers_left(repository, about, going, digests)
    edges = _edges_without(repository, digests) if break_indexes else repository.lists
    kept = reach(roots, edges, weak)
    warnings = [
        f"{repository.name}:{tag} leads to no manifest, so an undo cannot bring it back"
        for tag in lost_tags
    ]
    unneeded = affected - kept.manifests
    # An index may list what the repository does not have.
    present = repository.manifests.keys() | repository.unreadable
    gone = unneeded & present
    blind = kept.lost & present
    if blind:
        names = ", ".join(sorted(digest.short for digest in blind))
        warnings.append(
            f"{repository.name}: {names} cannot be understood and may list any manifest of the "
            "repository, so none is deleted, only tags are removed"
        )
        gone = unneeded = set(digests) if break_indexes else set()
    elif unknown := [one for one in repository.problems if one.subject not in lost_tags]:
        warnings.append(
            f"{repository.name}: {summarized(unknown, 'tag')} and may point to any "
            "manifest of the repository, so only tags are removed"
        )
        gone = unneeded = gone & digests
    refused = sorted(digests - gone)
    if refused:
        raise _held(repository, refused, kept.manifests, blind)

    order = [digest for digest in _order(unneeded, repository, referrers) if digest in gone]
    warnings += [
        f"{repository.name}: {digest.short} is of schema 1, and no registry takes it without its "
        "signatures, so an undo over the API cannot bring it back"
        for digest in order
        if digest in repository.manifests
        and repository.manifests[digest].kind is ManifestKind.SCHEMA1
    ]
    reasons = _Reasons(repository, tags, digests, unneeded, tags_of, referrers)
    steps = [
        Step(StepAction.UNTAG, repository.name, None, (tag,), *_NO_MANIFEST) for tag in lost_tags
    ]
    steps += [
        Step(StepAction.UNTAG, repository.name, repository.tags[tag], (tag,), *_NAMED)
        for tag in sorted(going)
        if repository.tags[tag] not in gone
    ]
    steps += [
        Step(
            StepAction.DELETE,
            repository.name,
            digest,
            tuple(tags_of.get(digest, ())),
            *reasons.why_gone(digest),
        )
        for digest in order
    ]
    stays = reasons.why_kept(affected & kept.manifests & present, going)
    return Removal(tuple(steps), tuple(stays), tuple(warnings))


def _referrers_left(
    repository: RepositorySnapshot,
    about: Mapping[Tag, Digest],
    going: AbstractSet[Tag],
    digests: AbstractSet[Digest],
) -> dict[Digest, list[Digest]]:
    """Return the referrers after the removal, without going tags and named digests."""
    left: dict[Digest, list[Digest]] = {}
    for manifest in repository.manifests.values():
        if manifest.subject is not None and manifest.digest not in digests:
            left.setdefault(manifest.subject, []).append(manifest.digest)
    for tag, subject in about.items():
        if tag not in going:
            left.setdefault(subject, []).append(repository.tags[tag])
    return left


def _edges_without(
    repository: RepositorySnapshot, digests: AbstractSet[Digest]
) -> Callable[[Digest], Edges[Digest] | None]:
    def edges(digest: Digest) -> Edges[Digest] | None:
        found = repository.lists(digest)
        if found is None:
            return None
        return found._replace(children=tuple(c for c in found.children if c not in digests))

    return edges


def _held(
    repository: RepositorySnapshot,
    refused: list[Digest],
    kept: AbstractSet[Digest],
    blind: AbstractSet[Digest],
) -> Refused:
    parents, tags_of = repository.parents(), repository.tags_of()
    digest = refused[0]
    holders = sorted(p for p in parents.get(digest, ()) if p in kept) or sorted(blind)
    names = ", ".join(_name(repository, holder, tags_of) for holder in holders)
    what = "may be listed by" if blind else "is listed by"
    message = f"{repository.name}@{digest} {what} {names}; deleting it would break that image"
    return Refused(message, hint="Delete the index instead, or add --break-indexes.")


def _order(
    gone: AbstractSet[Digest],
    repository: RepositorySnapshot,
    referrers: dict[Digest, list[Digest]],
) -> list[Digest]:
    """Sort so that a run that stops anywhere leaves garbage, never a broken image (decision 0017).

    Indexes go before their children, and subjects before their referrers: an orphaned signature
    is garbage, an image that lost its signature is damage. If the two contradict each other (a
    referrer that lists its own subject), the first one counts.
    """
    # Few manifests list others or are referred to.
    lists = {
        digest: [child for child in found if child in gone]
        for digest in gone
        if (found := repository.children(digest))
    }
    leads = {
        digest: sorted(d for d in referrers[digest] if d in gone)
        for digest in gone & referrers.keys()
    }

    def children(digest: Digest) -> Sequence[Digest]:
        return lists.get(digest, ())

    def below(digest: Digest) -> Sequence[Digest]:
        if digest not in leads:
            return children(digest)
        return [*children(digest), *leads[digest]]

    return postorder(postorder(sorted(gone), below), children)[::-1]


class _Reasons:
    """Finds the reason for each item that the removal concerns."""

    def __init__(
        self,
        repository: RepositorySnapshot,
        tags: AbstractSet[Tag],
        digests: AbstractSet[Digest],
        gone: AbstractSet[Digest],
        tags_of: Mapping[Digest, list[Tag]],
        referrers: Mapping[Digest, list[Digest]],
    ) -> None:
        self._repository = repository
        self._named = digests
        self._untagged = {repository.tags[tag] for tag in tags}
        self._gone = gone
        self._parents = repository.parents()
        self._tags_of = tags_of
        self._subjects = {
            referrer: subject
            for subject, found in sorted(referrers.items())
            if subject in gone
            for referrer in found
        }

    def why_gone(self, digest: Digest) -> tuple[str, StepCode]:
        if digest in self._named:
            return _NAMED
        if digest in self._untagged:
            return "its last tag goes", StepCode.LAST_TAG
        if digest in self._subjects:
            return f"refers to {self._subjects[digest].short}, which goes", StepCode.REFERRER
        parent = min(self._parents[digest]).short
        return f"child of {parent}, listed by nothing else", StepCode.CHILD

    def why_kept(
        self,
        kept: AbstractSet[Digest],
        going: AbstractSet[Tag],
    ) -> list[Kept]:
        found: list[Kept] = []
        for digest in sorted(kept):
            left = [tag for tag in self._tags_of.get(digest, ()) if tag not in going]
            if left:
                reason, code = "a tag of its own", KeptCode.TAGGED
                found += [Kept(self._repository.name, digest, tag, reason, code) for tag in left]
                continue
            holders = sorted(p for p in self._parents.get(digest, ()) if p not in self._gone)
            manifest = self._repository.manifests.get(digest)
            if holders:
                names = ", ".join(_name(self._repository, p, self._tags_of) for p in holders)
                reason, code = f"listed by {names}", KeptCode.LISTED
            elif manifest is not None and manifest.subject is not None:
                reason = f"refers to {manifest.subject.short}, which stays"
                code = KeptCode.REFERRER
            else:
                reason, code = "protected by what cannot be read", KeptCode.PROTECTED
            found.append(Kept(self._repository.name, digest, None, reason, code))
        return found


def _name(
    repository: RepositorySnapshot, digest: Digest, tags_of: Mapping[Digest, list[Tag]]
) -> str:
    tags = tags_of.get(digest)
    return f"{repository.name}:{tags[0]}" if tags else f"{repository.name}@{digest.short}"
