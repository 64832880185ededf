import hashlib

import pytest

from jettison.errors import InvalidDigest
from jettison.model.digest import Digest, digest_row

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_registered_algorithms(text: str) -> None:
    digest = Digest(text)
    assert digest == text
    assert hash(digest) == hash(text)
    assert f"{digest.algorithm}:{digest.hex}" == text
    assert digest.short == text[:19]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no algorithm before the hex"),
        ("0" * 64, "there is no algorithm before the hex"),
        ("latest", "there is no algorithm before the hex"),
        ("md5:" + "0" * 32, "unknown algorithm 'md5'"),
        (":" + "0" * 64, "unknown algorithm ''"),
        ("SHA256:" + "0" * 64, "unknown algorithm 'SHA256'"),
        ("sha256:" + "0" * 63, "63 hex digits instead of 64"),
        ("sha256:" + "0" * 65, "65 hex digits instead of 64"),
        ("sha512:" + "0" * 64, "64 hex digits instead of 128"),
        ("sha256:", "0 hex digits instead of 64"),
        ("sha256:" + "A" * 64, "only 0-9 and a-f may follow the colon"),
        ("sha256:" + "g" * 64, "only 0-9 and a-f may follow the colon"),
        ("sha256:" + "٣" * 64, "only 0-9 and a-f may follow the colon"),
        (SHA256 + "\n", "65 hex digits instead of 64"),
        (" " + SHA256, "unknown algorithm ' sha256'"),
        (f"{SHA256}@{SHA256}", "136 hex digits instead of 64"),
        ("sha256:../" + "0" * 61, "only 0-9 and a-f may follow the colon"),
    ],
)
def test_anything_else_is_an_error_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidDigest) as raised:
        Digest(text)
    assert raised.value.message == f"invalid digest {text!r}: {reason}"
    assert raised.value.exit_code == 2
    assert raised.value.hint


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_of_bytes(algorithm: str) -> None:
    raw = b"some bytes"
    digest = Digest.of(raw, algorithm)
    assert digest == f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
    assert digest.matches(raw)
    assert not digest.matches(raw + b" ")


def test_of_an_algorithm_that_is_not_registered() -> None:
    with pytest.raises(InvalidDigest, match="unknown digest algorithm 'md5'"):
        Digest.of(b"", "md5")


def test_digests_sort_as_text() -> None:
    digests = [Digest(SHA512), Digest(SHA256)]
    assert sorted(digests) == [SHA256, SHA512]


def test_a_row_of_digests() -> None:
    hexes = [hashlib.sha256(raw).hexdigest() for raw in (b"a", b"b")]
    assert digest_row(hexes) == b"".join(map(bytes.fromhex, hexes))
    assert digest_row([]) == b""


@pytest.mark.parametrize(
    "hexes",
    [
        ["0" * 63, "0" * 65],
        ["0" * 62 + "  ", "0" * 64],
        ["A" * 64],
        ["g" * 64],
        ["\u0663" * 64],
        ["0" * 128],
    ],
)
def test_what_is_no_row_of_digests(hexes: list[str]) -> None:
    assert digest_row(hexes) is None
