"""The rules of a removal, one by one. Random registries are in tests/property."""

import msgspec
import pytest
from msgspec.structs import replace

from jettison.errors import Refused
from jettison.model.listing_problems import ListingProblem, ProblemCode
from jettison.model.manifest import ManifestKind
from jettison.model.names import Tag
from jettison.model.plan import KeptCode, Step, StepAction, StepCode
from jettison.model.removal import Removal, plan_removal
from jettison.model.snapshot import RepositorySnapshot
from tests.property.registries import image, index, manifest_digest, opaque, repository, weak_tag

APP = "team/app"


WHY = {
    StepCode.NAMED: "named by the request",
    StepCode.LAST_TAG: "its last tag goes",
    StepCode.REFERRER: "refers to ",  # of what is kept it says the same
    StepCode.CHILD: "listed by nothing else",
    StepCode.NO_MANIFEST: "leads to no readable manifest",
    KeptCode.TAGGED: "a tag of its own",
    KeptCode.LISTED: "listed by ",
    KeptCode.PROTECTED: "cannot be read",
}
"""What each code says, in words that its sentence has."""


def story(removal: Removal) -> list[str]:
    """The steps as text: `delete 3 t1,t2: why`."""
    assert all(WHY[step.code] in step.reason for step in removal.steps)
    return [
        f"{step.action} {_number(step)} {','.join(step.tags)}: {step.reason}"
        for step in removal.steps
    ]


def _number(step: Step) -> int | None:
    return None if step.digest is None else int(step.digest.hex, 16) - 0xA000


def stays(removal: Removal) -> list[str]:
    assert all(WHY[kept.code] in kept.reason for kept in removal.kept)
    return [
        f"{int(kept.digest.hex, 16) - 0xA000} {kept.tag or '-'}: {kept.reason}"
        for kept in removal.kept
    ]


def remove(
    here: RepositorySnapshot, *tags: str, digests: tuple[int, ...] = (), force: bool = False
) -> Removal:
    return plan_removal(
        here,
        {Tag(tag) for tag in tags},
        {manifest_digest(number) for number in digests},
        break_indexes=force,
    )


def short(number: int) -> str:
    return manifest_digest(number).short


SIGNATURE_OF_0 = str(weak_tag(0))


def test_the_last_tag_takes_its_manifest_along() -> None:
    removal = remove(repository(APP, [image(0, 0), image(1, 0)], {"a": 0, "b": 1}), "a")
    assert story(removal) == ["delete 0 a: its last tag goes"]
    assert stays(removal) == []
    assert removal.manifests == {manifest_digest(0)}
    assert removal.tags == {"a"}


def test_a_sibling_tag_keeps_it() -> None:
    removal = remove(repository(APP, [image(0, 0)], {"a": 0, "b": 0}), "a")
    assert story(removal) == ["untag 0 a: named by the request"]
    assert stays(removal) == ["0 b: a tag of its own"]
    assert removal.manifests == set()


def test_all_tags_of_a_digest_go_in_one_step() -> None:
    removal = remove(repository(APP, [image(0, 0)], {"b": 0, "a": 0}), "a", "b")
    assert story(removal) == ["delete 0 a,b: its last tag goes"]


def test_a_digest_goes_with_every_tag() -> None:
    removal = remove(repository(APP, [image(0, 0)], {"b": 0, "a": 0}), digests=(0,))
    assert story(removal) == ["delete 0 a,b: named by the request"]


def test_children_that_nothing_else_lists_go_after_their_index() -> None:
    here = repository(APP, [image(0, 0), image(1, 1), index(2, [0, 1])], {"multi": 2})
    assert story(remove(here, "multi")) == [
        "delete 2 multi: its last tag goes",
        f"delete 1 : child of {short(2)}, listed by nothing else",
        f"delete 0 : child of {short(2)}, listed by nothing else",
    ]


def test_a_child_that_another_index_or_tag_holds_stays() -> None:
    content = [image(0, 0), image(1, 1), image(2, 2), index(3, [0, 1, 2]), index(4, [1])]
    removal = remove(repository(APP, content, {"a": 3, "b": 4, "child": 2}), "a")
    assert [line.partition(":")[0] for line in story(removal)] == ["delete 3 a", "delete 0 "]
    assert stays(removal) == ["1 -: listed by team/app:b", "2 child: a tag of its own"]


def test_an_untagged_index_keeps_its_children() -> None:
    here = repository(APP, [image(0, 0), index(1, [0])], {"a": 0})
    removal = remove(here, "a")
    assert story(removal) == ["untag 0 a: named by the request"]
    assert stays(removal) == [f"0 -: listed by team/app@{short(1)}"]


