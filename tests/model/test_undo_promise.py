"""The promise of an undo is what was seen to be possible."""

import pytest
from msgspec.structs import replace

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Broken, Estimate, Plan, PlanSummary, Step, StepAction
from jettison.model.products import product
from jettison.model.undo_promise import Outlook, promise_undo

APP, ONE, TWO = RepoName("app"), Digest.of(b"one"), Digest.of(b"two")
NOW = 1_750_000_000.0
STEPS = (
    Step(StepAction.DELETE, APP, ONE, (Tag("1"),), "its last tag goes"),
    Step(StepAction.DELETE, APP, TWO, (Tag("2"),), "its last tag goes"),
)


def made(*broken: Digest, steps: tuple[Step, ...] = STEPS) -> Plan:
    missing = tuple(Broken(APP, one, (Digest.of(b"blob"),), damaged=True) for one in broken)
    return Plan("host:1", "then", (), steps, (), Estimate(freed_bytes=7), {}, missing=missing)


def plan(*broken: Digest, steps: tuple[Step, ...] = STEPS) -> PlanSummary:
    return made(*broken, steps=steps).summary


@pytest.mark.parametrize(
    ("name", "possible", "words"),
    [
        ("Distribution 2.x", True, "until the registry is collected"),
        ("zot/2.1.0", True, "until zot collects, which it does by itself, not within 1 h"),
        ("GitLab", True, "which it does by itself, not within 24 h"),
        ("Gitea", False, "not possible: Gitea removes blobs with the last manifest"),
        ("something", True, "it may do that by itself"),
    ],
)
def test_each_product_promises_what_it_keeps(name: str, words: str, *, possible: bool) -> None:
    found = promise_undo(plan(), Outlook(product(name)), NOW)
    assert found.possible is possible
    assert words in found.sentence


def test_where_only_a_tag_goes_no_blob_goes_with_it() -> None:
    untag = plan(steps=(Step(StepAction.UNTAG, APP, ONE, (Tag("1"),), "asked for"),))
    assert promise_undo(untag, Outlook(product("Gitea")), NOW).possible


def test_what_is_broken_already_is_not_promised() -> None:
    outlook = Outlook(product("Distribution 3.x"))
    assert not promise_undo(plan(ONE, TWO), outlook, NOW).possible
    some = promise_undo(plan(ONE), outlook, NOW)
    assert some.possible
    assert "but for 1 of 2 images" in some.sentence


def test_what_was_seen_afterwards_counts_more() -> None:
    gitea = product("Gitea")
    assert promise_undo(plan(), Outlook(gitea, gone=0, left=3), NOW).possible
    some = promise_undo(plan(), Outlook(gitea, gone=1, left=3), NOW)
    assert "of 4 blobs that were looked for, 1 are gone" in some.sentence
    none = promise_undo(plan(), Outlook(product("Distribution 3.x"), gone=2, left=0), NOW)
    assert (none.possible, none.sentence) == (False, "no longer: its blobs are gone")


def test_a_collection_that_took_nothing_leaves_the_undo() -> None:
    before = promise_undo(plan(), Outlook(product("Distribution"), reclaim=True), NOW)
    assert not before.possible
    after = promise_undo(
        plan(), Outlook(product("Distribution"), reclaim=True, gone=0, left=2), NOW
    )
    assert (after.possible, after.sentence) == (True, "until the registry is collected again")


def test_windows_and_backups() -> None:
    outlook = Outlook(product("Distribution"), window_until=NOW + 86400)
    assert promise_undo(plan(), outlook, NOW).sentence == "until 2025-06-16 15:06 UTC"
    assert "no longer held" in promise_undo(plan(), outlook, NOW + 90000).sentence
    backed = Outlook(product("Gitea"), backup="/b", gone=2, left=0)
    assert promise_undo(plan(), backed, NOW).sentence == "from the backup /b"


def test_a_collection_since_ends_what_a_removal_had_left() -> None:
    left = Outlook(product("Distribution"), reclaim=True, gone=0, left=2, window_until=NOW - 1)
    assert promise_undo(plan(), left, NOW).sentence == "no longer held, may be collected"


def test_a_tag_without_a_manifest_is_not_promised() -> None:
    outlook = Outlook(product("Distribution"), backup="/b")
    lost = Step(StepAction.UNTAG, APP, None, (Tag("3"),), "leads to no manifest")
    none = promise_undo(plan(steps=(lost,)), outlook, NOW)
    assert (none.possible, "leads to no manifest" in none.sentence) == (False, True)
    some = promise_undo(plan(steps=(*STEPS, lost)), outlook, NOW)
    assert some.sentence == "from the backup /b, but for 1 tag without a manifest"


def test_schema_1_is_promised_only_on_a_storage() -> None:
    old = tuple(Broken(APP, one, (), obsolete=True) for one in (ONE, TWO))
    outlook = Outlook(product("Distribution"))
    found = promise_undo(replace(made(), missing=old).summary, outlook, NOW)
    assert (found.possible, "schema 1" in found.sentence) == (False, True)
    some = promise_undo(replace(made(), missing=old[:1]).summary, outlook, NOW)
    assert some.sentence.endswith("but for 1 of 2 images, which are of schema 1")
    stored = Outlook(product("Distribution"), stored=True, window_until=NOW + 86400)
    assert promise_undo(replace(made(), missing=old).summary, stored, NOW).possible
