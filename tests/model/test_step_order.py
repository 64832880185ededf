"""Which steps wait for which."""

from jettison.demo import images
from jettison.demo.images import Image, Index
from jettison.model.journal import SavedManifest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Step, StepAction
from jettison.model.step_order import Order, children_of

APP = RepoName("app")
ONE, TWO = (images.image([images.layer({"f": bytes([n])})]) for n in (1, 2))
BOTH = images.index([ONE, TWO])
SIGNED = images.referrer(ONE, "application/x", b"{}")


def steps(
    *made: Image | Index, tags: tuple[str, ...] = ()
) -> tuple[list[Step], list[SavedManifest]]:
    named = tuple(map(Tag, tags))
    found = [Step(StepAction.DELETE, APP, one.digest, named, "") for one in made]
    saved = [
        SavedManifest(APP, one.digest, one.manifest.media_type, one.manifest.raw, named)
        for one in made
    ]
    return found, saved


def test_an_index_goes_before_its_children_which_go_together() -> None:
    order = Order(*steps(BOTH, ONE, TWO))
    assert [order.before(number) for number in range(3)] == [set(), {0}, {0}]
    assert [order.needing(number) for number in range(3)] == [set(), {0}, {0}]


def test_a_subject_goes_before_its_referrer_until_that_is_turned() -> None:
    order = Order(*steps(ONE, SIGNED))
    assert order.before(1) == {0}
    assert order.referrers(0) == {1}
    order.turn(0)
    assert order.before(1) == set()
    assert order.before(0) == {1}
    assert order.needing(0) == set()
    assert order.referrers(0) == set()


def test_a_signature_by_its_tag_waits_too() -> None:
    first, saved = steps(ONE)
    second, more = steps(TWO, tags=(images.cosign_tag(ONE.digest),))
    order = Order([*first, *second], [*saved, *more])
    assert order.before(1) == {0}


def test_what_is_not_saved_or_only_untagged_waits_for_nothing() -> None:
    found, _ = steps(BOTH, ONE)
    assert Order(found, []).before(1) == set()
    alone = [Step(StepAction.UNTAG, APP, one.digest, (Tag("1"),), "") for one in (BOTH, ONE)]
    assert Order(alone, steps(BOTH, ONE)[1]).before(1) == set()


def test_children_of_bytes_that_are_no_manifest() -> None:
    [entry] = steps(BOTH)[1]
    assert children_of(entry) == [(APP, ONE.digest), (APP, TWO.digest)]
    assert children_of(SavedManifest(APP, ONE.digest, "", b"?", ())) == []
