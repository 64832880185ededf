"""Why an image stays or goes, and when it would go."""

from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.policy_file import parse_policy
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.decide import NOTHING_HELD, Decider, Held
from jettison.model.retention.explain import Explanation, explain
from jettison.model.retention.period import Period
from tests.model.retention.building import DAY, NOW, Repository

POLICY = """
protect: {tags: ["v*"]}
rules:
- {name: newest, tags: ["b*"], keep: {last: 2}, remove: {older_than: 7d}}
- {name: pull requests, repositories: ["other/*"], tags: ["pr-*"], remove: all}
- {name: old, tags: ["*"], except_tags: [latest], remove: {older_than: 30d}}
- {name: rubbish, state: untagged, remove: {older_than: 7d}}
"""


def explained(
    repository: Repository, wanted: str, policy: str = POLICY, held: Held = NOTHING_HELD
) -> Explanation:
    key = Digest(wanted) if ":" in wanted else Tag(wanted)
    return explain(
        repository.snapshot,
        repository.evidence,
        parse_policy(policy, "policy.yml"),
        key,
        now=NOW,
        held=held,
    )


def outcomes(found: Explanation) -> dict[str, str]:
    return {said.rule: said.outcome for said in found.rules}


def test_each_rule_says_what_it_does_and_why() -> None:
    repository = Repository()
    for day in (1, 2, 3):
        repository.add(f"image {day}", f"b{day}", pushed=day)
    found = explained(repository, "b3")
    assert outcomes(found) == {
        "newest": "passed",
        "pull requests": "not-in-set",
        "old": "passed",
        "rubbish": "not-in-set",
    }
    told = {said.rule: said.sentence for said in found.rules}
    assert told["newest"].startswith("not older than 7d, number 3, pushed 2027-01-12")
    assert told["pull requests"] == "it is about the repositories other/*"
    assert told["rubbish"] == "it is about what is untagged, and this is tagged"
    assert found.fate.at == NOW + 4 * DAY
    assert found.fate.sentence.startswith("after 2027-01-19 08:00 UTC: older than 7d")


def test_what_time_alone_does_not_remove_says_what_holds_it() -> None:
    repository = Repository()
    for day in (1, 2):
        repository.add(f"image {day}", f"b{day}", pushed=day)
    repository.add("version", "v1", pushed=400)
    repository.add("latest", "latest", pushed=400)
    repository.add("unknown", "unknown")
    newest = explained(repository, "b1")
    # The last rule is about it too, and what one rule keeps no other removes.
    assert newest.fate.at is None
    assert newest.fate.sentence.startswith("not while it is among the newest 2")
    assert outcomes(newest)["newest"] == "kept"
    assert explained(repository, "v1").fate.sentence == "never: protected by v*"
    assert outcomes(explained(repository, "v1"))["old"] == "removed"
    assert explained(repository, "latest").fate.sentence == "never: no rule removes it"
    assert {s.sentence for s in explained(repository, "latest").rules if s.rule == "old"} == {
        "it leaves out the tags latest"
    }
    unknown = explained(repository, "unknown")
    assert unknown.fate.sentence.startswith("not while this holds: when it was pushed is not known")
    held = Held(tags={(RepoName("team/app"), Tag("b2")): "pod shop/web"})
    assert explained(repository, "b2", held=held).fate.sentence == (
        "not while it is in use: pod shop/web"
    )


def test_what_goes_now_says_so() -> None:
    repository = Repository()
    repository.add("old", "old", pushed=31)
    found = explained(repository, "old")
    assert found.fate.now
    assert found.fate.sentence == (
        "now: older than 30d, number 1, pushed 2026-12-15 08:00 UTC (test) [old]"
    )
    assert [d.removed for d in found.decisions] == [True]


