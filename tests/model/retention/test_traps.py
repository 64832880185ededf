"""The traps of retention into which people fell, one test each, by its number.

Those that need a registry are in tests/e2e; cases with all their reasons are in golden/.
"""

import msgspec
import pytest

from jettison.configuration.policy_file import parse_policy
from jettison.errors import InvalidPolicy
from jettison.model.names import RepoName, Tag
from jettison.model.retention.decide import Held
from jettison.model.retention.evidence import Moment, known_created
from jettison.model.retention.prune_plan import (
    Allowed,
    RepositoryCount,
    count_repository,
    find_clock_objection,
    find_objections,
    plan_decided,
)
from jettison.model.retention.removed_bytes import RemovalAccounting
from tests.model.retention.building import (
    DAY,
    NOW,
    Repository,
    decided,
    digest_of,
    kept,
    removed,
)

OLD = 'rules: [{tags: ["*"], remove: {older_than: 30d}}]'
LAST_2 = 'rules: [{tags: ["*"], keep: {last: 2}, remove: rest}]'


def created(*days: float | None) -> dict[str, float]:
    """Return which of images, created so many days before now, have a time that means something."""
    told = {
        digest_of(f"image {number}"): Moment(NOW - day * DAY, "config")
        for number, day in enumerate(days)
        if day is not None
    }
    return {found: moment.seconds for found, moment in known_created(told, NOW, len(days)).items()}


def test_1_created_is_not_pushed() -> None:
    since_1970, since_1980 = NOW / DAY, (NOW - 315532800) / DAY
    assert created(since_1970, since_1980, -1, 50) == {digest_of("image 3"): NOW - 50 * DAY}
    assert created(7, 7, 7, 50) == {digest_of("image 3"): NOW - 50 * DAY}  # of one commit's date
    repository = Repository()
    repository.add("built now", "devbox", pushed=0)
    repository.add("told nothing", "ko")
    assert removed(decided(repository, OLD)) == {}


def test_2_a_retagged_base_image_has_its_own_date() -> None:
    repository = Repository()
    repository.add("debian", "base", pushed=1, created=400)
    assert removed(decided(repository, OLD)) == {}


def test_3_an_index_is_not_dated_by_its_children_s_push() -> None:
    repository = Repository()
    repository.add("index", "multi", created=3, children=["amd64"])
    repository.add("amd64", created=400)
    assert removed(decided(repository, OLD)) == {}


def test_4_ties_go_by_no_listing_order() -> None:
    forwards, backwards = Repository(), Repository()
    names = ["a", "b", "c", "d"]
    for repository, order in ((forwards, names), (backwards, names[::-1])):
        for name in order:
            repository.add(name, name, pushed=5)
    found = decided(forwards, LAST_2)
    assert found == decided(backwards, LAST_2)
    assert sorted(kept(found)) == names


@pytest.mark.parametrize(("seconds", "goes"), [(-1, False), (0, False), (1, True)])
def test_5_older_is_strict_to_the_second(seconds: float, goes: bool) -> None:
    repository = Repository()
    repository.add("image", "b1", pushed=30 + seconds / DAY)
    assert bool(removed(decided(repository, OLD))) is goes


def test_5_keeping_none_is_never_by_chance() -> None:
    with pytest.raises(InvalidPolicy, match="1 to 1,000,000"):
        parse_policy('rules: [{tags: ["*"], keep: {last: 0}, remove: rest}]', "p.yml")
    with pytest.raises(InvalidPolicy, match="being pushed"):
        parse_policy('rules: [{tags: ["*"], remove: {older_than: 0d}}]', "p.yml")


def test_6_images_are_counted_and_nothing_else() -> None:
    repository = Repository()
    for day in (1, 2):
        repository.add(f"i{day}", f"b{day}", f"again-{day}", pushed=day, children=[f"c{day}"])
        repository.add(f"c{day}", pushed=day)
        repository.add(f"s{day}", f"sha256-{digest_of(f'i{day}').hex}.sig", pushed=day)
        repository.add(f"sbom{day}", pushed=day, subject=f"i{day}")
    cache = "application/vnd.buildkit.cacheconfig.v0"
    repository.add("cache", "buildcache", pushed=0, layer=cache)
    found = decided(repository, LAST_2)
    assert removed(found) == {}


def test_7_a_kept_tag_keeps_the_image() -> None:
    repository = Repository()
    repository.add("image", "latest", "1.0-SNAPSHOT", pushed=90)
    policy = 'rules: [{tags: ["*-SNAPSHOT"], remove: {older_than: 30d}}]'
    found = decided(repository, policy)
    assert removed(found) == {"1.0-SNAPSHOT": "older"}
    assert kept(found) == {"latest": "no-rule"}
    assert found.removed_images == 0


