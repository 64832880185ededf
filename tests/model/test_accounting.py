"""What is freed, by example, and that a large registry is counted in linear time."""

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Protocol

import msgspec
import pytest

from jettison.model import accounting as reclaim
from jettison.model.accounting import ByteAccounting, ImageSize
from jettison.model.digest import Digest
from jettison.model.graph import Reached, reach
from jettison.model.manifest import Descriptor, Manifest, ManifestKind
from jettison.model.mediatypes import OCI_INDEX, OCI_MANIFEST
from jettison.model.names import RepoName, Tag
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from tests.property.registries import (
    CONFIG,
    LAYER,
    blob,
    blob_size,
    digest_number,
    image,
    index,
    manifest_digest,
    manifest_size,
    opaque,
    registry,
    repository,
    weak_tag,
)

A, B = RepoName("aaa/app"), RepoName("bbb/app")


def node(number: int, name: RepoName = A) -> tuple[RepoName, Digest]:
    return name, manifest_digest(number)


def sizes(*, manifests: Iterable[int] = (), blobs: Iterable[int] = ()) -> int:
    return sum(map(manifest_size, manifests)) + sum(map(blob_size, blobs))


# Image 0 has the blobs 0 1 2, image 1 has 0 1 3.
TWO = repository(A, [image(0, 0, [1, 2]), image(1, 0, [1, 3])], {"a": 0, "b": 1, "b2": 1})


def test_shared_layers_stay_and_name_who_needs_them() -> None:
    estimate = ByteAccounting(registry(TWO)).estimate({node(0)})
    assert {item.digest for item in estimate.freed} == {manifest_digest(0), blob(2)}
    assert estimate.freed_bytes == sizes(manifests=[0], blobs=[2])
    assert estimate.shared_bytes == sizes(blobs=[0, 1])
    assert {item.holders for item in estimate.shared} == {("aaa/app:b",)}
    assert estimate.exact


def test_what_two_deletions_only_free_together() -> None:
    estimate = ByteAccounting(registry(TWO)).estimate({node(0), node(1)})
    assert estimate.freed_bytes == sizes(manifests=[0, 1], blobs=[0, 1, 2, 3])
    assert estimate.together_bytes == sizes(blobs=[0, 1])
    assert not estimate.shared


def test_another_repository_is_a_holder_too() -> None:
    other = repository(B, [image(0, 0, [1, 2])], {"a": 0})
    ledger = ByteAccounting(registry(TWO, other))
    assert ledger.estimate({node(0)}).freed == ()
    holders = {item.digest: item.holders for item in ledger.estimate({node(0)}).shared}
    assert holders[manifest_digest(0)] == ("bbb/app:a",)
    assert holders[blob(1)] == ("aaa/app:b", "bbb/app:a")
    both = ledger.estimate({node(0), node(0, B)})
    assert both.freed_bytes == both.together_bytes == sizes(manifests=[0], blobs=[2])


def test_at_most_five_holders_are_named() -> None:
    others = [repository(f"r{n}", [image(0, 0)], {"t": 0}) for n in range(7)]
    estimate = ByteAccounting(registry(TWO, *others)).estimate({node(0)})
    (config,) = [item for item in estimate.shared if item.digest == blob(0)]
    assert config.holder_count == 8
    assert config.holders == ("aaa/app:b", "r0:t", "r1:t", "r2:t", "r3:t")


def test_one_image_alone_frees_nothing_together() -> None:
    # Under two indexes, under an index and a tag, or signed and tagged: it is still one removal.
    content = [image(0, 0), index(1, [0]), index(2, [0]), image(3, 3, subject=1)]
    ledger = ByteAccounting(registry(repository(A, content, {"x": 1, "y": 2, "c": 0, "s": 3})))
    for number in (0, 3):
        assert ledger.estimate({node(number)}).freed_bytes > 0
        assert ledger.estimate({node(number)}).together_bytes == 0