def test_times_are_told_with_their_sources() -> None:
    repository = Repository()
    repository.add("image", "b1", pushed=1, created=2, pulled=0.5)
    found = explained(repository, "b1")
    assert [(t.of.partition("@")[0], t.kind, t.source) for t in found.times] == [
        ("team/app:b1", "pushed", "test"),
        ("team/app:b1", "pulled", "test"),
        ("team/app", "pushed", "test"),
        ("team/app", "created", "test"),
        ("team/app", "pulled", "test"),
    ]


def test_image_of_several_tags_goes_with_the_last_of_them() -> None:
    repository = Repository()
    digest = repository.add("image", "x1", "x2", pushed=10)
    repository.tag_times[Tag("x2")] = repository.tag_times[Tag("x1")]
    found = explained(repository, digest)
    assert [d.tag for d in found.decisions] == ["x1", "x2"]
    assert found.fate.at == NOW + 20 * DAY
    repository.add("image", "v1", pushed=10)
    found = explained(repository, digest)
    assert found.tags == ("v1", "x1", "x2")
    assert found.fate.sentence == "never: team/app:v1: protected by v*"


def test_part_of_an_image_goes_with_it() -> None:
    repository = Repository()
    index = repository.add("index", "x1", pushed=10, children=["child"])
    child = repository.add("child", pushed=10)
    signature = repository.add("signature", f"sha256-{index.hex}.sig", pushed=10)
    for part in (child, signature, f"sha256-{index.hex}.sig"):
        found = explained(repository, part)
        assert found.belongs_to == ("team/app:x1",)
        assert found.fate.at == NOW + 20 * DAY
    repository.add("other", "v2", pushed=10, children=["child"])
    assert "team/app:v2: protected" in explained(repository, child).fate.sentence


def test_tag_of_a_platform_follows_its_index() -> None:
    repository = Repository()
    repository.add("index", "x1", pushed=10, children=["child"])
    repository.add("child", "x1-arm64", pushed=10)
    found = explained(repository, "x1-arm64")
    assert [d.reason.value for d in found.decisions] == ["follows"]
    assert found.fate.at == NOW + 20 * DAY
    assert outcomes(found)["old"] == "passed"


def test_untagged_image_goes_by_when_it_lost_its_tag() -> None:
    repository = Repository()
    digest = repository.add("image", pushed=300, untagged=5, pulled=2)
    found = explained(repository, digest)
    assert found.fate.at == NOW + 5 * DAY
    assert outcomes(found)["old"] == "not-in-set"


def test_pulls_that_are_not_known_yet_hold_until_they_are() -> None:
    policy = """
    rules: [{tags: ["*"], keep: {pulled_within: 14d}, remove: {older_than: 7d}}]
    """
    repository = Repository()
    repository.add("image", "b1", pushed=300)
    unknown = explained(repository, "b1", policy)
    assert unknown.fate.sentence.startswith("not while this holds: pulls are not known for 14d")
    assert outcomes(unknown) == {"rule 1": "kept"}
    repository.watching_since = NOW - 10 * DAY
    assert explained(repository, "b1", policy).fate.at == NOW + 4 * DAY
    not_pulled = policy.replace("keep: {pulled_within: 14d}, ", "").replace(
        "7d", "7d, not_pulled_within: 14d"
    )
    assert outcomes(explained(repository, "b1", not_pulled)) == {"rule 1": "passed"}


def test_it_goes_when_enough_others_are_old() -> None:
    policy = 'rules: [{tags: ["*"], remove: {older_than: 7d, leaving: 2}}]'
    repository = Repository()
    for day in (1, 3, 20):
        repository.add(f"image {day}", f"b{day}", pushed=day)
    found = explained(repository, "b20", policy)
    assert outcomes(found) == {"rule 1": "passed"}
    assert found.fate.at == NOW + 6 * DAY


def test_what_is_among_the_pulled_last_is_kept_while_pulls_are_not_known() -> None:
    repository = Repository()
    repository.add("one", "b1", pushed=1)
    policy = 'rules: [{tags: ["*"], keep: {last_pulled: 1}, remove: {older_than: 7d}}]'
    assert outcomes(explained(repository, "b1", policy)) == {"rule 1": "kept"}


