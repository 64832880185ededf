import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.model import digest_set as digests
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.digest_set import DigestSet

texts = st.binary(max_size=2)


def folder_of(digest: BinaryDigest) -> str:
    return f"{Digest.from_binary(digest).algorithm}/{digest[:1].hex()}"


@given(st.lists(st.tuples(texts, st.sampled_from(["sha256", "sha512"]))), st.integers(32, 200))
def test_it_is_a_set(found: list[tuple[bytes, str]], limit: int) -> None:
    wanted = {Digest.of(raw, algorithm).binary for raw, algorithm in found}
    kept = DigestSet()
    kept._limit = limit  # so that it is compacted
    for _ in range(3):
        kept.add_row(b"".join(digest for digest in sorted(wanted) if len(digest) == 32))
        for digest in wanted:
            kept.add(digest)
    other = Digest.of(b"not among them").binary
    for folder in {folder_of(digest) for digest in (*wanted, other)}:
        here = {digest for digest in (*wanted, other) if folder_of(digest) == folder}
        assert kept.among(folder, here) == here - {other}
    assert not kept.among("sha256/zz", wanted)


def test_what_comes_again_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_COMPACT", 100_000)
    kept = DigestSet()
    digests_of_7 = [BinaryDigest(bytes([7]) + n.to_bytes(8) + bytes(23)) for n in range(1000)]
    for _ in range(100):
        kept.add_row(b"".join(digests_of_7))
    assert len(kept._rows[7]) <= 100_000 + 8_000
    assert kept.among("sha256/07", digests_of_7) == set(digests_of_7)


def test_of_two_that_begin_alike_both_stay() -> None:
    kept = DigestSet()
    one = BinaryDigest(bytes(31) + b"1")
    other = BinaryDigest(bytes(31) + b"2")
    kept.add(one)
    assert kept.among("sha256/00", [one, other]) == {one, other}


SHORT = [BinaryDigest(bytes([number % 7, number]) + bytes(30)) for number in range(50)]
LONG = BinaryDigest(b"\1" * 64)


def test_each_is_counted_once() -> None:
    digests = DigestSet()
    assert len(digests) == 0
    digests.add_all([*SHORT, *SHORT, LONG])
    digests.add_all(iter(SHORT))
    digests.add(LONG)
    assert len(digests) == 51


def test_they_are_found_by_folder() -> None:
    digests = DigestSet()
    digests.add_all([*SHORT, LONG])
    ones = [one for one in SHORT if one[0] == 1]
    assert digests.among("sha256/01", ones) == set(ones)
    assert digests.among("sha256/ff", [BinaryDigest(b"\xff" * 32)]) == set()
    assert digests.among("sha512/01", [LONG, BinaryDigest(b"\1" * 63 + b"\2")]) == {LONG}