def test_8_what_another_repository_has_frees_nothing() -> None:
    accounting = RemovalAccounting()
    for name in ("staging", "production"):
        repository = Repository(name)
        digest = repository.add("image", "1.0", pushed=90, size=3_000_000_000)
        accounting.add(repository.snapshot, {digest} if name == "staging" else frozenset())
    counted, freed = accounting.counted()
    assert counted.removed_bytes > 3_000_000_000
    assert (counted.freed_bytes, freed) == (0, ())


def test_9_untagged_is_not_rubbish() -> None:
    repository = Repository()
    repository.add("index", "latest", pushed=90, children=["amd64", "provenance"])
    for name in ("amd64", "provenance"):
        repository.add(name, pushed=90, untagged=90)
    repository.add("sbom", pushed=90, untagged=90, subject="index")
    repository.add("signature", f"sha256-{digest_of('index').hex}.sig", pushed=90)
    repository.add("by digest", pushed=90, untagged=90, pulled=1)
    rubbish = repository.add("rubbish", pushed=90, untagged=90)
    policy = "rules: [{state: untagged, remove: {older_than: 7d}}]"
    assert removed(decided(repository, policy)) == {rubbish.short: "older"}


def test_10_untagged_since_is_not_pushed() -> None:
    repository = Repository()
    repository.add("latest of last year", pushed=400, untagged=1)
    repository.add("not known since when", pushed=400)
    policy = "rules: [{state: untagged, remove: {older_than: 7d}}]"
    assert removed(decided(repository, policy)) == {}


def test_11_patterns_are_of_the_whole_name() -> None:
    repository = Repository()
    for tag in ("v1", "v10", "latest", "latest-dev", "a-prod", "a-prod-old"):
        repository.add(tag, tag, pushed=90)
    policy = 'rules: [{tags: [v1, latest, "re:.*-prod"], remove: {older_than: 30d}}]'
    assert sorted(removed(decided(repository, policy))) == ["a-prod", "latest", "v1"]


def test_12_a_list_is_any_of_them() -> None:
    repository = Repository()
    for tag in ("dev-1", "test-1", "main"):
        repository.add(tag, tag, pushed=90)
    policy = 'rules: [{tags: ["dev-*", "test-*"], remove: {older_than: 30d}}]'
    assert sorted(removed(decided(repository, policy))) == ["dev-1", "test-1"]


def test_13_the_order_of_rules_changes_no_outcome() -> None:
    repository = Repository()
    for day in (1, 40, 50):
        repository.add(f"v{day}", f"v{day}", pushed=day)
    rules = ['{tags: ["*"], remove: {older_than: 30d}}', '{tags: ["v*"], keep: {last: 2}}']
    for some in (rules, rules[::-1]):
        found = decided(repository, f"rules: [{', '.join(some)}]")
        assert sorted(removed(found)) == ["v50"]


def test_14_what_no_rule_names_stays() -> None:
    repository = Repository()
    for tag in ("v1", "main", "pr-1"):
        repository.add(tag, tag, pushed=900)
    found = decided(repository, 'rules: [{tags: ["pr-*"], keep: {within: 7d}, remove: rest}]')
    assert kept(found) == {"main": "no-rule", "v1": "no-rule"}


def test_15_age_and_count_have_two_names() -> None:
    repository = Repository()
    for day in (1, 2, 3, 40):
        repository.add(f"b{day}", f"b{day}", pushed=day)
    both = decided(repository, 'rules: [{tags: ["*"], remove: {older_than: 30d, and_beyond: 2}}]')
    either = decided(repository, 'rules: [{tags: ["*"], remove: {older_than: 30d, or_beyond: 2}}]')
    assert sorted(removed(both)) == ["b40"]
    assert sorted(removed(either)) == ["b3", "b40"]
    assert [(one.old_and_beyond, one.old_or_beyond) for one in both.sums + either.sums] == [
        (1, 2),
        (1, 2),
    ]
    with pytest.raises(InvalidPolicy, match="and_beyond"):
        parse_policy('rules: [{tags: ["*"], remove: {older_than: 7d, beyond: 2}}]', "p.yml")


@pytest.mark.parametrize(("since", "goes"), [(None, False), (7, False), (400, True)])
def test_16_never_pulled_is_not_the_same_as_not_known(since: float | None, goes: bool) -> None:
    repository = Repository()
    repository.add("image", "b1", pushed=90)
    repository.watching_since = None if since is None else NOW - since * DAY
    found = decided(repository, 'rules: [{tags: ["*"], remove: {not_pulled_within: 30d}}]')
    assert bool(removed(found)) is goes


def test_17_a_promotion_makes_the_image_new_and_says_so() -> None:
    repository = Repository()
    repository.add("image", "build-7", "stable", pushed=0, created=300)
    found = decided(repository, OLD)
    assert {decision.clock for decision in found.decisions} == {"pushed"}
    assert removed(found) == {}