def test_nested_indexes_go_from_the_top() -> None:
    content = [image(0, 0), index(1, [0]), index(2, [1]), index(3, [2])]
    removal = remove(repository(APP, content, {"a": 3}), "a")
    assert [step.digest for step in removal.steps] == [manifest_digest(n) for n in (3, 2, 1, 0)]


def test_what_an_index_lists_and_the_repository_lacks_is_no_step() -> None:
    removal = remove(repository(APP, [index(1, [0])], {"a": 1}), "a")
    assert story(removal) == ["delete 1 a: its last tag goes"]
    assert not removal.warnings


def test_what_is_signed_beyond_a_missing_child_goes_with_the_index() -> None:
    here = repository(APP, [index(1, [0]), image(2, 0)], {"a": 1, SIGNATURE_OF_0: 2})
    assert story(remove(here, "a")) == [
        "delete 1 a: its last tag goes",
        f"delete 2 {SIGNATURE_OF_0}: refers to {short(0)}, which goes",
    ]


@pytest.mark.parametrize(("subject", "tags"), [(0, {}), (None, {SIGNATURE_OF_0: 1})])
def test_referrers_go_after_their_subject(subject: int | None, tags: dict[str, int]) -> None:
    here = repository(APP, [image(0, 0), image(1, 1, subject=subject)], {"a": 0, **tags})
    steps = story(remove(here, "a"))
    assert steps[0] == "delete 0 a: its last tag goes"
    assert steps[1] == f"delete 1 {','.join(tags)}: refers to {short(0)}, which goes"


@pytest.mark.parametrize(("subject", "tags"), [(0, {}), (None, {SIGNATURE_OF_0: 1})])
def test_referrers_stay_while_their_subject_does(subject: int | None, tags: dict[str, int]) -> None:
    content = [image(0, 0), image(1, 1, subject=subject)]
    removal = remove(repository(APP, content, {"a": 0, "b": 0, **tags}), "a")
    assert story(removal) == ["untag 0 a: named by the request"]
    assert len(stays(removal)) == 2


@pytest.mark.parametrize(("subject", "tags"), [(0, {}), (None, {SIGNATURE_OF_0: 1})])
def test_a_referrer_with_a_tag_of_its_own_stays(subject: int | None, tags: dict[str, int]) -> None:
    content = [image(0, 0), image(1, 1, subject=subject)]
    removal = remove(repository(APP, content, {"a": 0, "sbom": 1, **tags}), "a")
    assert story(removal) == ["delete 0 a: its last tag goes"]
    assert "1 sbom: a tag of its own" in stays(removal)


def test_a_referrer_that_loses_its_tag_stays_with_its_subject() -> None:
    here = repository(APP, [image(0, 0), image(1, 1, subject=0)], {"a": 0, "sbom": 1})
    removal = remove(here, "sbom")
    assert story(removal) == ["untag 1 sbom: named by the request"]
    assert stays(removal) == [f"1 -: refers to {short(0)}, which stays"]


def test_a_signature_can_be_removed_alone() -> None:
    here = repository(APP, [image(0, 0), image(1, 1)], {"a": 0, SIGNATURE_OF_0: 1})
    assert story(remove(here, SIGNATURE_OF_0)) == [f"delete 1 {SIGNATURE_OF_0}: its last tag goes"]
    assert story(remove(here, digests=(1,)))[0].startswith("delete 1")


def test_a_referrer_named_by_digest_goes_from_under_its_subject() -> None:
    here = repository(APP, [image(0, 0), image(1, 1, subject=0)], {"a": 0})
    assert story(remove(here, digests=(1,))) == ["delete 1 : named by the request"]


def test_the_referrers_tag_goes_with_what_it_lists() -> None:
    content = [image(0, 0), image(1, 1, subject=0), index(2, [1])]
    tag = str(weak_tag(0, ""))
    removal = remove(repository(APP, content, {"a": 0, tag: 2}), "a")
    assert [step.digest for step in removal.steps] == [manifest_digest(n) for n in (0, 2, 1)]


def test_a_cycle_of_subjects_goes_as_one() -> None:
    here = repository(APP, [image(0, 0, subject=1), image(1, 1, subject=0)], {"a": 0})
    assert remove(here, "a").manifests == {manifest_digest(0), manifest_digest(1)}


def test_an_index_that_lists_its_own_subject_goes_before_it() -> None:
    # Rule 3 contradicts itself here; a signature too few is better than a child too few.
    for tags in ({"a": 0, "b": 1}, {"b": 0, "a": 1}):
        here = repository(APP, [image(0, 0), index(1, [0], subject=0)], tags)
        removal = remove(here, "a", "b")
        assert [step.digest for step in removal.steps] == [manifest_digest(1), manifest_digest(0)]


