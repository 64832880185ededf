"""A table of digests finds what a dict would."""

import hashlib
from collections.abc import Callable
from random import Random

import pytest

from jettison.model.digest import BinaryDigest
from jettison.storage.objects.table import BlobTable, DigestTable, Row
from jettison.storage.protocol import Stamp


def digest(number: int) -> BinaryDigest:
    return BinaryDigest(hashlib.sha256(b"%d" % number).digest())


@pytest.mark.parametrize("make", [DigestTable, lambda: DigestTable("b"), BlobTable])
def test_it_finds_what_was_added_in_whatever_order(
    make: Callable[[], DigestTable | BlobTable],
) -> None:
    chance = Random(7)
    expected: dict[BinaryDigest, Row] = {}
    table = make()
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
    if isinstance(table, DigestTable):
        return
    assert table.long == [long]
    assert table.first_bytes() == sorted({one[0] for one in expected if one != long})
    for first in (0, 1, 127, 255):
        short = sorted(one for one in expected if one[0] == first and one != long)
        assert table.beginning_with(first) == short


def test_an_empty_table() -> None:
    table = BlobTable()
    table.settle()
    assert [*table] == []
    assert table.get(digest(1)) is None
    assert table.beginning_with(255) == []
