"""What a policy decides."""

import msgspec
import pytest

from jettison.configuration.policy_file import parse_policy
from jettison.model.names import Tag
from jettison.model.retention.decide import Decider
from jettison.model.retention.evidence import Evidence, Moment, Times
from tests.model.retention.building import (
    DAY,
    NOW,
    Repository,
    decided,
    digest_of,
    kept,
    removed,
)


def of_days(*days: float) -> Repository:
    found = Repository()
    for number, day in enumerate(days, 1):
        found.add(f"image {number}", f"b{number}", pushed=day)
    return found


LAST_2 = 'rules: [{tags: ["*"], keep: {last: 2}, remove: rest}]'


def test_newest_of_all_are_kept() -> None:
    found = decided(of_days(1, 2, 3, 4), LAST_2)
    assert kept(found) == {"b1": "last", "b2": "last"}
    assert removed(found) == {"b3": "rest", "b4": "rest"}


def test_boundary_image_and_its_equals_are_kept() -> None:
    found = decided(of_days(1, 2, 2, 2, 3), LAST_2)
    assert sorted(kept(found)) == ["b1", "b2", "b3", "b4"]


def test_images_are_counted_and_not_tags() -> None:
    repository = of_days(3, 4)
    repository.add("new", "latest", "1.3", "1", pushed=1)
    assert sorted(kept(decided(repository, LAST_2))) == ["1", "1.3", "b1", "latest"]


def test_unknown_time_is_never_old_and_takes_no_place() -> None:
    repository = of_days(1, 2, 3)
    repository.add("unknown", "unknown")
    found = decided(repository, LAST_2)
    assert kept(found) == {"b1": "last", "b2": "last", "unknown": "time-unknown"}


def test_older_is_strict_to_the_second() -> None:
    policy = 'rules: [{tags: ["*"], remove: {older_than: 7d}}]'
    found = decided(of_days(7, 7 + 1 / 86400), policy)
    assert kept(found) == {"b1": "not-old"}
    assert removed(found) == {"b2": "older"}


def test_old_and_beyond_and_old_or_beyond() -> None:
    repository = of_days(1, 10, 20)
    both = decided(repository, 'rules: [{tags: ["*"], remove: {older_than: 7d, and_beyond: 2}}]')
    assert sorted(removed(both)) == ["b3"]
    either = decided(repository, 'rules: [{tags: ["*"], remove: {older_than: 7d, or_beyond: 2}}]')
    assert sorted(removed(either)) == ["b2", "b3"]
    assert (both.sums[0].old_and_beyond, both.sums[0].old_or_beyond) == (1, 2)


def test_kept_tag_leaves_the_doomed_one_of_the_same_image_to_go() -> None:
    repository = Repository()
    repository.add("shared", "v1.0", "pr-7", pushed=90)
    policy = """
    protect: {tags: ["v*"]}
    rules: [{tags: ["pr-*"], remove: {older_than: 7d}}]
    """
    found = decided(repository, policy)
    assert kept(found) == {"v1.0": "protected"}
    assert removed(found) == {"pr-7": "older"}


def test_signatures_and_platforms_follow_and_are_not_counted() -> None:
    repository = Repository()
    for day in (1, 2, 3):
        index = repository.add(
            f"index {day}", f"b{day}", pushed=day, children=[f"amd64 {day}", f"att {day}"]
        )
        repository.add(f"amd64 {day}", f"b{day}-amd64", pushed=day)
        repository.add(f"att {day}", pushed=day)
        repository.add(f"signature {day}", f"sha256-{index.hex}.sig", pushed=day)
        repository.add(f"sbom {day}", pushed=day, subject=f"index {day}")
    found = decided(repository, LAST_2)
    assert sorted(kept(found)) == ["b1", "b1-amd64", "b2", "b2-amd64"]
    assert removed(found) == {"b3": "rest", "b3-amd64": "followed"}


def test_untagged_goes_by_when_it_lost_its_tag() -> None:
    repository = Repository()
    repository.add("old push", pushed=300, untagged=1)
    long = repository.add("long untagged", pushed=300, untagged=8)
    repository.add("unknown", pushed=300)
    repository.add("pulled by digest", pushed=300, untagged=20, pulled=1)
    repository.add("index", "latest", pushed=300, children=["child"])
    repository.add("child", pushed=300, untagged=300)
    policy = "rules: [{state: untagged, remove: {older_than: 7d}}]"
    assert removed(decided(repository, policy)) == {long.short: "older"}


