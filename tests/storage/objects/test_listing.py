"""What keys, ETags and sizes tell, in whatever order they come."""

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


DIGESTS = [*map(Digest.of, (b"old", b"new", b"third")), Digest.of(b"long", "sha512")]
NAMES = ["app", "app/_layers", "team/app", "_layers", "Bad", "_manifests/_layers"]
LINKED = [layout.layer_link, layout.revision_link]
DAMAGED: list[Callable[[str], str]] = [
    str,
    str.upper,
    lambda key: key[:-1],
    lambda key: f"{key}/link",
    lambda key: key.replace("/link", "/data"),
    lambda key: key.replace("/data", "/link"),
    lambda key: f"{key[:-7]}  {key[-5:]}",
    lambda key: f"{key[:-6]}g{key[-5:]}",
    lambda key: f"{key[:-70]}0/{key[-69:]}",
    lambda key: f"{key[:-70]}{key[-69:]}",
    lambda key: key.replace("/sha256/", "/md5/"),
    lambda key: key.replace("/_layers/", "/"),
]


@st.composite
def keys_with_digests(draw: st.DrawFn) -> tuple[str, Digest]:
    digest = draw(st.sampled_from(DIGESTS))
    name = draw(st.sampled_from(NAMES))
    keys = [
        f"{layout.BLOBS}/{layout.blob_file(digest.binary)}",
        layout.current_link(name, "1"),
        layout.history_link(name, "1", digest),
        *(linked(name, digest) for linked in LINKED),
    ]
    return draw(st.sampled_from(keys)), digest


@st.composite
def objects(draw: st.DrawFn) -> Entry:
    key, digest = draw(keys_with_digests())
    key = draw(st.sampled_from(DAMAGED))(key) if draw(st.integers(0, 3)) == 0 else key
    size = draw(st.sampled_from([len(digest), len(digest), 0, 70]))
    e_tag = draw(st.sampled_from([link_tag(digest.binary), "", link_tag(OLD.binary)]))
    return Entry(key, size, Stamp(draw(st.integers(1, 3))), e_tag)


def told(listing: Listing) -> object:
    listing.settle(Stamp(0))
    return (
        [*listing.blobs.items()],
        (listing.drafts, listing.names, listing.strays, listing.made),
        {
            name: (
                {kind: [*table.items()] for kind, table in found.links.items()},
                {
                    name: (tag.target, tag.stamp, tag.history, tag.unread, tag.strange)
                    for name, tag in found.tags.items()
                },
                (found.emptied, found.misnamed, found.uploads, found.strays),
                (found.parts, found.newest),
            )
            for name, found in listing.repositories.items()
        },
    )


class OneByOne(Listing):
    """A listing that looks at each key by itself."""

    def _add_row(self, folder: str, entries: Sequence[Entry]) -> bool:  # noqa: ARG002
        return False


@given(st.lists(objects()), st.booleans(), st.data())
def test_links_and_blobs_in_a_row_are_those_that_come_one_by_one(
    entries: list[Entry], in_order: bool, data: st.DataObject
) -> None:
    entries = sorted(entries) if in_order else entries
    some = st.lists(st.sampled_from(entries)) if entries else st.just([])
    hidden = data.draw(some)
    taken = {entry.key: entry.stamp for entry in hidden}
    quick, slow = Listing(), OneByOne()
    quick.add(entries, taken)
    for entry in entries:
        slow.add([entry], taken)
    assert told(quick) == told(slow)
