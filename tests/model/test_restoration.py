"""What an undo puts back and what it leaves, on manifests made of nothing but names."""

from jettison.model.digest import Digest
from jettison.model.journal import JobState, RemovalEntry, SavedManifest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Estimate, Plan, Step, StepAction
from jettison.model.restoration import (
    Looked,
    Needs,
    TagSeen,
    UndoPlan,
    decide_undo,
    taken_tags,
)

APP = RepoName("app")


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def looked(
    name: str,
    *blobs: str,
    children: tuple[str, ...] = (),
    subject: str | None = None,
    present: bool = False,
) -> tuple[tuple[RepoName, Digest], Looked]:
    needs = Needs(
        tuple(map(digest, children)),
        dict.fromkeys(map(digest, blobs)),
        None if subject is None else digest(subject),
    )
    return (APP, digest(name)), Looked(
        SavedManifest(APP, digest(name), "type", name.encode(), ()), present, needs
    )


def tag(name: str, of: str, now: str | None = None) -> TagSeen:
    return TagSeen(APP, Tag(name), digest(of), None if now is None else digest(now))


def names(plan: UndoPlan) -> list[str]:
    return [one.raw.decode() for one in plan.manifests]


def tags(plan: UndoPlan) -> list[str]:
    return [name for _, name, _ in plan.tags]


def gone(*blobs: str) -> dict[tuple[RepoName, Digest], str]:
    return {(APP, digest(blob)): "is not there" for blob in blobs}


def test_children_come_first_and_referrers_last() -> None:
    known = dict(
        [
            looked("signature", "sig", subject="index"),
            looked("index", children=("one", "two")),
            looked("one", "a"),
            looked("two", "b"),
        ]
    )
    untagged = {(APP, digest(name)) for name in ("signature", "one", "two")}
    plan = decide_undo([tag("all", "index")], untagged, known, {}, set(), set())
    order = names(plan)
    assert sorted(order) == ["index", "one", "signature", "two"]
    assert order.index("one") < order.index("index") > order.index("two")
    assert order.index("signature") > order.index("index")


def test_a_tag_of_another_image_is_left_and_so_is_what_only_it_needs() -> None:
    known = dict([looked("old", "a"), looked("mine", "b"), looked("child", "c")])
    seen = [tag("taken", "old", now="new"), tag("free", "mine")]
    plan = decide_undo(seen, set(), known, {}, set(), set())
    assert (tags(plan), names(plan)) == (["free"], ["mine"])
    assert [(one.subject, one.taken) for one in plan.left] == [("app:taken", True)]
    forced = decide_undo(seen, set(), known, {}, set(), set(), overwrite=True)
    assert sorted(tags(forced)) == ["free", "taken"]


def test_what_lacks_a_blob_is_left_whole_and_the_rest_comes_back() -> None:
    known = dict(
        [
            looked("index", children=("whole", "lost")),
            looked("whole", "a"),
            looked("lost", "b"),
            looked("other", "a"),
        ]
    )
    untagged = {(APP, digest("whole")), (APP, digest("lost"))}
    seen = [tag("all", "index"), tag("other", "other")]
    plan = decide_undo(seen, untagged, known, gone("b"), set(), set())
    assert (tags(plan), names(plan)) == (["other"], ["other"])
    [left] = plan.left
    assert left.subject == "app:all"
    assert str(digest("b")) in left.reason
    # A backup has it.
    backed = decide_undo(seen, untagged, known, gone("b"), {(APP, digest("b"))}, set())
    assert backed.blobs == ((APP, digest("b")),)
    assert not backed.left


def test_what_was_missing_before_is_no_obstacle() -> None:
    known = dict([looked("index", children=("absent", "one")), looked("one", "a", "never")])
    before = {(APP, digest("absent")), (APP, digest("never"))}
    plan = decide_undo([tag("all", "index")], set(), known, gone("never"), set(), before)
    assert names(plan) == ["one", "index"]
    assert not plan.left
    assert set(plan.missing) == before
    without = decide_undo([tag("all", "index")], set(), known, {}, set(), set())
    assert [one.subject for one in without.left] == ["app:all"]


def test_only_steps_that_were_begun_took_tags() -> None:
    steps = tuple(
        Step(StepAction.UNTAG, APP, digest("one"), (Tag(name),), "asked for") for name in ("a", "b")
    )
    plan = Plan("host:1", "then", (), steps, (), Estimate(), {})
    run = RemovalEntry(
        id="id",
        state=JobState.STOPPED,
        started="then",
        registry="host:1",
        request=(),
        plan=plan,
    )
    assert list(taken_tags(run, {0})) == [(APP, "a")]
    assert list(taken_tags(run, None)) == [(APP, "a"), (APP, "b")]