def test_18_days_are_those_of_a_named_zone() -> None:
    repository = Repository()
    # 15 January 2027, 08:00 UTC is now; in Auckland it is 21:00, and that day began at 11:00 UTC.
    repository.add("before", "before", pushed=22 / 24)
    repository.add("after", "after", pushed=20 / 24)
    rules = 'rules: [{tags: ["*"], keep: {daily: 5}, remove: rest}]'
    assert sorted(removed(decided(repository, rules))) == ["before"]
    assert removed(decided(repository, f"time_zone: Pacific/Auckland\n{rules}")) == {}


@pytest.mark.parametrize(("seconds", "refused"), [(None, 0), (59.0, 0), (-61.0, 1), (61.0, 1)])
def test_19_clocks_that_differ_by_a_minute_refuse(seconds: float | None, refused: int) -> None:
    assert len(list(find_clock_objection(seconds, Allowed()))) == refused


def test_20_names_do_not_sort() -> None:
    repository = Repository()
    for day, tag in enumerate(["1.10", "1.9", "nightly-01-12-2026", "nightly-30-11-2026"]):
        repository.add(tag, tag, pushed=day)
    assert sorted(kept(decided(repository, LAST_2))) == ["1.10", "1.9"]
    versions = 'rules: [{tags: ["semver:>=1.10"], remove: all}]'
    assert sorted(removed(decided(repository, versions))) == ["1.10"]


def test_21_groups_are_told_and_most_of_one_is_warned_of() -> None:
    repository = Repository()
    for number in range(4):
        repository.add(f"n{number}", f"nightly-{number}", pushed=number)
    policy = 'rules: [{tags: ["*"], group_by: "re:(.+)", keep: {last: 1}, remove: rest}]'
    found = decided(repository, policy)
    assert removed(found) == {}
    assert found.groups[0].are_single
    assert set(found.groups[0].sizes.values()) == {1}


def test_22_an_incomplete_list_removes_nothing_of_its_repository() -> None:
    policy = parse_policy(LAST_2, "p.yml")
    counts = [
        RepositoryCount(RepoName("whole"), 100, 100, 1, 1),
        RepositoryCount(RepoName("half"), 100, 100, 1, 1, complete=False),
    ]
    sizes, _ = RemovalAccounting().counted()
    found = list(find_objections(counts, sizes, policy, Allowed()))
    assert [(one.code, one.repository) for one in found] == [("incomplete", "half")]


def test_25_all_of_a_repository_is_refused() -> None:
    policy = parse_policy('max_removal: 100%\nrules: [{tags: ["*"], remove: all}]', "p.yml")
    sizes, _ = RemovalAccounting().counted()
    counts = [RepositoryCount(RepoName("stopped"), 3, 3, 3, 3, emptied=True)]
    found = list(find_objections(counts, sizes, policy, Allowed()))
    assert [one.code for one in found] == ["all-tags"]
    assert list(find_objections(counts, sizes, policy, Allowed(all_tags=True))) == []


def test_25_signatures_do_not_hide_that_all_images_go() -> None:
    repository = Repository()
    for name in ("i1", "i2"):
        repository.add(name, name, pushed=90)
        repository.add(f"{name} signed", f"sha256-{digest_of(name).hex}.sig", pushed=90)
    repository.add("left behind", f"sha256-{digest_of('gone').hex}.sig", pushed=90)
    snapshot = msgspec.structs.replace(repository.snapshot, dangling=(Tag("broken"),))
    found, removal = plan_decided(snapshot, decided(repository, OLD))
    count = count_repository(found, removal, snapshot)
    assert (count.removed_tags, count.tags) == (4, 5)
    sizes, _ = RemovalAccounting().counted()
    policy = parse_policy(f"max_removal: 100%\n{OLD}", "p.yml")
    assert [one.code for one in find_objections([count], sizes, policy, Allowed())] == ["all-tags"]


def test_25_the_last_image_of_a_quiet_service_is_held() -> None:
    repository = Repository()
    image = repository.add("image", "b1", pushed=900)
    for held in (
        Held(tags={(repository.name, next(iter(repository.tags))): "pod"}),
        Held(digests={image: "pod"}),
    ):
        assert removed(decided(repository, OLD, held)) == {}


def test_27_dates_and_numbers_are_computed() -> None:
    repository = Repository()
    repository.add("image", "b1", pushed=90)
    (decision,) = decided(repository, f"description: 10 days\n{OLD}").decisions
    assert decision.sentence == (
        "older than 30d, number 1, pushed 2026-10-17 08:00 UTC (test) [rule 1]"
    )


def test_30_whatever_is_no_image_is_counted_as_one_and_an_unknown_type_stays() -> None:
    repository = Repository()
    repository.add("schema 1", "schema1", pushed=1, kind="schema1")
    chart = "application/vnd.cncf.helm.config.v1+json"
    repository.add("chart", "chart", pushed=2, config=chart)
    repository.add("image", "image", pushed=3)
    repository.add("thing", "thing", pushed=900, kind="opaque")
    found = decided(repository, LAST_2)
    assert sorted(removed(found)) == ["image"]
    assert kept(found)["thing"] == "type-unknown"
