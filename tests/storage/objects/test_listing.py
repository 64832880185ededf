"""What keys, ETags and sizes tell of a tag, in whatever order they come."""

from itertools import permutations

import pytest

from jettison.model.digest import Digest
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.listing import Listing, link_tag
from jettison.storage.objects.tags import TagListing
from jettison.storage.protocol import LinkKind, Stamp

OLD, NEW = Digest.of(b"old"), Digest.of(b"new")


def link(key: str, digest: Digest, *, e_tag: str | None = None, size: int | None = None) -> Entry:
    told = link_tag(digest.binary) if e_tag is None else e_tag
    return Entry(key, len(digest) if size is None else size, Stamp(7), told)


def tag_of(*entries: Entry) -> TagListing:
    listing = Listing()
    listing.add(entries)
    listing.settle(Stamp(9))
    return listing.repositories["app"].tags["1"]


CURRENT = layout.current_link("app", "1")
HISTORY = [link(layout.history_link("app", "1", one), one) for one in (OLD, NEW)]
REVISION = link(layout.revision_link("app", NEW), NEW)


@pytest.mark.parametrize("order", [*permutations(range(4))])
def test_a_tag_is_known_by_its_history_or_its_manifest(order: tuple[int, ...]) -> None:
    entries = [link(CURRENT, NEW), *HISTORY, REVISION]
    found = tag_of(*(entries[place] for place in order))
    assert (found.target, found.stamp, found.unread) == (NEW.binary, Stamp(7), ())
    assert sorted(found.history) == sorted([(OLD.binary, Stamp(7)), (NEW.binary, Stamp(7))])


def test_either_of_both_is_enough() -> None:
    assert tag_of(link(CURRENT, NEW), REVISION).target == NEW.binary
    assert tag_of(link(CURRENT, NEW), *HISTORY).target == NEW.binary
    assert tag_of(link(CURRENT, NEW)).target is None


@pytest.mark.parametrize(
    "current",
    [
        link(CURRENT, NEW, e_tag=""),
        link(CURRENT, NEW, e_tag="d41d8cd98f00b204e9800998ecf8427e"),
        link(CURRENT, NEW, e_tag=f"{link_tag(NEW.binary)}-1"),
        link(CURRENT, NEW, size=0),
        link(CURRENT, NEW, size=72),
    ],
)
def test_what_does_not_fit_is_read(current: Entry) -> None:
    found = tag_of(current, *HISTORY, REVISION)
    assert (found.target, found.stamp) == (None, Stamp(7))


def test_a_store_that_gives_every_object_the_same_e_tag_is_not_believed() -> None:
    same = [
        link(CURRENT, NEW, e_tag="same"),
        link(layout.revision_link("app", OLD), OLD, e_tag="same"),
        link(layout.history_link("app", "1", OLD), OLD, e_tag="same"),
    ]
    found = tag_of(*same)
    assert (found.target, found.unread) == (None, (OLD.binary,))
    listing = Listing()
    listing.add(same)
    listing.settle(Stamp(9))
    [row] = [row for _, row in listing.repositories["app"].links[LinkKind.REVISION].items()]
    assert row.number == 0


def test_what_looks_like_a_folder_says_nothing() -> None:
    blob = Digest.of(b"blob")
    folder = layout.revision_link("app", NEW).removesuffix("/link")
    names = (
        layout.BLOBS,
        layout.REPOSITORIES,
        f"{layout.BLOBS}/sha256",
        f"{layout.BLOBS}/sha256/{blob.hex[:2]}",
        f"{layout.BLOBS}/sha256/{blob.hex[:2]}/{blob.hex}",
        f"{layout.REPOSITORIES}/app/_layers/sha256",
        f"{layout.REPOSITORIES}/app/_uploads",
        f"{layout.REPOSITORIES}/app/_uploads/7",
        folder,
    )
    listing = Listing()
    listing.add([link(CURRENT, NEW), *HISTORY])
    listing.add([Entry(name, 0, Stamp(7), "") for name in names])
    listing.settle(Stamp(9))
    found = listing.repositories["app"]
    assert (listing.strays, listing.drafts, found.strays, found.uploads) == ([], {}, [], {})
    assert not any(found.emptied.values())
    assert found.tags.keys() == {"1"}


def test_what_is_empty_and_no_folder_is_still_seen() -> None:
    base = f"{layout.REPOSITORIES}/app"
    listing = Listing()
    listing.add([Entry(f"{base}/_manifests/tags/2", 0, Stamp(7), "")])
    listing.add([Entry(f"{base}/_uploads/7/data", 0, Stamp(7), "")])
    listing.add([Entry(f"{base}/_layers/x.tmp", 0, Stamp(7), "")])
    listing.add([Entry(f"{layout.BLOBS}/sha256/note", 1, Stamp(7), "")])
    listing.settle(Stamp(9))
    found = listing.repositories["app"]
    assert found.tags["2"].stamp is None
    assert found.uploads.keys() == {"7"}
    assert (len(found.strays), len(listing.strays)) == (2, 1)