def test_a_tagged_child_and_its_index_free_it_together() -> None:
    here = repository(A, [image(0, 0), index(1, [0])], {"multi": 1, "arm": 0})
    estimate = ByteAccounting(registry(here)).estimate({node(0), node(1)})
    assert estimate.freed_bytes == sizes(manifests=[0, 1], blobs=[0])
    assert estimate.together_bytes == sizes(manifests=[0], blobs=[0])


def test_weights() -> None:
    assert ByteAccounting(registry(TWO)).weights(A) == {
        manifest_digest(0): ImageSize(
            sizes(manifests=[0], blobs=[0, 1, 2]), sizes(manifests=[0], blobs=[2])
        ),
        manifest_digest(1): ImageSize(
            sizes(manifests=[1], blobs=[0, 1, 3]), sizes(manifests=[1], blobs=[3])
        ),
    }


def test_an_index_weighs_with_its_children_and_signatures() -> None:
    content = [image(0, 0), image(1, 1), index(2, [0, 1]), image(3, 3)]
    here = repository(A, content, {"multi": 2, "arm": 1, str(weak_tag(2)): 3})
    weights = ByteAccounting(registry(here)).weights(A)
    everything = sizes(manifests=[0, 1, 2], blobs=[0, 1])
    multi = sizes(manifests=[0, 2, 3], blobs=[0, 3])
    assert weights[manifest_digest(2)] == ImageSize(everything, multi)
    assert weights[manifest_digest(1)] == ImageSize(sizes(manifests=[1], blobs=[1]), 0)
    signature = sizes(manifests=[3], blobs=[3])
    assert weights[manifest_digest(3)] == ImageSize(signature, signature)


def test_a_signature_of_a_missing_child_hangs_on_the_index() -> None:
    here = repository(A, [index(1, [0]), image(2, 2)], {"multi": 1, str(weak_tag(0)): 2})
    weights = ByteAccounting(registry(here)).weights(A)
    assert weights[manifest_digest(1)].exclusive == sizes(manifests=[1, 2], blobs=[2])


@pytest.mark.parametrize("unreadable", [True, False])
def test_what_cannot_be_understood_holds_its_repository_and_no_other(unreadable: bool) -> None:
    content = [image(0, 0)] if unreadable else [image(0, 0), opaque(5)]
    here = repository(A, content, {"a": 0, "odd": 5}, [5] if unreadable else [])
    there = repository(B, [image(1, 1)], {"b": 1})
    ledger = ByteAccounting(registry(here, there, stored=True))
    kept = ledger.estimate({node(0), node(1, B)})
    assert {item.digest for item in kept.freed} == {manifest_digest(1), blob(1)}
    assert {item.holders for item in kept.shared} == {("aaa/app:odd",)}
    assert ledger.weights(A)[manifest_digest(0)].exclusive == 0
    assert ledger.weights(A)[manifest_digest(5)].exclusive == manifest_size(5)
    both = ledger.estimate({node(0), node(5)})
    assert both.freed_bytes == sizes(manifests=[0, 5], blobs=[0])
    assert both.together_bytes == sizes(manifests=[0], blobs=[0])


def test_the_unreadable_hold_one_another() -> None:
    here = repository(A, [], {"a": 1, "b": 2}, [1, 2])
    ledger = ByteAccounting(registry(here, stored=True))
    assert ledger.estimate({node(1)}).freed == ()
    assert ledger.weights(A)[manifest_digest(1)].exclusive == 0
    assert ledger.estimate({node(1), node(2)}).freed_bytes == sizes(manifests=[1, 2])