def test_orphans_have_a_rule_of_their_own() -> None:
    repository = Repository()
    repository.add("other", "2.0", pushed=1)
    gone = repository.add("image", "1.0", pushed=40)
    del repository.tags[Tag("1.0")], repository.manifests[gone]
    repository.add("signature", f"sha256-{gone.hex}.sig", pushed=40)
    sbom = repository.add("sbom", pushed=40, subject="image")
    everything = """
    rules:
    - {tags: ["1.*", "sha256-*"], remove: all}
    - {state: untagged, remove: all}
    """
    assert removed(decided(repository, everything)) == {}
    orphans = "rules: [{state: orphaned, remove: {older_than: 30d}}]"
    assert sorted(removed(decided(repository, orphans))) == [
        f"sha256-{gone.hex}.sig",
        sbom.short,
    ]


def test_what_looks_like_a_copy_is_not_old_by_its_creation() -> None:
    repository = Repository()
    repository.add("made long ago and mirrored today", "1.0", created=400)
    copied = msgspec.structs.replace(repository.evidence, copied=True)
    for clock, goes in (("auto", set()), ("pushed", set()), ("created", {"1.0"})):
        text = f'rules: [{{tags: ["*"], clock: {clock}, remove: {{older_than: 30d}}}}]'
        decider = Decider(parse_policy(text), NOW)
        assert decider.decide(repository.snapshot, copied).tags == goes
        assert decider.needs_created(repository.name, copied) is bool(goes)


def test_signatures_in_a_repository_of_their_own_are_no_orphans() -> None:
    """As cosign keeps them with COSIGN_REPOSITORY: what they sign is in another repository."""
    signatures = Repository("signatures")
    for name in ("one", "two"):
        signatures.add(f"{name} signed", f"sha256-{digest_of(name).hex}.sig", pushed=90)
    signed_before = signatures.add("one signed before", pushed=90, untagged=80)
    policy = """
    rules:
    - {tags: ["*"], remove: all}
    - {state: untagged, remove: {older_than: 30d}}
    - {state: orphaned, remove: {older_than: 30d}}
    """
    assert removed(decided(signatures, policy)) == {signed_before.short: "older"}


def test_a_size_that_is_not_known_is_not_small() -> None:
    """Schema 1 tells no sizes, and an index may list a platform that is not there."""
    repository = Repository()
    repository.add("schema 1", "schema1", pushed=90, kind="schema1")
    repository.add("sparse", "sparse", pushed=90, children=["platform elsewhere"])
    repository.add("small", "small", pushed=90, size=10)
    repository.add("large", "large", pushed=90, size=5_000_000)
    unsized = {"schema1": "size-unknown", "sparse": "size-unknown"}
    small = 'rules: [{tags: ["*"], smaller_than: 1MB, remove: {older_than: 30d}}]'
    found = decided(repository, small)
    assert removed(found) == {"small": "older"}
    assert kept(found) == {**unsized, "large": "no-rule"}
    kept_large = """
    rules:
    - {tags: ["*"], larger_than: 1MB, keep: {last: 1}}
    - {tags: ["*"], remove: all}
    """
    found = decided(repository, kept_large)
    assert removed(found) == {"small": "all"}
    assert kept(found) == {**unsized, "large": "last"}


def test_groups_count_each_for_itself() -> None:
    repository = Repository()
    for branch in ("main", "dev"):
        for number in range(3):
            repository.add(f"{branch} {number}", f"{branch}-{number}abcdef", pushed=number)
    repository.add("other", "other", pushed=9)
    policy = """
    rules:
    - tags: ["*"]
      group_by: "re:(?P<branch>.+)-[0-9a-f]{7}"
      keep: {last: 1}
      remove: rest
    """
    found = decided(repository, policy)
    assert kept(found) == {
        "dev-0abcdef": "last",
        "main-0abcdef": "last",
        "other": "no-rule",
    }
    assert dict(found.groups[0].sizes) == {"dev": 3, "main": 3}


