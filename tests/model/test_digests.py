from jettison.model.digest import RawDigest
from jettison.model.digests import RawDigests

SHORT = [RawDigest(bytes([number % 7, number]) + bytes(30)) for number in range(50)]
LONG = RawDigest(b"\1" * 64)


def test_each_is_counted_once() -> None:
    digests = RawDigests()
    assert len(digests) == 0
    digests.add_all([*SHORT, *SHORT, LONG])
    digests.add_all(iter(SHORT))
    digests.add(LONG)
    assert len(digests) == 51


def test_they_are_found_by_folder() -> None:
    digests = RawDigests()
    digests.add_all([*SHORT, LONG])
    assert digests.in_folder("sha256/01") == {one for one in SHORT if one[0] == 1}
    assert digests.in_folder("sha256/ff") == set()
    assert digests.in_folder("sha512/01") == {LONG}
