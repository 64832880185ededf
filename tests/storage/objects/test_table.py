"""A table of digests finds what a dict would."""

import hashlib
from random import Random

from jettison.model.digest import BinaryDigest
from jettison.storage.objects.table import DigestTable, Row
from jettison.storage.protocol import Stamp


def digest(number: int) -> BinaryDigest:
    return BinaryDigest(hashlib.sha256(b"%d" % number).digest())


def test_it_finds_what_was_added_in_whatever_order() -> None:
    chance = Random(7)
    expected: dict[BinaryDigest, Row] = {}
    table = DigestTable()
    for _ in range(3000):
        one, stamp = digest(chance.randrange(2000)), Stamp(chance.randrange(100))
        before = expected.get(one)
        if before is None or before.stamp <= stamp:
            expected[one] = Row(stamp, stamp % 7)
        table.add(one, stamp, stamp % 7)
    long = BinaryDigest(hashlib.sha512(b"long").digest())
    for number in (5, 9, 3):
        table.add(long, Stamp(number), number)
    expected[long] = Row(Stamp(9), 9)
    table.settle()
    assert dict(table.items()) == expected
    assert [*table] == [*sorted(expected.keys() - {long}), long]
    assert len(table) == len(expected)
    assert {one: table.get(one) for one in expected} == expected
    assert table.get(digest(5000)) is None
    assert digest(5000) not in table
    assert table.long == [long]
    for first in (0, 1, 127, 255):
        short = sorted(one for one in expected if one[0] == first and one != long)
        assert table.beginning_with(first) == short


def test_an_empty_table() -> None:
    table = DigestTable()
    table.settle()
    assert [*table] == []
    assert table.get(digest(1)) is None
    assert table.beginning_with(255) == []
