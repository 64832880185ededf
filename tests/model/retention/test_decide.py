"""What a policy decides."""

from jettison.model.names import Tag
from tests.model.retention.building import Repository, decided, kept, removed


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
    gone = repository.add("image", "1.0", pushed=40)
    del repository.tags[Tag("1.0")], repository.manifests[gone]
    repository.add("signature", f"sha256-{gone.hex}.sig", pushed=40)
    sbom = repository.add("sbom", pushed=40, subject="image")
    everything = """
    rules:
    - {tags: ["*"], remove: all}
    - {state: untagged, remove: all}
    """
    assert removed(decided(repository, everything)) == {}
    orphans = "rules: [{state: orphaned, remove: {older_than: 30d}}]"
    assert sorted(removed(decided(repository, orphans))) == [
        f"sha256-{gone.hex}.sig",
        sbom.short,
    ]


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