def test_a_storage_tells_the_true_sizes_and_what_is_not_there() -> None:
    snapshot = msgspec.structs.replace(registry(TWO), sizes={blob(2): 1000}, stored=True)
    estimate = ByteAccounting(snapshot).estimate({node(0)})
    assert [(item.digest, item.size) for item in estimate.freed] == [(blob(2), 1000)]
    # Over the API, what was asked wins over what descriptors claim.
    snapshot = msgspec.structs.replace(snapshot, stored=False)
    assert ByteAccounting(snapshot).estimate({node(0)}).freed_bytes == 1000 + manifest_size(0)


@pytest.mark.parametrize("told", [(3, 9), (9, 3)])
def test_of_two_claims_the_larger_counts(told: tuple[int, int]) -> None:
    layers = tuple(Descriptor(blob(0), LAYER, size) for size in told)
    one = Manifest(manifest_digest(0), OCI_MANIFEST, 1, ManifestKind.IMAGE, layers=layers)
    assert ByteAccounting(registry(repository(A, [one], {"a": 0}))).size_of(blob(0)) == 9


def test_what_could_not_be_seen_makes_it_an_upper_bound() -> None:
    snapshot = msgspec.structs.replace(registry(TWO), unknown=("there is more",))
    estimate = ByteAccounting(snapshot).estimate({node(0)})
    assert estimate.unknown == ("there is more",)
    assert not estimate.exact


def test_the_total_counts_each_blob_once() -> None:
    other = repository(B, [image(0, 0, [1, 2])], {"a": 0})
    ledger = ByteAccounting(registry(TWO, other))
    assert ledger.total() == sizes(manifests=[0, 1], blobs=[0, 1, 2, 3])
    assert ledger.total(lambda name: name == B) == sizes(manifests=[0], blobs=[0, 1, 2])


def test_names_for_people() -> None:
    content = [image(0, 0), index(1, [0]), image(2, 2)]
    ledger = ByteAccounting(registry(repository(A, content, {"longer": 1, "v1": 1})))
    assert ledger.name(node(1)) == "aaa/app:v1"
    assert ledger.name(node(0)) == "aaa/app:v1"
    assert ledger.name(node(2)) == f"aaa/app@{manifest_digest(2).short} (untagged)"


class TraceFunction(Protocol):
    def __call__(self, _frame: FrameType, event: str, _argument: object) -> "TraceFunction": ...


# Scale. Work is counted, not timed: every manifest entered by `reach` is one unit.

MANY = 20_000


def large(
    manifests: Iterable[Manifest], tags: dict[str, Digest], unreadable: Iterable[Digest] = ()
) -> Snapshot:
    here = RepositorySnapshot(
        A,
        {Tag(tag): digest for tag, digest in tags.items()},
        {manifest.digest: manifest for manifest in manifests},
        frozenset(unreadable),
        complete=True,
    )
    return Snapshot("test", {A: here}, {})


def number_of(number: int) -> Digest:
    return digest_number(number + 1)


def large_image(number: int, subject: Digest | None = None) -> Manifest:
    """One layer that all have, one that every tenth has, one of its own."""
    own, tenth, base = 10**6 + number, 2 * 10**6 + number % 10, 3 * 10**6
    return Manifest(
        number_of(number),
        OCI_MANIFEST,
        1,
        ManifestKind.IMAGE,
        config=Descriptor(digest_number(own), CONFIG, 10),
        layers=tuple(Descriptor(digest_number(n), LAYER, 100) for n in (base, tenth)),
        subject=subject,
    )


