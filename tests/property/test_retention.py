"""Retention on random registries: what has to hold whatever the policy, and naive models of it."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettison.model.digest import Digest
from jettison.model.names import Tag
from jettison.model.retention.decide import Held
from jettison.model.retention.evidence import Evidence, Moment, Times
from jettison.model.retention.patterns import Pattern, matcher
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Policy, Protect, Remove, Rule, State
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from tests.model.retention.building import Repository
from tests.property.registries import Naive, grow, snapshots, subject_of_tag
from tests.property.retention import (
    NOW,
    after,
    decided,
    evidence,
    goes,
    policies,
    removal,
    rules,
)
from tests.support.examples import examples

EXAMPLES = settings(examples(60), suppress_health_check=[HealthCheck.too_slow])


@st.composite
def cases(draw: st.DrawFn) -> tuple[RepositorySnapshot, Evidence]:
    repository = next(iter(draw(snapshots()).repositories.values()))
    return repository, draw(evidence(repository))


def added(policy: Policy, rule: Rule) -> Policy:
    return msgspec.structs.replace(policy, rules=(*policy.rules, rule))


@EXAMPLES
@given(cases(), policies(), st.randoms(use_true_random=False))
def test_order_does_not_matter(
    case: tuple[RepositorySnapshot, Evidence], policy: Policy, chance: random.Random
) -> None:
    repository, known = case

    def shuffled(mapping: dict) -> dict:  # type: ignore[type-arg] # tags or manifests
        items = list(mapping.items())
        chance.shuffle(items)
        return dict(items)

    found = decided(policy, repository, known)
    other = msgspec.structs.replace(
        repository,
        tags=shuffled(dict(repository.tags)),
        manifests=shuffled(dict(repository.manifests)),
    )
    evidence_too = msgspec.structs.replace(
        known, tags=shuffled(dict(known.tags)), manifests=shuffled(dict(known.manifests))
    )
    assert decided(policy, other, evidence_too) == found
    assert removal(other, found) == removal(repository, found)
    rest = list(policy.rules)
    chance.shuffle(rest)
    reordered = msgspec.structs.replace(policy, rules=tuple(rest))
    assert goes(decided(reordered, repository, known)) == goes(found)


@EXAMPLES
@given(cases(), policies(), rules(), st.data())
def test_keeping_more_never_removes_more(
    case: tuple[RepositorySnapshot, Evidence], policy: Policy, rule: Rule, data: st.DataObject
) -> None:
    repository, known = case
    before = decided(policy, repository, known)
    tags = (*policy.protect.tags, Pattern("t[0-2]"))
    larger = [msgspec.structs.replace(policy, protect=Protect(tags=tags))]
    if repository.manifests:
        digest = data.draw(st.sampled_from(sorted(repository.manifests)))
        protect = msgspec.structs.replace(policy.protect, digests=(digest,))
        larger.append(msgspec.structs.replace(policy, protect=protect))
    if rule.keep is not None:
        larger.append(added(policy, msgspec.structs.replace(rule, remove=None)))
        first, *rest = policy.rules
        if first.remove != "all" and first.state is rule.state:
            keep = _both(first.keep, rule.keep)
            more = msgspec.structs.replace(first, keep=keep)
            larger.append(msgspec.structs.replace(policy, rules=(more, *rest)))
    for other in larger:
        found = decided(other, repository, known)
        assert goes(found) <= goes(before)
        assert removal(repository, found).tags <= removal(repository, before).tags
        assert removal(repository, found).manifests <= removal(repository, before).manifests


def _both(one: Keep | None, other: Keep) -> Keep:
    """Return conditions that keep what either keeps."""
    if one is None:
        return other
    members = msgspec.structs.asdict(one)
    for name, value in msgspec.structs.asdict(other).items():
        members[name] = members[name] or value
    return Keep(**members)


@EXAMPLES
@given(st.data(), snapshots(), policies())
def test_what_stays_is_whole_in_every_repository(
    data: st.DataObject, snapshot: Snapshot, policy: Policy
) -> None:
    for repository in snapshot.repositories.values():
        known = data.draw(evidence(repository))
        found = decided(policy, repository, known)
        naive = Naive.of(repository)
        removed = removal(repository, found)
        left = Naive.of(after(repository, removed))
        named = {d.tag for d in found.decisions if not d.removed and d.tag is not None}
        for tag, digest in repository.tags.items():
            if tag in named:
                assert left.tags.get(tag) == digest
            if tag in left.tags:
                assert naive.pulled(digest) <= left.present
        for one in found.decisions:
            if not one.removed and one.tag is None:
                assert naive.pulled(one.digest) <= left.present


@EXAMPLES
@given(cases(), policies())
def test_what_no_rule_names_stays(
    case: tuple[RepositorySnapshot, Evidence], policy: Policy
) -> None:
    repository, known = case
    named = [
        (rule.state, matcher(rule.tags), matcher(rule.except_tags))
        for rule in policy.rules
        if rule.remove is not None and matcher(rule.repositories)(repository.name)
    ]
    found = decided(policy, repository, known)
    for tag in found.tags:
        assert any(
            (state is State.TAGGED and tags(tag) and not excepted(tag)) or state is State.ORPHANED
            for state, tags, excepted in named
        )
    if found.digests:
        assert {State.UNTAGGED, State.ORPHANED} & {state for state, _, _ in named}
    removed = removal(repository, found)
    for tag in removed.tags - found.tags:
        # Its subject goes, or is not there: a signature is nothing by itself.
        subject = subject_of_tag(tag)
        assert subject is not None
        assert subject in removed.manifests or subject not in repository.manifests


@EXAMPLES
@given(cases(), policies(), st.data())
def test_what_is_held_stays_with_all_that_it_refers_to(
    case: tuple[RepositorySnapshot, Evidence], policy: Policy, data: st.DataObject
) -> None:
    repository, known = case
    naive = Naive.of(repository)
    digests = data.draw(st.sets(st.sampled_from(sorted(naive.present)), max_size=2))
    tags = (
        data.draw(st.sets(st.sampled_from(sorted(repository.tags)), max_size=2))
        if repository.tags
        else set()
    )
    held = Held({(repository.name, tag): "pod" for tag in tags}, dict.fromkeys(digests, "pod"))
    left = Naive.of(
        after(repository, removal(repository, decided(policy, repository, known, held)))
    )
    needed = digests | {repository.tags[tag] for tag in tags}
    assert grow(needed, naive.children) & naive.present <= left.present
    for tag in tags:
        assert left.tags[tag] == repository.tags[tag]


@EXAMPLES
@given(cases(), policies(), st.data())
def test_less_evidence_never_removes_more(
    case: tuple[RepositorySnapshot, Evidence], policy: Policy, data: st.DataObject
) -> None:
    # With auto, the registry's silence about pushes means that creation counts: another clock.
    policy = msgspec.structs.replace(
        policy,
        rules=tuple(
            msgspec.structs.replace(rule, clock=Clock.PUSHED)
            if rule.clock is Clock.AUTO and rule.state is not State.UNTAGGED
            else rule
            for rule in policy.rules
        ),
    )
    repository, known = case
    before = goes(decided(policy, repository, known))
    digests = sorted(repository.manifests)
    dropped = data.draw(st.sets(st.sampled_from(digests), max_size=3)) if digests else set()
    kind = data.draw(st.sampled_from(["pushed", "created", "untagged", "watching", "pulled"]))
    assert goes(decided(policy, repository, _without(repository, known, dropped, kind))) <= before


def _without(
    repository: RepositorySnapshot, known: Evidence, digests: set[Digest], kind: str
) -> Evidence:
    """Return the evidence without one kind of time of some images, by whichever name."""
    if kind == "watching":
        return msgspec.structs.replace(known, watching_since=None)

    def less(times: Times) -> Times:
        return msgspec.structs.replace(times, **{kind: None})

    # Pulls are known as a whole, or not: an image that was pulled and has no time was not pulled.
    since = None if kind == "pulled" else known.watching_since
    tags = {
        tag: less(times) if repository.tags[tag] in digests else times
        for tag, times in known.tags.items()
    }
    manifests = {d: less(times) if d in digests else times for d, times in known.manifests.items()}
    return Evidence(tags, manifests, since)


@EXAMPLES
@given(cases(), policies(states=(State.TAGGED, State.UNTAGGED)))
def test_a_second_decision_removes_nothing(
    case: tuple[RepositorySnapshot, Evidence], policy: Policy
) -> None:
    repository, known = case
    # A child or a referrer with a tag of its own is an image when what it follows is gone.
    own = {d for t, d in repository.tags.items() if subject_of_tag(t) is None}
    naive = Naive.of(repository)
    below = {d for digest in naive.present for d in naive.with_referrers({digest}) - {digest}}
    repository = msgspec.structs.replace(
        repository, tags={t: d for t, d in repository.tags.items() if d not in own & below}
    )
    removed = removal(repository, decided(policy, repository, known))
    left = after(repository, removed)
    again = removal(left, decided(policy, left, known))
    assert not again.tags
    assert not again.manifests


# Naive models of single conditions, on repositories of plain images.

hours = st.integers(0, 400)


def plain(ages: dict[str, float]) -> tuple[RepositorySnapshot, Evidence]:
    """Return a repository with an image for each tag, pushed so many seconds before NOW."""
    made = Repository()
    for tag, age in ages.items():
        made.add(tag, tag, pushed=Moment(NOW - age, "told"))
    return made.snapshot, made.evidence


tags_and_ages = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True),
    hours.map(lambda h: h * 3600.0),
    max_size=12,
)


@EXAMPLES
@given(tags_and_ages, st.integers(1, 8))
def test_keep_last_counts_as_a_person_would(ages: dict[str, float], count: int) -> None:
    policy = Policy(rules=(Rule(tags=(Pattern("*"),), keep=Keep(last=count), remove="rest"),))
    left = list(ages)
    kept: list[str] = []
    while left and len(kept) < count:
        youngest = min(ages[tag] for tag in left)
        kept += [tag for tag in left if ages[tag] == youngest]
        left = [tag for tag in left if ages[tag] != youngest]
    assert decided(policy, *plain(ages)).tags == set(left)


ZONES = sorted(available_timezones())
# Sixty months before the first is after 2000, before which no time is known.
moments = st.floats(1.2e9, 4e9).map(round)


@EXAMPLES
@given(moments, st.sampled_from(ZONES), st.integers(0, 60), st.integers(0, 40), st.integers(-3, 3))
def test_older_than_agrees_with_a_calendar(
    now: int, zone_name: str, months: int, days: int, near: int
) -> None:
    zone = ZoneInfo(zone_name)
    period = Period(f"{months}mo{days}d1h")
    # Day by day backwards to the month that is meant, then to a day that it has.
    local = datetime.fromtimestamp(now, zone)
    day = local.date()
    for _ in range(months):
        day = day.replace(day=1) - timedelta(days=1)
    while True:
        last = day
        if last.day <= local.day:
            break
        day -= timedelta(days=1)
    wall = datetime.combine(last, local.time(), zone).replace(fold=local.fold)
    boundary = wall.astimezone(UTC) - timedelta(days=days, hours=1)
    pushed = boundary.timestamp() + near
    policy = Policy(
        rules=(Rule(tags=(Pattern("*"),), remove=Remove(older_than=period)),), time_zone=zone_name
    )
    made = Repository()
    made.add("one", "one", pushed=Moment(pushed, "told"))
    found = decided(policy, made.snapshot, made.evidence, now=float(now))
    assert found.tags == ({Tag("one")} if pushed < boundary.timestamp() else set())


@EXAMPLES
@given(tags_and_ages, st.integers(1, 5), st.sampled_from(ZONES))
def test_keep_daily_is_the_newest_of_each_of_the_last_days(
    ages: dict[str, float], count: int, zone_name: str
) -> None:
    policy = Policy(
        rules=(Rule(tags=(Pattern("*"),), keep=Keep(daily=count), remove="rest"),),
        time_zone=zone_name,
    )
    zone = ZoneInfo(zone_name)
    days: dict[str, list[float]] = {}
    for age in ages.values():
        days.setdefault(datetime.fromtimestamp(NOW - age, zone).strftime("%Y%m%d"), []).append(age)
    newest = {min(days[day]) for day in sorted(days, reverse=True)[:count]}
    assert decided(policy, *plain(ages)).tags == {tag for tag in ages if ages[tag] not in newest}