def test_a_child_of_a_kept_index_is_refused_by_name() -> None:
    here = repository(APP, [image(0, 0), index(1, [0])], {"multi": 1, "arm": 0})
    with pytest.raises(Refused) as refused:
        remove(here, digests=(0,))
    assert refused.value.message == (
        f"team/app@{manifest_digest(0)} is listed by team/app:multi; "
        "deleting it would break that image"
    )
    assert refused.value.hint == "Delete the index instead, or add --break-indexes."
    assert refused.value.exit_code == 4


def test_a_child_goes_together_with_its_index() -> None:
    here = repository(APP, [image(0, 0), index(1, [0])], {"multi": 1, "arm": 0})
    removal = remove(here, "multi", digests=(0,))
    assert removal.manifests == {manifest_digest(0), manifest_digest(1)}


def test_breaking_an_index_takes_what_only_the_child_held() -> None:
    content = [image(0, 0), index(1, [0]), index(2, [1]), image(3, 3, subject=1)]
    removal = remove(repository(APP, content, {"a": 2}), digests=(1,), force=True)
    assert removal.manifests == {manifest_digest(n) for n in (0, 1, 3)}


def test_a_tag_that_cannot_be_resolved_lets_only_tags_go() -> None:
    """It may point to anything, and deleting by digest would take it along unseen."""
    problem = ListingProblem(ProblemCode.FAILING, "2", "the registry answers 500")
    here = replace(repository(APP, [image(0, 0)], {"a": 0}), problems=(problem,))
    removal = remove(here, "a")
    assert story(removal) == ["untag 0 a: named by the request"]
    assert "1 tag could not be read (2: the registry answers 500)" in removal.warnings[0]
    # Who names a digest means it.
    assert story(remove(here, digests=(0,))) == ["delete 0 a: named by the request"]


@pytest.mark.parametrize("unreadable", [True, False])
def test_what_cannot_be_understood_lets_only_tags_go(unreadable: bool) -> None:
    content = [image(0, 0)] if unreadable else [image(0, 0), opaque(1)]
    here = repository(APP, content, {"a": 0, "odd": 1}, [1] if unreadable else [])
    removal = remove(here, "a")
    assert story(removal) == ["untag 0 a: named by the request"]
    assert removal.warnings[0] == (
        f"team/app: {short(1)} cannot be understood and may list any manifest of "
        "the repository, so none is deleted, only tags are removed"
    )
    with pytest.raises(Refused, match="may be listed by team/app:odd"):
        remove(here, digests=(0,))
    assert remove(here, digests=(0,), force=True).manifests == {manifest_digest(0)}


@pytest.mark.parametrize("unreadable", [True, False])
def test_what_cannot_be_understood_can_itself_go(unreadable: bool) -> None:
    content = [image(0, 0)] if unreadable else [image(0, 0), opaque(1)]
    here = repository(APP, content, {"a": 0, "odd": 1}, [1] if unreadable else [])
    assert story(remove(here, "odd")) == ["delete 1 odd: its last tag goes"]
    assert remove(here, "odd", "a").manifests == {manifest_digest(0), manifest_digest(1)}


def test_untags_come_first() -> None:
    here = repository(APP, [image(0, 0), image(1, 1)], {"a": 1, "z": 0, "y": 0})
    assert [step.action for step in remove(here, "a", "z").steps] == [
        StepAction.UNTAG,
        StepAction.DELETE,
    ]


def test_what_cannot_be_put_back_is_told() -> None:
    old = msgspec.structs.replace(image(0, 0), kind=ManifestKind.SCHEMA1)
    here = repository(APP, [old, image(1, 0)], {"old": 0, "new": 1})
    assert any("signatures" in warning for warning in remove(here, "old").warnings)
    assert not remove(here, "new").warnings


def test_steps_are_in_the_same_order_however_manifests_are_listed() -> None:
    manifests = [image(0, 1), *(image(n, 1, subject=0) for n in range(1, 5)), image(5, 1)]
    tags = {"v1": 0, "v2": 5, weak_tag(0): 5, weak_tag(5): 4}
    orders = [manifests, manifests[::-1], manifests[3:] + manifests[:3]]
    found = {
        tuple(story(plan_removal(repository(APP, some, named), {Tag("v1"), Tag("v2")})))
        for some in orders
        for named in (tags, dict(reversed(tags.items())))
    }
    assert len(found) == 1