def large_index(number: int, children: Iterable[int]) -> Manifest:
    members = tuple(Descriptor(number_of(n), OCI_MANIFEST, 1) for n in children)
    return Manifest(number_of(number), OCI_INDEX, 1, ManifestKind.INDEX, children=members)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many manifests each call of `reach` entered."""
    counts: list[int] = []

    def counting(*arguments: Any) -> Reached[Digest]:
        reached = reach(*arguments)
        counts.append(len(reached.manifests))
        return reached

    monkeypatch.setattr(reclaim, "reach", counting)
    return counts


def tagged_images() -> Snapshot:
    images = [large_image(n) for n in range(MANY)]
    return large(images, {f"t{n}": number_of(n) for n in range(MANY)})


def untagged_images() -> Snapshot:
    return large([large_image(n) for n in range(MANY)], {"t": number_of(0)})


def one_index_over_all() -> Snapshot:
    children = range(MANY - 1)
    images = [large_image(n) for n in children]
    return large([*images, large_index(MANY, children)], {"all": number_of(MANY)})


def signed_images() -> Snapshot:
    half = MANY // 2
    images = [large_image(n) for n in range(half)]
    images += [large_image(half + n) for n in range(half)]
    tags = {f"t{n}": number_of(n) for n in range(half)}
    tags |= {f"sha256-{number_of(n).hex}.sig": number_of(half + n) for n in range(half)}
    return large(images, tags)


def one_index_below_many() -> Snapshot:
    half = MANY // 2
    images = [large_image(n) for n in range(half)]
    shared = large_index(half, range(half))
    tops = [large_index(n, [half]) for n in range(half + 1, MANY)]
    return large([*images, shared, *tops], {f"t{top.digest.hex}": top.digest for top in tops[:50]})


def a_chain_of_tagged_referrers() -> Snapshot:
    images = [large_image(n, number_of(n - 1) if n else None) for n in range(MANY)]
    return large(images, {f"t{n}": number_of(n) for n in range(MANY)})


def many_opaque() -> Snapshot:
    odd = [
        Manifest(number_of(n), "application/x.odd", 1, ManifestKind.OPAQUE)
        for n in range(MANY // 2, MANY)
    ]
    images = [large_image(n) for n in range(MANY // 2)]
    return large([*images, *odd], {f"t{n}": number_of(n) for n in range(MANY)})


SHAPES: list[Callable[[], Snapshot]] = [
    tagged_images,
    untagged_images,
    one_index_over_all,
    signed_images,
    one_index_below_many,
    a_chain_of_tagged_referrers,
    many_opaque,
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_owners_of_many_are_found_in_linear_work(
    shape: Callable[[], Snapshot], entered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "MANY", 2000)
    owners = ByteAccounting(shape()).owners(A)
    assert len(owners) == 2000
    assert sum(entered) <= 3 * 2000


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_weights_of_many_add_up(shape: Callable[[], Snapshot]) -> None:
    snapshot = shape()
    ledger = ByteAccounting(snapshot)
    weights = ledger.weights(A)
    here = snapshot.repositories[A]
    assert weights.keys() == set(here.tags.values())
    total = ledger.total()
    assert all(0 <= weight.exclusive <= total for weight in weights.values())
    everything = ledger.estimate({(A, digest) for digest in here.manifests})
    assert everything.freed_bytes == total


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python `work` runs, each turn of a loop counted."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_four_times_as_many_are_four_times_the_work(
    shape: Callable[[], Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = []
    for many in (200, 800):
        monkeypatch.setattr(sys.modules[__name__], "MANY", many)
        snapshot = shape()
        removed = {(A, digest) for digest in snapshot.repositories[A].manifests}
        ledger = ByteAccounting(snapshot)
        weighing = lines_run(lambda ledger=ledger: ledger.weights(A))  # type: ignore[misc]
        estimating = lines_run(
            lambda ledger=ledger, removed=removed: ledger.estimate(removed)  # type: ignore[misc]
        )
        work.append((weighing, estimating))
    small, large_ = work
    assert large_[0] < 6 * small[0]
    assert large_[1] < 6 * small[1]


def test_a_tenth_layer_goes_when_all_its_tenth_do() -> None:
    ledger = ByteAccounting(tagged_images())
    estimate = ledger.estimate({(A, number_of(n)) for n in range(0, MANY, 10)})
    assert estimate.freed_bytes == (MANY // 10) * 11 + 100
    assert estimate.together_bytes == 100
    assert estimate.shared_bytes == 100
