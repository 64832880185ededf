"""Reachability, removal and byte counts agree with a naive model on random registries."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jettison.errors import Refused
from jettison.model.accounting import ByteAccounting
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.names import Tag
from jettison.model.plan import StepAction
from jettison.model.removal import Removal, plan_removal
from jettison.model.snapshot import Node, RepositorySnapshot, Snapshot
from tests.property.registries import (
    Naive,
    freed,
    grow,
    holders,
    size,
    snapshots,
    subject_of_tag,
    tags_to_remove,
)
from tests.support.examples import examples

EXAMPLES = settings(examples(70), suppress_health_check=[HealthCheck.too_slow])


def first(snapshot: Snapshot) -> RepositorySnapshot:
    return next(iter(snapshot.repositories.values()))


def nodes(here: RepositorySnapshot, removal: Removal) -> set[Node]:
    return {(here.name, digest) for digest in removal.manifests}


def tags_of(here: RepositorySnapshot, digest: Digest) -> set[Tag]:
    return {tag for tag, pointed in here.tags.items() if pointed == digest}


@EXAMPLES
@given(snapshots(), st.data())
def test_reach_is_the_naive_fixpoint(snapshot: Snapshot, data: st.DataObject) -> None:
    here = first(snapshot)
    naive = Naive.of(here)
    roots = data.draw(st.sets(st.sampled_from(sorted(naive.present))))
    reached = reach(roots, here.edges, here.referrers())
    assert reached.manifests == naive.with_referrers(roots)
    assert reached.blobs == set().union(*map(naive.blobs, reached.manifests))
    assert reached.lost == {digest for digest in reached.manifests if naive.is_blind(digest)}


@EXAMPLES
@given(snapshots(), st.data())
def test_what_is_skipped_cuts_the_graph(snapshot: Snapshot, data: st.DataObject) -> None:
    here = first(snapshot)
    naive = Naive.of(here)
    present = st.sampled_from(sorted(naive.present))
    roots, skip = data.draw(st.sets(present)), data.draw(st.sets(present))
    reached = reach(roots, here.edges, here.referrers(), skip)
    below = grow(roots - skip, lambda d: (naive.children(d) | naive.referrers(d)) - skip)
    assert reached.manifests == below


def check_replay(here: RepositorySnapshot, removal: Removal, named: set[Digest]) -> Naive:
    """Run the steps one by one; whatever is still tagged or kept is whole after each."""
    before, now = Naive.of(here), Naive.of(here)
    kept = before.present - removal.manifests
    cyclic = any(
        digest in before.with_referrers(before.children(digest) | before.referrers(digest))
        for digest in removal.manifests
    )
    for step in removal.steps:
        now.run(step)
        for digest in now.tags.values():
            # Also an image that is about to go is never left half-way without its tag gone first.
            assert before.pulled(digest) <= now.present
        for digest in now.present if not cyclic else kept:
            signed = {d for d in before.referrers(digest) if d in before.present}
            untagged = set(before.tags) - set(now.tags)
            lost = signed - now.present
            # Only what was itself named may leave its subject.
            requested = {before.tags[tag] for tag in untagged} | named
            assert lost <= requested
    return now


@EXAMPLES
@given(snapshots(), st.data())
def test_a_removal_of_tags(snapshot: Snapshot, data: st.DataObject) -> None:
    here = first(snapshot)
    tags = set(data.draw(tags_to_remove(here)))
    removal = plan_removal(here, tags)
    before = Naive.of(here)
    after = check_replay(here, removal, set())
    # Safety, told as outcomes.
    assert not tags & set(after.tags)
    for tag, digest in here.tags.items():
        if tag in after.tags:
            assert before.pulled(digest) <= after.present
        elif tag not in tags:
            subject = subject_of_tag(tag)
            assert subject is not None
            assert subject not in after.present
    touched = before.with_referrers({here.tags[tag] for tag in tags})
    for digest in before.present - touched:
        assert before.pulled(digest) <= after.present
    # Completeness, unless something cannot be understood.
    alive = before.surviving(tags, set())
    if any(before.is_blind(digest) for digest in alive & before.present):
        assert removal.manifests == set()
        assert removal.tags == tags
        assert removal.warnings or not tags
    else:
        assert removal.manifests == touched & before.present - alive
        assert not removal.warnings
    assert {kept.digest for kept in removal.kept} == touched & after.present & alive
    # Sentences.
    assert all(step.reason for step in removal.steps)
    assert all(kept.reason for kept in removal.kept)


@EXAMPLES
@given(snapshots(), st.data(), st.booleans())
def test_a_removal_of_digests(snapshot: Snapshot, data: st.DataObject, force: bool) -> None:
    here = first(snapshot)
    before = Naive.of(here)
    named = data.draw(st.sets(st.sampled_from(sorted(before.present)), min_size=1, max_size=2))
    tags = set(data.draw(tags_to_remove(here)))
    alive = before.surviving(tags, named)
    blind = any(before.is_blind(digest) for digest in alive & before.present - named)
    if not force and (blind or named & alive):
        with pytest.raises(Refused) as refused:
            plan_removal(here, tags, named)
        assert "--break-indexes" in (refused.value.hint or "")
        return
    removal = plan_removal(here, tags, named, break_indexes=force)
    assert named <= removal.manifests
    if force:
        after = Naive.of(here)
        for step in removal.steps:
            after.run(step)
    else:
        after = check_replay(here, removal, named)
        assert removal.manifests == (before.present - alive)
    assert not tags & set(after.tags)
    for digest in after.tags.values():
        assert before.pulled(digest) - removal.manifests <= after.present
        assert digest in after.present
        if not force:
            assert before.pulled(digest) <= after.present


@EXAMPLES
@given(snapshots(blind=True), st.data())
def test_what_cannot_be_read_protects_its_repository(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    here = first(snapshot)
    naive = Naive.of(here)
    blind = {digest for digest in naive.present if naive.is_blind(digest)}
    assume(blind)
    removed = {(here.name, d) for d in data.draw(st.sets(st.sampled_from(sorted(naive.present))))}
    assume(not {(here.name, digest) for digest in blind} <= removed)
    estimate = ByteAccounting(snapshot).estimate(removed)
    assert not estimate.freed
    assert {item.digest for item in estimate.shared} >= {digest for _, digest in removed}


@EXAMPLES
@given(snapshots(), st.data())
def test_estimates_of_anything(snapshot: Snapshot, data: st.DataObject) -> None:
    ledger = ByteAccounting(snapshot)
    everything = [
        (name, digest)
        for name, here in snapshot.repositories.items()
        for digest in sorted(Naive.of(here).present)
    ]
    removed = data.draw(st.sets(st.sampled_from(everything)))
    estimate = ledger.estimate(removed)
    free = freed(snapshot, removed)
    if snapshot.stored:
        free &= snapshot.sizes.keys()
    assert {item.digest for item in estimate.freed} == free
    assert all(item.size == size(snapshot, item.digest) for item in estimate.freed)
    assert estimate.freed_bytes == sum(size(snapshot, content) for content in free)
    assert 0 <= estimate.together_bytes <= estimate.freed_bytes
    needed = holders(snapshot)
    content = {digest for _, digest in removed}.union(
        *(Naive.of(snapshot.repositories[name]).blobs(digest) for name, digest in removed)
    )
    assert {item.digest for item in estimate.shared} == content - freed(snapshot, removed)
    for item in estimate.shared:
        names = {ledger.name(node) for node in needed[item.digest] - removed}
        assert item.holder_count == len(names)
        assert set(item.holders) <= names
        assert len(item.holders) == min(5, len(names))
        assert item.size == size(snapshot, item.digest)
    for digest, nodes_ in needed.items():
        assert set(ledger.holders_of(digest)) == nodes_
        assert len(ledger.holders_of(digest)) == len(nodes_)


def alone(snapshot: Snapshot, here: RepositorySnapshot, digest: Digest) -> set[Digest]:
    """What is freed when one image, with all of its tags, is removed and nothing else."""
    return freed(snapshot, nodes(here, plan_removal(here, tags_of(here, digest))))


@EXAMPLES
@given(snapshots())
def test_exclusive_is_what_removing_it_alone_frees(snapshot: Snapshot) -> None:
    ledger = ByteAccounting(snapshot)
    for here in snapshot.repositories.values():
        weights = ledger.weights(here.name)
        assert weights.keys() == set(here.tags.values())
        listed = set().union(*map(Naive.of(here).children, here.manifests))
        there = Naive.of(here).present | listed
        for tag, digest in here.tags.items():
            if subject_of_tag(tag) in there:
                continue
            expected = sum(size(snapshot, content) for content in alone(snapshot, here, digest))
            if any(subject_of_tag(other) in there for other in tags_of(here, digest)):
                # A signature with a second, ordinary tag: what it signs counts as its keeper.
                assert weights[digest].exclusive <= expected
            else:
                assert weights[digest].exclusive == expected
            content = Naive.of(here).pulled(digest)
            content |= set().union(*map(Naive.of(here).blobs, content))
            if not snapshot.stored:
                content |= grow({digest}, Naive.of(here).children)
            assert weights[digest].size >= sum(size(snapshot, c) for c in content)


@EXAMPLES
@given(snapshots(), st.data())
def test_together_is_what_no_removed_image_frees_alone(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    removed: set[Node] = set()
    apart: set[Digest] = set()
    signed = False
    for here in snapshot.repositories.values():
        tags = set(data.draw(tags_to_remove(here)))
        signed |= any(subject_of_tag(tag) is not None for tag in tags)
        removed |= nodes(here, plan_removal(here, tags))
        for digest in {here.tags[tag] for tag in tags}:
            apart |= alone(snapshot, here, digest)
    estimate = ByteAccounting(snapshot).estimate(removed)
    together = freed(snapshot, removed) - apart
    expected = sum(size(snapshot, content) for content in together)
    if signed:
        # What a signature signs counts as its keeper, also where its own tag was named.
        assert estimate.together_bytes >= expected
    else:
        assert estimate.together_bytes == expected


@EXAMPLES
@given(snapshots(), st.data())
def test_one_removal_has_nothing_together(snapshot: Snapshot, data: st.DataObject) -> None:
    here = first(snapshot)
    digest = data.draw(st.sampled_from(sorted(Naive.of(here).present)))
    removal = plan_removal(here, set(), {digest}, break_indexes=True)
    assert all(step.action is StepAction.DELETE for step in removal.steps)
    estimate = ByteAccounting(snapshot).estimate(nodes(here, removal))
    assert estimate.together_bytes == 0
