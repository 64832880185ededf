"""Random policies and random evidence, for the registries of registries.py."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from hypothesis import strategies as st

from jettison.errors import Refused
from jettison.model.digest import Digest
from jettison.model.names import Tag
from jettison.model.removal import Removal, plan_removal
from jettison.model.retention.decide import NOTHING_HELD, Decider, Held, RepositoryDecision
from jettison.model.retention.evidence import Evidence, Moment, Times
from jettison.model.retention.mistakes import find_mistakes
from jettison.model.retention.patterns import Grouping, Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Policy, Protect, Remove, Rule, State
from jettison.model.snapshot import RepositorySnapshot

NOW = 1_800_000_000.0
HOUR = 3600.0

periods = st.sampled_from(["1h", "5h", "1d", "2d", "1w", "1mo"]).map(Period)
counts = st.integers(1, 4)
patterns = st.sampled_from(["*", "t0", "t[12]", "t*", "t3", "sha256-*", "re:t[0-4]"]).map(Pattern)
some_patterns = st.lists(patterns, max_size=2).map(tuple)
repositories = st.sampled_from([("*",), ("aaa/*",), ("bbb/app", "ccc")]).map(
    lambda found: tuple(map(Pattern, found))
)
seconds = st.integers(0, 60).map(lambda hours: NOW - hours * HOUR * 7)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.none() | values


keeps = st.builds(
    Keep,
    last=optional(counts),
    within=optional(periods),
    hourly=optional(counts),
    daily=optional(counts),
    weekly=optional(counts),
    monthly=optional(counts),
    yearly=optional(counts),
    pulled_within=optional(periods),
    last_pulled=optional(counts),
    tags=some_patterns,
)
removes = st.builds(
    Remove,
    older_than=st.none() | periods,
    beyond=optional(counts),
    and_beyond=optional(counts),
    or_beyond=optional(counts),
    leaving=optional(counts),
    not_pulled_within=optional(periods),
)


words: st.SearchStrategy[Literal["rest", "all"]] = st.sampled_from(["rest", "all"])


@st.composite
def rules(draw: st.DrawFn, *, states: tuple[State, ...] = tuple(State)) -> Rule:
    """A rule that can be meant, with a name that is not its number."""
    state = draw(st.sampled_from([State.TAGGED, *states]))
    tagged = state is State.TAGGED
    keep = draw(st.none() | keeps)
    if not tagged and keep is not None:
        keep = msgspec.structs.replace(keep, tags=())
    rule = Rule(
        repositories=draw(repositories),
        tags=draw(some_patterns) or (Pattern("*"),) if tagged else (),
        except_tags=draw(some_patterns) if tagged and draw(st.booleans()) else (),
        state=state,
        group_by=draw(optional(st.just(Grouping("re:t([0-9])(.*)")))) if tagged else None,
        clock=draw(st.sampled_from([Clock.AUTO, Clock.PUSHED, *([Clock.CREATED] * tagged)])),
        keep=keep,
        remove=draw(st.none() | words | removes),
        whole_images=keep is not None and draw(st.booleans()),
    )
    return _meant(rule)


def _meant(rule: Rule) -> Rule:
    """Take out of a rule what is a mistake."""
    for steps, _ in find_mistakes(Policy(rules=(rule,))):
        wrong = steps[2] if len(steps) > 2 else "remove"
        if wrong == "keep" and rule.remove == "rest":
            return _meant(msgspec.structs.replace(rule, keep=None, remove="all"))
        other: dict[str, Any] = {"keep": None, "whole_images": False}
        if wrong == "remove":
            other["remove"] = Remove(older_than=Period("1d"))
            if not isinstance(rule.remove, Remove):
                other["remove"] = "rest" if rule.remove == "all" else "all"
        return _meant(msgspec.structs.replace(rule, **{str(wrong): other[str(wrong)]}))
    return rule


@st.composite
def policies(draw: st.DrawFn, *, states: tuple[State, ...] = tuple(State)) -> Policy:
    found = draw(st.lists(rules(states=states), min_size=1, max_size=3))
    named = tuple(
        msgspec.structs.replace(rule, name=f"r{number}") for number, rule in enumerate(found)
    )
    zone = draw(st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"]))
    protect = Protect(tags=draw(some_patterns)) if draw(st.booleans()) else Protect()
    return Policy(rules=named, protect=protect, time_zone=zone)


@st.composite
def evidence(draw: st.DrawFn, repository: RepositorySnapshot) -> Evidence:
    def times(kinds: Mapping[str, bool]) -> Times:
        return Times(
            **{
                kind: Moment(draw(seconds), "told")
                for kind, usual in kinds.items()
                if draw(st.integers(0, 9)) < (8 if usual else 3)
            }
        )

    manifest = {"pushed": True, "untagged": True, "created": True, "pulled": False}
    return Evidence(
        {tag: times({"pushed": True, "pulled": False}) for tag in sorted(repository.tags)},
        {digest: times(manifest) for digest in sorted(repository.manifests)},
        draw(st.none() | seconds),
    )


def decided(
    policy: Policy,
    repository: RepositorySnapshot,
    known: Evidence,
    held: Held = NOTHING_HELD,
    now: float = NOW,
) -> RepositoryDecision:
    return Decider(policy, now, held).decide(repository, known)


def removal(repository: RepositorySnapshot, found: RepositoryDecision) -> Removal:
    """Plan what goes; where something cannot be read, tags alone, as a prune does."""
    try:
        return plan_removal(repository, found.tags, found.digests)
    except Refused:
        return plan_removal(repository, found.tags)


def after(repository: RepositorySnapshot, removed: Removal) -> RepositorySnapshot:
    """Return the repository without what was removed."""
    return msgspec.structs.replace(
        repository,
        tags={tag: digest for tag, digest in repository.tags.items() if tag not in removed.tags},
        manifests={
            digest: manifest
            for digest, manifest in repository.manifests.items()
            if digest not in removed.manifests
        },
        unreadable=repository.unreadable - removed.manifests,
    )


def goes(found: RepositoryDecision) -> set[Tag | Digest]:
    return {*found.tags, *found.digests}
