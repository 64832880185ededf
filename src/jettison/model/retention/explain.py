"""Why an image stays or goes: what is known of it, what each rule says, and when it would go.

Each rule is asked by deciding with that rule alone, and a later moment by deciding at that moment,
so there is one decision and no second opinion.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.names import Tag
from jettison.model.retention.decide import Decider, Held
from jettison.model.retention.evidence import NO_TIMES, Evidence, Moment, Times
from jettison.model.retention.images import Image, find_images
from jettison.model.retention.patterns import matcher
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Keep, Policy, Protect, Remove, Rule, State
from jettison.model.retention.reasons import Decision, Reason
from jettison.model.snapshot import RepositorySnapshot
from jettison.model.times import moment as written

__all__ = ["Explanation", "Fate", "KnownTime", "RuleSaid", "explain"]

_KINDS: Final = ("pushed", "untagged", "created", "pulled")
_STRICTLY: Final = 0.001
"""Seconds after a boundary: what is exactly as old as a period is not older."""

_LATEST: Final = 32_503_680_000.0
"""The year 3000: whoever tells a later time is wrong."""

_PASSES: Final = {Reason.NOT_OLD, Reason.NOT_BEYOND, Reason.LEFT, Reason.FOLLOWS}
_NEVER: Final = {
    Reason.NO_RULE,
    Reason.PROTECTED,
    Reason.IMMUTABLE,
    Reason.KEEP_TAG,
    Reason.TYPE_UNKNOWN,
    Reason.SIZE_UNKNOWN,
}
_IS: Final = {
    Reason.IN_USE,
    Reason.LAST,
    Reason.LAST_PULLED,
    Reason.LEFT,
    Reason.NOT_BEYOND,
    Reason.HOURLY,
    Reason.DAILY,
    Reason.WEEKLY,
    Reason.MONTHLY,
    Reason.YEARLY,
}
"""Reasons whose sentence follows "it is"."""


class KnownTime(msgspec.Struct, frozen=True):
    """One of the times of an image or of its tag; ``source`` says who tells it."""

    of: str
    kind: str
    seconds: float
    source: str


class RuleSaid(msgspec.Struct, frozen=True):
    """What a rule alone says of a tag or an untagged image.

    ``outcome`` is ``kept``, ``removed``, ``passed`` (it is in the rule's set, and not to go by
    it) or ``not-in-set``.
    """

    rule: str
    name: str
    outcome: str
    sentence: str


class Fate(msgspec.Struct, frozen=True):
    """What becomes of an image: it goes ``now``, after ``at`` (seconds since the epoch), or stays.

    ``at`` is when time alone makes it go: if nothing is pushed, pulled or removed until then.
    """

    now: bool
    at: float | None
    sentence: str


class Explanation(msgspec.Struct, frozen=True):
    """Why an image stays or goes.

    ``tags`` are all that point to it. ``belongs_to`` are the images that it follows: it goes when
    they do, and ``decisions`` and ``rules`` are then about them. ``notes`` say what is not known.
    """

    name: str
    digest: Digest
    tags: tuple[Tag, ...]
    belongs_to: tuple[str, ...]
    times: tuple[KnownTime, ...]
    rules: tuple[RuleSaid, ...]
    decisions: tuple[Decision, ...]
    fate: Fate
    notes: tuple[str, ...] = ()


def explain(
    repository: RepositorySnapshot,
    evidence: Evidence,
    policy: Policy,
    wanted: Tag | Digest,
    *,
    now: float,
    held: Held,
) -> Explanation:
    """Explain what becomes of a tag, or of a manifest, that is in the repository."""
    return _Explaining(repository, evidence, policy, wanted, now, held).explain()


class _Explaining:
    def __init__(
        self,
        repository: RepositorySnapshot,
        evidence: Evidence,
        policy: Policy,
        wanted: Tag | Digest,
        now: float,
        held: Held,
    ) -> None:
        self._repository = repository
        self._evidence = evidence
        self._policy = policy
        self._wanted = wanted
        self._now = now
        self._held = held
        self._digest = repository.tags[wanted] if isinstance(wanted, Tag) else wanted
        self._images = find_images(repository).images
        self._referrers = repository.referrers()
        self._decided = self._decide(policy, now, held)
        self._owners = self._find_owners()
        self._keys = self._find_keys()

    def explain(self) -> Explanation:
        repository = self._repository
        own = self._wanted in self._keys or any(o.digest == self._digest for o in self._owners)
        notes = []
        if repository.problems:
            notes.append("the list of the repository is not complete, so nothing of it goes")
        if self._evidence.copied:
            notes.append(
                "the times of pushes look like those of a copy, and do not count (--trust-times)"
            )
        if self._evidence.unknown:
            notes.append(f"not all times are known: {self._evidence.unknown}")
        rules = [
            said
            for number, rule in enumerate(self._policy.rules, 1)
            for said in self._ask(rule, rule.name or f"rule {number}")
        ]
        return Explanation(
            self._name_of(self._wanted),
            self._digest,
            tuple(repository.tags_of().get(self._digest, ())),
            () if own else tuple(self._name_of(self._key_of(owner)) for owner in self._owners),
            tuple(self._known_times()),
            tuple(rules),
            tuple(self._decided[key] for key in self._keys),
            self._find_fate(),
            tuple(notes),
        )

    def _decide(self, policy: Policy, now: float, held: Held) -> dict[Tag | Digest, Decision]:
        found = Decider(policy, now, held).decide(self._repository, self._evidence)
        return {d.digest if d.tag is None else d.tag: d for d in found.decisions}

    # Which images and tags it depends on.

    def _find_owners(self) -> list[Image]:
        """Return the images that the wanted one is, or is a part of."""
        return [
            image
            for image in self._images
            if image.digest == self._digest
            or self._digest
            in reach([image.digest], self._repository.edges, self._referrers).manifests
        ]

    def _find_keys(self) -> list[Tag | Digest]:
        """Return the decisions that its fate depends on: it goes when all of them say so."""
        if self._wanted in self._decided:
            return [self._wanted]
        own: list[Tag | Digest] = [
            tag for tag in self._repository.tags_of().get(self._digest, ()) if tag in self._decided
        ]
        if own and isinstance(self._wanted, Digest):
            return own
        keys: list[Tag | Digest] = []
        for owner in self._owners:
            keys += owner.tags or (owner.digest,)
        return [key for key in keys if key in self._decided]

    def _key_of(self, image: Image) -> Tag | Digest:
        return image.tags[0] if image.tags else image.digest

    def _name_of(self, key: Tag | Digest) -> str:
        name = self._repository.name
        return f"{name}:{key}" if isinstance(key, Tag) else f"{name}@{key.short}"

    # What is known of it.

    def _known_times(self) -> Iterator[KnownTime]:
        evidence = self._evidence
        wanted = self._wanted
        tags = [wanted] if isinstance(wanted, Tag) else self._repository.tags_of().get(wanted, [])
        for tag in tags:
            yield from _told(self._name_of(tag), evidence.tags.get(tag, NO_TIMES))
        yield from _told(
            self._name_of(self._digest), evidence.manifests.get(self._digest, NO_TIMES)
        )

    # What the rules say.

    def _ask(self, rule: Rule, name: str) -> Iterator[RuleSaid]:
        alone = msgspec.structs.replace(
            self._policy,
            rules=(msgspec.structs.replace(rule, name=name),),
            protect=Protect(),
        )
        surely_not = {key: self._surely_not(rule, key) for key in self._keys}
        found: dict[Tag | Digest, Decision] = {}
        if None in surely_not.values():
            found = self._decide(alone, self._now, Held())
        for key in self._keys:
            shown = self._name_of(key)
            why = surely_not[key]
            if why is not None:
                yield RuleSaid(name, shown, "not-in-set", why)
                continue
            decision = found[key]
            told = decision.sentence.removesuffix(f" [{name}]")
            if decision.removed:
                yield RuleSaid(name, shown, "removed", told)
            elif decision.rule or decision.reason is Reason.FOLLOWS:
                outcome = "passed" if _passes(rule, decision) else "kept"
                yield RuleSaid(name, shown, outcome, told)
            else:
                why = self._why_not(rule, key)
                if why is None:
                    told = "it does not keep it, and removes nothing"
                yield RuleSaid(name, shown, "passed" if why is None else "not-in-set", why or told)

    def _surely_not(self, rule: Rule, key: Tag | Digest) -> str | None:
        """Return why a rule is not about something, if that needs no decision."""
        reasons = [*_not_this_repository(rule, self._repository.name)]
        image = self._image_of(key)
        if image is not None and not rule.whole_images:
            reasons += _not_this_tag(rule, image, key)
        return reasons[0] if reasons else None

    def _why_not(self, rule: Rule, key: Tag | Digest) -> str | None:
        """Return why a tag or an untagged image is not in the set of a rule; None if it is."""
        image = self._image_of(key)
        if image is None:
            reasons = ["it is about images, and this belongs to one"]
        elif not image.known:
            reasons = ["what it is cannot be told"]
        else:
            reasons = [*_not_this_tag(rule, image, key), *_not_this_image(rule, image)]
        if not reasons and rule.remove is None:
            return None
        return reasons[0] if reasons else "it is not in its set"

    def _image_of(self, key: Tag | Digest) -> Image | None:
        return next((i for i in self._images if key in i.tags or key == i.digest), None)

    # When it would go.

    def _find_fate(self) -> Fate:
        if not self._keys:
            return Fate(now=False, at=None, sentence="never: no rule is about it")
        if self._is_gone(self._decided):
            return Fate(now=True, at=None, sentence=f"now: {self._told(self._decided)}")
        moments = sorted(self._boundaries())
        last = self._later(moments[-1]) if moments else self._decided
        if not self._is_gone(last):
            return Fate(now=False, at=None, sentence=self._why_never(last))
        # Time only makes things older, so what goes at one moment goes at each later one.
        low, high = 0, len(moments) - 1
        while low < high:
            middle = (low + high) // 2
            if self._is_gone(self._later(moments[middle])):
                high = middle
            else:
                low = middle + 1
        at = moments[low]
        return Fate(
            now=False, at=at, sentence=f"after {written(at)}: {self._told(self._later(at))}"
        )

    def _later(self, at: float) -> dict[Tag | Digest, Decision]:
        return self._decide(self._policy, at + _STRICTLY, self._held)

    def _is_gone(self, decided: dict[Tag | Digest, Decision]) -> bool:
        return all(decided[key].removed for key in self._keys)

    def _told(self, decided: dict[Tag | Digest, Decision]) -> str:
        return decided[self._keys[0]].sentence

    def _boundaries(self) -> set[float]:
        """Return the moments from now on at which a time that matters has the age of a period."""
        zone = self._policy.zone
        own = {m.seconds for m in self._moments() if 0 <= m.seconds <= _LATEST}
        if self._evidence.watching_since is not None:
            own.add(self._evidence.watching_since)
        everyone: set[float] = set()
        found: set[float] = set()
        for rule in self._policy.rules:
            times = own
            if isinstance(rule.remove, Remove) and rule.remove.leaving is not None:
                # It goes when enough others are old.
                everyone = everyone or own | set(self._all_times())
                times = everyone
            if matcher(rule.repositories)(self._repository.name):
                found |= {p.after(time, zone) for p in _periods(rule) for time in times}
        return {moment for moment in found if moment >= self._now}

    def _all_times(self) -> Iterator[float]:
        for times in (*self._evidence.tags.values(), *self._evidence.manifests.values()):
            for _, moment in _moments_of(times):
                if 0 <= moment.seconds <= _LATEST:
                    yield moment.seconds

    def _moments(self) -> Iterator[Moment]:
        evidence = self._evidence
        for image in self._owners:
            below = reach([image.digest], self._repository.edges, {}).manifests
            of = [evidence.tags.get(tag, NO_TIMES) for tag in image.tags]
            of += [evidence.manifests.get(digest, NO_TIMES) for digest in below]
            for times in of:
                yield from (m for _, m in _moments_of(times))

    def _why_never(self, decided: dict[Tag | Digest, Decision]) -> str:
        stays = next(decided[key] for key in self._keys if not decided[key].removed)
        several = len(self._keys) > 1
        if stays.reason in _NEVER:
            return (
                f"never: {stays.name}: {stays.sentence}" if several else f"never: {stays.sentence}"
            )
        if stays.reason in _IS:
            return f"not while {stays.name if several else 'it'} is {stays.sentence}"
        about = f" of {stays.name}" if several else ""
        return f"not while this holds{about}: {stays.sentence}"


def _passes(rule: Rule, decision: Decision) -> bool:
    """Whether a rule that does not remove lets others remove."""
    reason, keep, remove = decision.reason, rule.keep or Keep(), rule.remove
    if reason is Reason.SIZE_UNKNOWN:
        return rule.keep is None
    if not isinstance(remove, Remove):
        return reason is Reason.FOLLOWS
    if reason is Reason.TIME_UNKNOWN:
        timeless = Keep(
            tags=keep.tags, pulled_within=keep.pulled_within, last_pulled=keep.last_pulled
        )
        return keep == timeless
    if reason in {Reason.PULLED, Reason.PULLS_UNKNOWN}:
        return remove.not_pulled_within == decision.limit != keep.pulled_within
    return reason in _PASSES


def _not_this_repository(rule: Rule, name: str) -> Iterator[str]:
    if not matcher(rule.repositories)(name):
        yield f"it is about the repositories {', '.join(rule.repositories)}"
    elif matcher(rule.except_repositories)(name):
        yield f"it leaves out the repositories {', '.join(rule.except_repositories)}"


def _not_this_tag(rule: Rule, image: Image, key: Tag | Digest) -> Iterator[str]:
    if image.state is not rule.state:
        yield f"it is about what is {rule.state}, and this is {image.state}"
    elif isinstance(key, Tag) and rule.state is State.TAGGED:
        if not matcher(rule.tags)(key):
            yield f"it is about the tags {', '.join(rule.tags)}"
        elif matcher(rule.except_tags)(key):
            yield f"it leaves out the tags {', '.join(rule.except_tags)}"
        elif rule.group_by is not None and not rule.group_by.of(key):
            yield f"the tag is in no group of {rule.group_by}"


def _not_this_image(rule: Rule, image: Image) -> Iterator[str]:
    if rule.artifact_types is not None:
        if not any(map(matcher(rule.artifact_types), image.types)):
            yield f"it is about the types {', '.join(rule.artifact_types)}"
    elif not image.ordinary:
        yield "it is a build cache, which only rules with artifact_types are about"
    if rule.larger_than is not None:
        yield f"it is about what is larger than {rule.larger_than}"
    if rule.smaller_than is not None:
        yield f"it is about what is smaller than {rule.smaller_than}"


def _told(name: str, times: Times) -> Iterator[KnownTime]:
    for kind, moment in _moments_of(times):
        yield KnownTime(name, kind, moment.seconds, moment.source)


def _moments_of(times: Times) -> Iterator[tuple[str, Moment]]:
    for kind in _KINDS:
        moment: Moment | None = getattr(times, kind)
        if moment is not None:
            yield kind, moment


def _periods(rule: Rule) -> set[Period]:
    found: list[Period | None] = []
    if rule.keep is not None:
        found += [rule.keep.within, rule.keep.pulled_within]
    if isinstance(rule.remove, Remove):
        found += [rule.remove.older_than, rule.remove.not_pulled_within]
    return {period for period in found if period is not None}