def test_pulled_lately_is_kept_and_unknown_pulls_keep_everything() -> None:
    repository = of_days(50, 60)
    repository.add("pulled", "pulled", pushed=70, pulled=3)
    policy = 'rules: [{tags: ["*"], keep: {pulled_within: 14d}, remove: rest}]'
    assert kept(decided(repository, policy))["b1"] == "pulls-unknown"
    repository.watching_since = 0
    found = decided(repository, policy)
    assert kept(found) == {"pulled": "pulled"}
    assert removed(found) == {"b1": "rest", "b2": "rest"}


def test_unknown_time_is_kept_by_a_rule_that_keeps_by_time() -> None:
    repository = of_days(40)
    repository.add("unknown", "unknown")
    policy = """
    rules:
    - {tags: ["*"], keep: {within: 30d}}
    - {tags: ["*"], remove: all}
    """
    found = decided(repository, policy)
    assert kept(found) == {"unknown": "time-unknown"}
    assert removed(found) == {"b1": "all"}


def test_leaving_counts_among_the_old_alone() -> None:
    repository = of_days(1, 2, 10, 20, 20, 30)
    found = decided(repository, 'rules: [{tags: ["*"], remove: {older_than: 7d, leaving: 2}}]')
    left = {"b3": "left", "b4": "left", "b5": "left"}
    assert kept(found) == {"b1": "not-old", "b2": "not-old", **left}
    assert removed(found) == {"b6": "older"}


def test_whole_images_are_kept_with_the_tags_that_the_rule_is_not_about() -> None:
    repository = Repository()
    repository.add("release", "v1", "build-7", pushed=90)
    repository.add("build", "build-8", pushed=90)
    policy = """
    rules:
    - {tags: ["v*"], keep: {last: 5}, whole_images: WHOLE}
    - {tags: ["*"], remove: all}
    """
    assert sorted(kept(decided(repository, policy.replace("WHOLE", "false")))) == ["v1"]
    found = decided(repository, policy.replace("WHOLE", "true"))
    assert sorted(kept(found)) == ["build-7", "v1"]
    assert removed(found) == {"build-8": "all"}


def test_uploaded_clock_heeds_no_push_of_a_tag() -> None:
    repository = Repository()
    digest = repository.add("image", "pr-1", pushed=1)
    repository.times[digest] = Times(pushed=Moment(NOW - 40 * DAY, "test"))
    policy = 'rules: [{tags: ["*"], clock: CLOCK, remove: {older_than: 30d}}]'
    assert removed(decided(repository, policy.replace("CLOCK", "pushed"))) == {}
    assert removed(decided(repository, policy.replace("CLOCK", "uploaded"))) == {"pr-1": "older"}


def test_tagged_clock_heeds_no_other_push_of_the_image() -> None:
    repository = Repository()
    digest = repository.add("image", "pr-1", "latest", pushed=40)
    repository.times[digest] = Times(pushed=Moment(NOW, "test"))
    policy = 'rules: [{tags: ["pr-*"], clock: CLOCK, remove: {older_than: 30d}}]'
    assert removed(decided(repository, policy.replace("CLOCK", "pushed"))) == {}
    assert removed(decided(repository, policy.replace("CLOCK", "tagged"))) == {"pr-1": "older"}


def test_those_pulled_last_are_kept_and_who_may_be_among_them() -> None:
    repository = of_days(50, 60)
    repository.add("yesterday", "yesterday", pushed=70, pulled=1)
    repository.add("last week", "last-week", pushed=70, pulled=7)
    policy = 'rules: [{tags: ["*"], keep: {last_pulled: LAST}, remove: rest}]'
    one = policy.replace("LAST", "1")
    assert removed(decided(repository, one)) == {}
    repository.watching_since = NOW - 3 * DAY
    found = decided(repository, one)
    assert kept(found) == {"yesterday": "last-pulled"}
    # One place is left, and any of the others may have been pulled before anybody watched.
    found = decided(repository, policy.replace("LAST", "2"))
    pulled = {"yesterday": "last-pulled", "last-week": "last-pulled"}
    assert kept(found) == {"b1": "pulls-unknown", "b2": "pulls-unknown", **pulled}


def test_a_pull_of_a_platform_counts_for_its_index_and_against_no_other() -> None:
    """The registry that a policy is imported from may count it for the platform alone."""
    repository = Repository()
    repository.watching_since = NOW - 90 * DAY
    repository.add("index", "multi", pushed=50, children=["amd64"])
    repository.add("amd64", pushed=50, pulled=1)
    repository.add("a", "a", pushed=50)
    repository.add("b", "b", pushed=50, pulled=3)
    policy = 'rules: [{tags: ["*"], keep: {last_pulled: LAST}, remove: rest}]'
    found = decided(repository, policy.replace("LAST", "1"))
    assert kept(found) == {"multi": "last-pulled", "b": "last-pulled"}
    assert removed(found) == {"a": "rest"}


