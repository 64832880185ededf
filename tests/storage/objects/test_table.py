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


@pytest.mark.parametrize("make", [DigestTable, BlobTable])
@pytest.mark.parametrize("in_order", [True, False])
def test_digests_in_a_row_are_those_that_come_one_by_one(
    make: Callable[[], DigestTable | BlobTable],
    in_order: bool,
) -> None:
    chance = Random(7)
    one_by_one, rows = make(), make()
    for first in sorted(range(256), reverse=not in_order):
        digests = sorted(one for one in map(digest, range(3000)) if one[0] == first)
        if not in_order:
            digests += digests[:2]
            chance.shuffle(digests)
        stamps = [Stamp(chance.randrange(100)) for _ in digests]
        for one, stamp in zip(digests, stamps, strict=True):
            one_by_one.add(one, stamp, 3)
        for part in (slice(0, 4), slice(4, None), slice(0, 0)):
            row = digests[part]
            rows.add_row(b"".join(row), stamps[part], [3] * len(row))
    one_by_one.settle()
    rows.settle()
    assert [*rows.items()] == [*one_by_one.items()]


def test_an_empty_table() -> None:
    table = BlobTable()
    table.settle()
    assert [*table] == []
    assert table.get(digest(1)) is None
    assert table.beginning_with(255) == []
