"""The decision: what of a repository stays and what goes, by a policy, at a time.

It is a pure function of what is in the repository, of its times, of the policy and of the time
now. Repositories are decided each by itself; an image that another repository has too is another
image. What a decision removes is then planned by :func:`jettison.model.removal.plan_removal`,
which keeps whatever something that stays needs.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from jettison.model.codec import plain
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.manifest import referenced_digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Evidence
from jettison.model.retention.image_times import ImageTimes
from jettison.model.retention.images import Image, Images, find_images
from jettison.model.retention.patterns import Matcher, Pattern, matcher
from jettison.model.retention.policy import Clock, Policy, Remove, Rule, State
from jettison.model.retention.reasons import Decision, Reason
from jettison.model.retention.rule_set import Member, Outcome, RuleSet, Verdict
from jettison.model.snapshot import RepositorySnapshot

__all__ = ["NOTHING_HELD", "Decider", "GroupSizes", "Held", "RepositoryDecision", "Sums"]


class Held(msgspec.Struct, frozen=True):
    """What a run may not remove, beside what its policy protects.

    ``tags`` and ``digests`` are in use, each with who uses it. A digest is held in every
    repository, as that of a manifest or of an image's config, by which machines call what they
    run. ``immutable`` are patterns of tags.
    """

    tags: Mapping[tuple[RepoName, Tag], str] = {}
    digests: Mapping[Digest, str] = {}
    immutable: tuple[Pattern, ...] = ()

    @property
    def fingerprint(self) -> Digest:
        """The digest of what is held, whoever uses it."""
        what = (sorted(self.tags), sorted(self.digests), sorted(self.immutable))
        return Digest.of(msgspec.json.encode(plain(what)))


NOTHING_HELD: Final = Held()


class Sums(msgspec.Struct, frozen=True):
    """How many images a rule with an age and a count removes, by both readings."""

    rule: str
    old_and_beyond: int
    old_or_beyond: int


class GroupSizes(msgspec.Struct, frozen=True):
    """The groups of a rule in a repository, each with the number of its images."""

    rule: str
    repository: RepoName
    sizes: Mapping[str, int]

    @property
    def are_single(self) -> bool:
        """Whether most groups have one image, which is rarely meant."""
        alone = sum(size == 1 for size in self.sizes.values())
        return len(self.sizes) > 1 and alone * 2 > len(self.sizes)


class RepositoryDecision(msgspec.Struct, frozen=True):
    """The decisions for a repository, in the order of its tags, then of its untagged manifests.

    ``images`` is the number of images that there are, of which ``removed_images`` go.
    """

    repository: RepoName
    decisions: tuple[Decision, ...]
    images: int = 0
    removed_images: int = 0
    sums: tuple[Sums, ...] = ()
    groups: tuple[GroupSizes, ...] = ()

    @property
    def tags(self) -> frozenset[Tag]:
        """The tags that go."""
        return frozenset(d.tag for d in self.decisions if d.removed and d.tag is not None)

    @property
    def digests(self) -> frozenset[Digest]:
        """The untagged manifests that go."""
        return frozenset(d.digest for d in self.decisions if d.removed and d.tag is None)


class _Rule(NamedTuple):
    """A rule, with its patterns compiled."""

    rule: Rule
    name: str
    repositories: Matcher
    tags: Matcher
    types: Matcher | None


def _any_but(patterns: Iterable[Pattern], excepted: Iterable[Pattern]) -> Matcher:
    wanted, unwanted = matcher(patterns), matcher(excepted)
    if not tuple(excepted):
        return wanted
    return lambda name: wanted(name) and not unwanted(name)


class Decider:
    """Decides repository after repository by one policy at one time.

    ``now`` is in seconds since the epoch. ``held`` is what nothing removes.
    """

    def __init__(self, policy: Policy, now: float, held: Held = NOTHING_HELD) -> None:
        self.now = now
        self.zone = policy.zone
        self.held = held
        self.protect = policy.protect
        self.protected = [(matcher([one]), one) for one in policy.protect.tags]
        self.immutable = [(matcher([one]), one) for one in held.immutable]
        self.repositories = [(matcher([one]), one) for one in policy.protect.repositories]
        self.rules = [
            _Rule(
                rule,
                rule.name or f"rule {number}",
                _any_but(rule.repositories, rule.except_repositories),
                _any_but(rule.tags, rule.except_tags),
                None if rule.artifact_types is None else matcher(rule.artifact_types),
            )
            for number, rule in enumerate(policy.rules, 1)
        ]

    def names(self, repository: str) -> bool:
        """Whether any rule may remove something of a repository."""
        if any(matches(repository) for matches, _ in self.repositories):
            return False
        return any(one.rule.removes and one.repositories(repository) for one in self.rules)

    def selects(self, repository: str, tag: str) -> bool:
        """Whether a rule is about a tag."""
        return any(one.repositories(repository) and one.tags(tag) for one in self.rules)

    def needs_created(self, repository: str, evidence: Evidence) -> bool:
        """Whether a decision rests on the times of creation, by what is known of pushes."""
        told = [*evidence.tags.values(), *evidence.manifests.values()]
        pushed = bool(evidence.unknown) or evidence.copied
        pushed = pushed or any(times.pushed is not None for times in told)
        return any(
            one.rule.clock is Clock.CREATED or (one.rule.clock is Clock.AUTO and not pushed)
            for one in self.rules
            if one.rule.state is State.TAGGED and one.repositories(repository)
        )

    def states(self, repository: str) -> set[State]:
        """Return the states of images that rules are about in a repository."""
        return {one.rule.state for one in self.rules if one.repositories(repository)}

    def decide(self, repository: RepositorySnapshot, evidence: Evidence) -> RepositoryDecision:
        """Return the decision for each tag and each untagged manifest of a repository.

        It depends on nothing else than the arguments, and not on their order.
        """
        return _Repository(self, repository, evidence).decide()


class _Repository:
    """One repository while it is decided."""

    def __init__(
        self, decider: Decider, repository: RepositorySnapshot, evidence: Evidence
    ) -> None:
        self._by = decider
        self._repository = repository
        self._evidence = evidence
        self._times = ImageTimes(repository, evidence, decider.now)
        self._images: Images = find_images(repository)
        self._keeps: dict[Tag | Digest, Decision] = {}
        self._removes: dict[Tag | Digest, Decision] = {}
        self._passes: dict[Tag | Digest, Decision] = {}
        self._sums: list[Sums] = []
        self._groups: list[GroupSizes] = []
        # What rules say of tags that follow an image: without a say of their own they do not go.
        self._followers: dict[Outcome, dict[Tag, tuple[str, Verdict]]] = {
            one: {} for one in Outcome
        }

    def decide(self) -> RepositoryDecision:
        by, name = self._by, self._repository.name
        self._hold()
        for rule in by.rules:
            if rule.repositories(name):
                self._apply(rule)
        removed = sum(map(self._goes, self._images.images))
        self._follow()
        found = [self._final(tag, tag, digest) for tag, digest in self._all_tags()]
        found += [
            self._final(image.digest, None, image.digest)
            for image in self._images.images
            if not image.tags
        ]
        return RepositoryDecision(
            name,
            tuple(found),
            len(self._images.images),
            removed,
            tuple(self._sums),
            tuple(self._groups),
        )

    def _all_tags(self) -> Iterable[tuple[Tag, Digest]]:
        """Yield the tags that a decision is about; those of the form sha256-<hex>… follow."""
        mine = {tag for image in self._images.images for tag in image.tags}
        for tag in sorted(self._repository.tags):
            if tag in mine or tag in self._images.following:
                yield tag, self._repository.tags[tag]

    def _final(self, key: Tag | Digest, tag: Tag | None, digest: Digest) -> Decision:
        for found in (self._keeps, self._removes, self._passes):
            if key in found:
                return found[key]
        return Decision(self._repository.name, digest, tag, removed=False, reason=Reason.NO_RULE)

    def _of(self, verdict: Verdict) -> dict[Tag | Digest, Decision]:
        if verdict.outcome is Outcome.PASSED:
            return self._passes
        return self._removes if verdict.outcome is Outcome.REMOVED else self._keeps

    # What nothing removes.

    def _hold(self) -> None:
        by, name = self._by, self._repository.name
        whole = next((p for matches, p in by.repositories if matches(name)), None)
        used = self._in_use()
        for image in self._images.images:
            keys: tuple[Tag | Digest, ...] = image.tags or (image.digest,)
            for key in keys:
                found = self._holder(image, key, whole, used)
                if found is not None:
                    self._note(image, key, "", Verdict(Outcome.KEPT, *found))
                elif not image.known:
                    verdict = Verdict(Outcome.KEPT, Reason.TYPE_UNKNOWN)
                    self._note(image, key, "", verdict)

    def _holder(
        self,
        image: Image,
        key: Tag | Digest,
        whole: Pattern | None,
        used: Mapping[Digest, tuple[Reason, str]],
    ) -> tuple[Reason, str] | None:
        by, name = self._by, self._repository.name
        if whole is not None:
            return Reason.PROTECTED, whole
        if image.digest in used:
            return used[image.digest]
        if not isinstance(key, Tag):
            return None
        user = by.held.tags.get((name, key))
        if user is not None:
            return Reason.IN_USE, user
        for patterns, reason in (
            (by.protected, Reason.PROTECTED),
            (by.immutable, Reason.IMMUTABLE),
        ):
            found = next((pattern for matches, pattern in patterns if matches(key)), None)
            if found is not None:
                return reason, found
        return None

    def _in_use(self) -> dict[Digest, tuple[Reason, str]]:
        """Return the images that need a digest which is held, with who holds it."""
        by, repository = self._by, self._repository
        held = {d: (Reason.IN_USE, user) for d, user in by.held.digests.items()}
        held |= {d: (Reason.PROTECTED, d.short) for d in by.protect.digests}
        if not held and not by.held.tags:
            return {}
        wanted = {d: held[d] for d in held.keys() & self._known_digests()}
        for digest, manifest in repository.manifests.items():
            config = manifest.config
            if config is not None and config.digest in by.held.digests:
                wanted.setdefault(digest, held[config.digest])
        for name, tag in by.held.tags:
            # What has such a tag goes with its subject, whatever becomes of the tag.
            if name == repository.name and tag in repository.tags and referenced_digest(tag):
                wanted[repository.tags[tag]] = Reason.IN_USE, by.held.tags[name, tag]
        if not wanted:
            return {}
        referrers = repository.referrers()
        found = {}
        for image in self._images.images:
            below = reach([image.digest], repository.lists, referrers).manifests & wanted.keys()
            if below:
                found[image.digest] = wanted[min(below)]
        return found

    def _known_digests(self) -> set[Digest]:
        """Return the manifests that are there, or that an index there lists."""
        repository = self._repository
        children = (c.digest for m in repository.manifests.values() for c in m.children)
        return {*repository.manifests, *repository.unreadable, *children}

    # One rule.

    def _apply(self, rule: _Rule) -> None:
        members, unsized = self._set_of(rule)
        for member in unsized:
            outcome = Outcome.PASSED if rule.rule.keep is None else Outcome.KEPT
            self._note_all(member, rule, Verdict(outcome, Reason.SIZE_UNKNOWN))
        followers = self._followers_of(rule)
        if not members and not followers:
            return
        clock = self._times.clock(rule.rule, members or followers)
        groups = self._grouped(rule, members, clock)
        followers_of = self._grouped(rule, followers, clock)
        both, either = 0, 0
        for group in {**groups, **followers_of}:
            rule_set = RuleSet(
                rule.rule,
                groups.get(group, ()),
                clock,
                now=self._by.now,
                zone=self._by.zone,
                watching_since=self._evidence.watching_since,
                unwatched=self._evidence.unwatched,
                group=group,
            )
            for member, verdict, sums in rule_set.verdicts():
                both += sums[0]
                either += sums[1]
                self._note_all(member, rule, verdict)
            for follower in followers_of.get(group, ()):
                self._note_follower(follower, rule, rule_set.judge(follower)[0])
        remove = rule.rule.remove
        if isinstance(remove, Remove) and (remove.and_beyond or remove.or_beyond):
            self._sums.append(Sums(rule.name, both, either))
        if rule.rule.group_by is not None:
            sizes = {group: len(some) for group, some in sorted(groups.items())}
            self._groups.append(GroupSizes(rule.name, self._repository.name, sizes))

    def _note_all(self, member: Member, rule: _Rule, verdict: Verdict) -> None:
        if verdict.reason is Reason.NO_RULE:  # it only keeps, and not this: another may say why
            return
        keys: tuple[Tag | Digest, ...] = member.tags or (member.image.digest,)
        if rule.rule.whole_images and verdict.outcome is Outcome.KEPT:
            keys = member.image.tags or keys
        for key in keys:
            self._note(member.image, key, rule.name, verdict)

    def _note_follower(self, member: Member, rule: _Rule, verdict: Verdict) -> None:
        if verdict.reason is Reason.NO_RULE:
            return
        whole = rule.rule.whole_images and verdict.outcome is Outcome.KEPT
        for tag in member.image.tags if whole else member.tags:
            self._followers[verdict.outcome].setdefault(tag, (rule.name, verdict))

    def _note(
        self,
        image: Image,
        key: Tag | Digest,
        rule: str,
        verdict: Verdict,
    ) -> None:
        target = self._of(verdict)
        if key in target:
            return
        tag = key if isinstance(key, Tag) else None
        target[key] = Decision(
            self._repository.name,
            image.digest,
            tag,
            verdict.outcome is Outcome.REMOVED,
            verdict.reason,
            rule,
            verdict.limit,
            verdict.clock,
            verdict.time,
            verdict.rank,
            verdict.group,
            verdict.since,
        )

    def _set_of(self, rule: _Rule) -> tuple[list[Member], list[Member]]:
        """Return the images that a rule is about, and those that it may be about by their size."""
        found: list[Member] = []
        unsized: list[Member] = []
        for image in self._images.images:
            if image.state is not rule.rule.state or not self._fits(rule, image):
                continue
            sized = self._is_of_size(rule.rule, image)
            if sized is False:
                continue
            tags = tuple(tag for tag in image.tags if rule.tags(tag)) if rule.rule.tags else ()
            if image.state is State.TAGGED and not tags:
                continue
            if image.state is not State.TAGGED:
                tags = image.tags
            (unsized if sized is None else found).append(self._times.member(image, tags))
        return found, unsized

    def _followers_of(self, rule: _Rule) -> list[Member]:
        """Return the tags of what follows an image that a rule is about, whatever their type."""
        if rule.rule.state is not State.TAGGED or not rule.rule.tags:
            return []
        tags_of: dict[Digest, list[Tag]] = {}
        for tag, digest in self._images.following.items():
            tags_of.setdefault(digest, []).append(tag)
        found = []
        for digest, tags in tags_of.items():
            mine = tuple(tag for tag in tags if rule.tags(tag))
            image = Image(digest, tuple(tags), State.TAGGED, ())
            if mine:
                found.append(self._times.member(image, mine))
        return found

    def _fits(self, rule: _Rule, image: Image) -> bool:
        if not image.known:
            return False
        if rule.types is not None:
            if not any(map(rule.types, image.types)):
                return False
        elif not image.ordinary and image.state is State.TAGGED:
            return False
        return True

    def _is_of_size(self, rule: Rule, image: Image) -> bool | None:
        """Whether an image has the size that a rule is about; None if that cannot be told."""
        larger, smaller = rule.larger_than, rule.smaller_than
        if larger is None and smaller is None:
            return True
        least, whole = self._size(image.digest)
        if smaller is not None and least >= smaller.bytes:
            return False
        if whole:
            return larger is None or least > larger.bytes
        return True if smaller is None and larger is not None and least > larger.bytes else None

    def _size(self, digest: Digest) -> tuple[int, bool]:
        """Return how large an image is at least, and whether that is all of it.

        Manifests of schema 1 tell no sizes, and an index may list what is not there.
        """
        manifests = self._repository.manifests
        found = reach([digest], self._repository.lists, {})
        there = [manifests[one] for one in found.manifests if one in manifests]
        sizes = {blob.digest: blob.size for one in there for blob in one.blobs}
        least = sum(one.size for one in there) + sum(size or 0 for size in sizes.values())
        return least, not found.lost and None not in sizes.values()

    def _grouped(self, rule: _Rule, members: list[Member], clock: Clock) -> dict[str, list[Member]]:
        """Return the members by group; in each they have the tags of the group, and their time."""
        group_of = rule.rule.group_by
        if group_of is None:
            return {"": self._times.timed(members, clock)}
        groups: dict[str, list[Member]] = {}
        for member in members:
            tags_of: dict[str, list[Tag]] = {}
            for tag in member.tags:
                group = group_of.of(tag)
                if group:
                    tags_of.setdefault(group, []).append(tag)
            for group, tags in tags_of.items():
                groups.setdefault(group, []).append(member._replace(tags=tuple(tags)))
        return {group: self._times.timed(some, clock) for group, some in groups.items()}

    # What follows.

    def _follow(self) -> None:
        """Decide the tags of children and referrers: they go if all go that they belong to."""
        following = self._images.following
        if not following:
            return
        repository = self._repository
        referrers = repository.referrers()
        wanted = set(following.values())
        owners: dict[Digest, list[Image]] = {}
        for image in self._images.images:
            below = reach([image.digest], repository.lists, referrers).manifests
            for digest in below & wanted:
                owners.setdefault(digest, []).append(image)
        for tag, digest in following.items():
            mine = owners.get(digest, [])
            stays = next((one for one in mine if not self._goes(one)), None)
            shown = mine[0] if stays is None and mine else stays
            goes = bool(mine) and tag in self._followers[Outcome.REMOVED]
            limit = "" if shown is None else (shown.tags[0] if shown.tags else shown.digest.short)
            image = Image(digest, (tag,), State.TAGGED, ())
            held = self._holder(image, tag, None, {})
            if held is not None:
                self._note(image, tag, "", Verdict(Outcome.KEPT, *held))
            elif stays is not None:
                self._note(image, tag, "", Verdict(Outcome.KEPT, Reason.FOLLOWS, limit))
            elif tag in self._followers[Outcome.KEPT]:
                self._note(image, tag, *self._followers[Outcome.KEPT][tag])
            elif goes:
                self._note(image, tag, "", Verdict(Outcome.REMOVED, Reason.FOLLOWED, limit))
            elif tag in self._followers[Outcome.PASSED]:
                self._note(image, tag, *self._followers[Outcome.PASSED][tag])

    def _goes(self, image: Image) -> bool:
        keys: tuple[Tag | Digest, ...] = image.tags or (image.digest,)
        return all(key in self._removes and key not in self._keeps for key in keys)