def test_tag_of_a_platform_goes_only_if_rules_remove_it_by_itself() -> None:
    repository = Repository()
    repository.add("index", "nightly", pushed=60, children=["amd64", "arm64", "s390x"])
    repository.add("amd64", "v1-amd64", pushed=60)
    repository.add("arm64", "nightly-arm64", pushed=60)
    repository.add("s390x", "nightly-s390x", pushed=2)
    policy = """
    rules:
    - {tags: ["*"], keep: {tags: ["v*"]}}
    - {tags: ["*"], remove: {older_than: 30d}}
    """
    found = decided(repository, policy)
    assert removed(found) == {"nightly": "older", "nightly-arm64": "followed"}
    assert kept(found) == {"v1-amd64": "keep-tag", "nightly-s390x": "not-old"}


@pytest.mark.parametrize(
    "rule",
    [
        "remove: {older_than: 30d, leaving: 2}",
        "keep: {daily: 2}, remove: rest",
        "keep: {last: 2}, remove: rest",
    ],
)
def test_what_is_not_counted_stays_where_it_would_if_it_was(rule: str) -> None:
    repository = Repository()
    repository.add("image", "new", pushed=1)
    repository.add("untagged", pushed=90)
    repository.add("sbom", "main", pushed=60, subject="untagged")
    policy = f"rules: [{{tags: ['*'], {rule}}}, {{state: untagged, remove: all}}]"
    assert not decided(repository, policy).tags
    for day in (40, 50):
        repository.add(f"image {day}", f"b{day}", pushed=day)
    assert "main" in decided(repository, policy).tags


def test_a_registry_that_could_tell_and_does_not_changes_no_clock() -> None:
    """Its images are not suddenly dated by their configs: what was pushed when is not known."""
    repository = Repository()
    repository.add("one", "a", created=90)
    policy = 'rules: [{tags: ["*"], remove: {older_than: 30d}}]'
    assert removed(decided(repository, policy)) == {"a": "older"}
    repository.unknown = "Harbor's API refuses the login (401)"
    assert kept(decided(repository, policy)) == {"a": "time-unknown"}
    said = policy.replace("remove:", "clock: created, remove:")
    assert removed(decided(repository, said)) == {"a": "older"}


def test_configs_are_read_only_where_pushes_are_not_known() -> None:
    decider = Decider(parse_policy('rules: [{tags: ["*"], remove: {older_than: 30d}}]', "p"), NOW)
    pushed = Times(pushed=Moment(NOW, "Google timeUploadedMs"))
    for evidence, needed in (
        (Evidence(), True),
        (Evidence(tags={Tag("a"): pushed}), False),
        (Evidence(manifests={digest_of("one"): pushed}), False),
        (Evidence(unknown="Harbor's API refuses the login (401)"), False),
    ):
        assert decider.needs_created("team/app", evidence) is needed


def test_child_of_an_index_that_refers_to_another_child_is_no_image() -> None:
    repository = Repository()
    for number in range(20):  # whichever digest comes first
        one, two = f"amd64 {number}", f"arm64 {number}"
        repository.add(one, pushed=1)
        repository.add(two, pushed=1)
        repository.add(f"index {number}", pushed=1, children=[one, two], subject=two)
    found = decided(repository, "rules: [{state: untagged, remove: all}]")
    assert {one.digest for one in found.decisions}.isdisjoint(
        digest_of(f"amd64 {number}") for number in range(20)
    )
    assert found.removed_images == 20


@pytest.mark.parametrize("subject", [None, "gone"])
def test_what_an_attached_index_lists_stays_or_goes_with_its_subject(subject: str | None) -> None:
    repository = Repository()
    image = repository.add("image", "1.0", pushed=1)
    repository.add("statement", pushed=1, subject=subject)
    repository.add("statements", f"sha256-{image.hex}.att", pushed=1, children=["statement"])
    policy = "rules: [{state: untagged, remove: all}, {state: orphaned, remove: all}]"
    found = decided(repository, policy)
    assert not found.tags | found.digests
