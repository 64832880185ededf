"""A tag told in little room is the tag that was put there."""

from hypothesis import given
from hypothesis import strategies as st

from jettison.model.digest import BinaryDigest
from jettison.storage.objects.tags import TagListing, TagTable
from jettison.storage.protocol import Stamp

DIGESTS = st.sampled_from([bytes([byte]) * size for byte in (0, 7) for size in (32, 64)])
TIMES = st.integers(-(2**63), 2**63 - 1).map(Stamp)
FIELDS = ("stamp", "target", "history", "unread", "strange")


@st.composite
def tags(draw: st.DrawFn) -> TagListing:
    found = TagListing()
    found.stamp = draw(st.none() | TIMES)
    found.target = draw(st.none() | DIGESTS.map(BinaryDigest))
    found.history = draw(st.lists(st.tuples(DIGESTS.map(BinaryDigest), TIMES), max_size=2))
    found.unread = tuple(draw(st.lists(DIGESTS.map(BinaryDigest), max_size=1)))
    found.strange = tuple(draw(st.lists(st.just("key"), max_size=1)))
    return found


def told(tag: TagListing) -> list[object]:
    return [getattr(tag, field) for field in FIELDS]


@given(st.dictionaries(st.sampled_from("abc"), st.lists(tags(), min_size=1, max_size=3)))
def test_what_is_put_is_got(put: dict[str, list[TagListing]]) -> None:
    table = TagTable()
    for name, each in put.items():
        for tag in each:
            table.put(name, tag)
    assert [*table] == [*put]
    assert {name: told(tag) for name, tag in table.items()} == {
        name: told(each[-1]) for name, each in put.items()
    }


def test_a_tag_that_never_moved_takes_little_room() -> None:
    tag = TagListing()
    digest = BinaryDigest(bytes(32))
    tag.stamp, tag.target, tag.history = Stamp(7), digest, [(digest, Stamp(8))]
    packed = tag.pack()
    assert packed is not None
    assert len(packed) == 48
    tag.history.append((BinaryDigest(b"7" * 32), Stamp(9)))
    assert tag.pack() is None