def test_unknown_time_passes_or_keeps_as_the_rule_means_it() -> None:
    repository = Repository()
    repository.add("one", "b1")
    for keep, outcome in (("last: 1", "kept"), ("tags: [x]", "passed")):
        policy = f'rules: [{{tags: ["*"], keep: {{{keep}}}, remove: {{older_than: 7d}}}}]'
        assert outcomes(explained(repository, "b1", policy)) == {"rule 1": outcome}


def test_keep_without_remove_passes() -> None:
    repository = Repository()
    repository.add("one", "b1", pushed=1)
    repository.add("two", "b2", pushed=2)
    found = explained(repository, "b2", 'rules: [{tags: ["*"], keep: {last: 1}}]')
    assert [said.sentence for said in found.rules] == ["it does not keep it, and removes nothing"]
    assert outcomes(found) == {"rule 1": "passed"}


def test_set_of_a_rule_by_group_type_and_size() -> None:
    repository = Repository()
    repository.add("one", "b1", pushed=1)
    for rule, sentence in (
        ('group_by: "re:(.+)-x"', "the tag is in no group of re:(.+)-x"),
        ("artifact_types: [application/helm]", "it is about the types application/helm"),
        ("larger_than: 1GB", "it is about what is larger than 1GB"),
        ("smaller_than: 1", "it is about what is smaller than 1"),
    ):
        policy = f'rules: [{{tags: ["*"], remove: all, {rule}}}]'
        found = explained(repository, "b1", policy)
        assert [said.sentence for said in found.rules] == [sentence]


def test_list_that_is_not_complete_is_noted() -> None:
    repository = Repository()
    repository.add("one", "b1", pushed=1)
    assert explained(repository, "b1").notes == ()


def test_a_month_ends_with_a_month_that_has_fewer_days() -> None:
    end_of_january = 1_801_350_000.0  # 31 January 2027, 07:00 UTC
    march = 1_803_859_200.0
    month = Period("1mo")
    assert month.after(end_of_january) == march
    assert month.before(march) > end_of_january
    assert month.before(march - 1) < end_of_january


periods = st.sampled_from(["1d", "7d", "1mo", "12h", "2w"])


@given(
    days=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    keep=st.integers(1, 3),
    older=periods,
    within=periods,
    pulled=st.none() | st.integers(0, 40),
    watching=st.none() | st.integers(0, 40),
)
def test_it_goes_when_it_is_said_to_go(
    days: list[int], keep: int, older: str, within: str, pulled: int | None, watching: int | None
) -> None:
    repository = Repository()
    for number, day in enumerate(days):
        repository.add(f"image {number}", f"b{number}", pushed=day, pulled=pulled)
    repository.watching_since = None if watching is None else NOW - watching * DAY
    text = f"""
    rules:
    - {{tags: ["*"], keep: {{last: {keep}, within: {within}, pulled_within: 3d}},
       remove: {{older_than: {older}}}}}
    """
    policy = parse_policy(text, "policy.yml")

    def goes(at: float) -> bool:
        found = Decider(policy, at).decide(repository.snapshot, repository.evidence)
        return Tag("b0") in found.tags

    fate = explained(repository, "b0", text).fate
    assert fate.now == goes(NOW)
    if fate.now:
        return
    if fate.at is None:
        assert not goes(NOW + 1000 * DAY)
    else:
        assert not goes(fate.at - 1)
        assert goes(fate.at + 1)


def test_why_times_are_not_known_is_said() -> None:
    repository = Repository()
    repository.add("image", "b1", created=90)
    repository.unknown = "Harbor's API refuses the login (401)"
    found = explained(repository, "b1")
    assert found.notes == ("not all times are known: Harbor's API refuses the login (401)",)
    assert found.fate.at is None
