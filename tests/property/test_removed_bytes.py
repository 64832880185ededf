"""Bytes counted repository by repository are those counted with the whole registry at hand."""

from collections import Counter

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettison.model.accounting import ByteAccounting
from jettison.model.names import RepoName
from jettison.model.retention.removed_bytes import Holder, RemovalAccounting
from jettison.model.snapshot import Snapshot
from tests.property.registries import NAMES, TRUE_SIZES, Naive, holders, snapshots
from tests.support.examples import examples


@st.composite
def measured(draw: st.DrawFn) -> Snapshot:
    """A registry; of some contents the true size is known, or of all those that are there."""
    snapshot = draw(snapshots())
    some = draw(st.sets(st.sampled_from(sorted(TRUE_SIZES))))
    sizes = {digest: TRUE_SIZES[digest] + draw(st.integers(0, 1)) for digest in sorted(some)}
    return msgspec.structs.replace(snapshot, sizes=snapshot.sizes if not some else sizes)


@settings(examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(measured(), st.data())
def test_bytes_are_those_of_an_estimate_of_the_whole(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    everything = [
        (name, digest)
        for name, here in snapshot.repositories.items()
        for digest in sorted(Naive.of(here).present)
    ]
    removed = data.draw(st.sets(st.sampled_from(everything)))
    whole = ByteAccounting(snapshot)
    estimate = whole.estimate(removed)

    counting = RemovalAccounting()
    for name in data.draw(st.permutations(sorted(snapshot.repositories))):
        going = {digest for repository, digest in removed if repository == name}
        counting.add(snapshot.repositories[name], going)
    sizes = [(digest.binary, size) for digest, size in snapshot.sizes.items()]
    found, freed = counting.counted(sizes, stored=snapshot.stored)

    assert freed == estimate.freed
    assert found.freed == len(freed)
    assert found.freed_bytes == estimate.freed_bytes
    assert found.shared == len(estimate.shared)
    assert found.shared_bytes == estimate.shared_bytes
    assert found.removed_bytes == estimate.freed_bytes + estimate.shared_bytes
    assert found.total_bytes == whole.total()

    needed = holders(snapshot)
    held = Counter[str]()
    for item in estimate.shared:
        for repository in {name for name, _ in needed[item.digest] - removed}:
            held[repository] += item.size
    expected = [Holder(RepoName(name), count) for name, count in sorted(held.items()) if count]
    expected.sort(key=lambda holder: -holder.bytes)
    assert found.holders == tuple(expected)
    assert found.holder_count == len(expected) <= len(NAMES)
