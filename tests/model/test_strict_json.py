"""JSON from outside: what is too deep, too long or ambiguous is refused, by limits of our own."""

import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import InvalidDocument, InvalidManifest
from jettison.model.manifest import parse_manifest
from jettison.model.manifest_references import references_of
from jettison.model.strict_json import MOST_LEVELS, check_unambiguous, decode, unpack

GOOD = [
    b"{}",
    b' {"a": [1, 2.5e3, true, null, "\\u00e9", {"a": {}}], "b": {"a": 1}} \n',
    b'{"annotations": {"Key": "1", "key": "2"}}',
    b'{"layers": [{"annotations": {"A.b": "1", "a.b": "2"}}]}',
]

BAD = {
    "empty": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "a text": b'"a"',
    "two documents": b"{}{}",
    "a comment": b"{} // x",
    "a comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "twice": b'{"a": 1, "a": 1}',
    "twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "twice within": b'{"a": [{"b": {"c": 1, "c": 2}}]}',
    "case at the top": b'{"layers": [], "Layers": []}',
    "a letter that Go folds, at the top": '{"layers": [], "layer\u017f": []}'.encode(),
    "another letter that Go folds": '{"blobs": [], "blob\u017f": []}'.encode(),
    "a type in another case": b'{"mediatype": "a"}',
    "a subject in another case": b'{"Subject": {"digest": "a"}}',
    "a digest in another case": b'{"manifests": [{"DIGEST": "a"}]}',
    "case in a descriptor": b'{"layers": [{"digest": "a", "Digest": "b"}]}',
    "case in the config": b'{"config": {"mediaType": "a", "mediatype": "b"}}',
    "case in the subject": b'{"subject": {"DIGEST": "a", "digest": "b"}}',
    "a letter that Go folds, within": '{"config": {"\u017fize": 1, "size": 2}}'.encode(),
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": [-Infinity]}',
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "not UTF-8": b'{"a": "\xff"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "a control character": b'{"a": "\n"}',
    "NUL": b"{}\0",
    "half a surrogate": b'{"a": "\\ud800"}',
    "half a surrogate as a name": b'{"\\udc00": 1}',
    "deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep lists": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and open": b'{"a":' + b"[" * 1_000_000,
    "many parts": b'{"a": [' + b"{}," * 300_000 + b"0]}",
    "a long number": b'{"a": ' + b"1" * 100_000 + b"}",
}


@pytest.mark.parametrize("raw", GOOD)
def test_plain_json_is_taken(raw: bytes) -> None:
    check_unambiguous(raw)


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_what_can_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidManifest) as caught:
        check_unambiguous(raw)
    assert len(caught.value.message) < 500


@given(
    st.dictionaries(
        st.text(alphabet="abcxyz", max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(alphabet="abcxyz", max_size=3), inner, max_size=3)
            ),
            max_leaves=10,
        ),
        max_size=4,
    )
)
def test_what_a_plain_writer_writes_is_taken(document: dict[str, object]) -> None:
    check_unambiguous(json.dumps(document, ensure_ascii=False).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(raw: bytes) -> None:
    try:
        check_unambiguous(raw)
    except InvalidManifest:
        return
    assert isinstance(json.loads(raw), dict)


# The reader.


class One(msgspec.Struct):
    a: int = 0


def nested(levels: int, opening: str = "[", closing: str = "]", core: str = "") -> bytes:
    """A document of so many levels, its outermost object included."""
    return f'{{"b":{opening * (levels - 1)}{core}{closing * (levels - 1)}}}'.encode()


def at_depth(frames: int, call: Any) -> Any:
    return call() if frames == 0 else at_depth(frames - 1, call)


NESTINGS = {
    "lists": nested,
    "objects": lambda levels: nested(levels, '{"a":', "}", "1"),
    "wide": lambda levels: b'{"b":[' + nested(levels - 2) + b"," + b"[[[]]]," * 200 + b"1]}",
    "texts with brackets": lambda levels: nested(levels, '["]]]","\\"]]", "\\\\",', "]", "1"),
}


@pytest.mark.parametrize("write", NESTINGS.values(), ids=NESTINGS.keys())
@pytest.mark.parametrize("wanted", [One, object])
@pytest.mark.parametrize("frames", [0, 500])
def test_the_limit_of_depth_is_the_documents_alone(write: Any, wanted: Any, frames: int) -> None:
    at_depth(frames, lambda: decode(write(MOST_LEVELS), wanted))
    for levels in (MOST_LEVELS + 1, 990, 5_000, 200_000):
        with pytest.raises(InvalidDocument, match="more than 100 levels deep"):
            at_depth(frames, lambda levels=levels: decode(write(levels), wanted))


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 300, 600, 900, 10_000])
def test_what_is_taken_from_a_push_is_read_by_everybody(levels: int) -> None:
    for read in (check_unambiguous, references_of, parse_manifest):
        with pytest.raises(InvalidManifest):
            read(nested(levels))
    foreign = "application/vnd.example.manifest"
    with pytest.raises(InvalidManifest):
        parse_manifest(nested(levels), foreign)
    check_unambiguous(nested(MOST_LEVELS))
    assert parse_manifest(nested(MOST_LEVELS), foreign).media_type == foreign
    references_of(nested(MOST_LEVELS))


def test_texts_full_of_brackets_are_not_deep() -> None:
    for text in ("[" * 5000, "{[" * 5000, '"[' * 5000, "\\[" * 5000, '\\"[' * 5000):
        assert decode(json.dumps({"b": [text, text], "a": 3}).encode(), One).a == 3


@pytest.mark.parametrize(
    "raw",
    [
        *(raw for name, raw in BAD.items() if name in {"empty", "no JSON", "two documents", "BOM"}),
        *(BAD[name] for name in ("UTF-16", "NaN", "Infinity", "NUL", "deep and open")),
        b'{"a": "1"}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 100_000 + b"}",
        b'{"a": 1, "\\ud800": 1}',
        b"]" * 300 + b"[" * 300,
        b'"' + b"[" * 1000,
        b"\\" * 1001 + b"[" * 1000,
    ],
)
def test_there_is_one_error_for_all_that_is_not_taken(raw: bytes) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode(raw, One)
    assert len(caught.value.message) < 300


def test_a_document_may_not_be_longer_than_its_reader_allows() -> None:
    assert decode(b'{"a":12}', One, max_bytes=8).a == 12
    with pytest.raises(InvalidDocument, match="8 bytes long; the limit is 7"):
        decode(b'{"a":12}', One, max_bytes=7)


def test_message_pack_has_one_error_too() -> None:
    assert unpack(msgspec.msgpack.encode(One(3)), One).a == 3
    for raw in (
        b"\x91" * 100_000,
        b"\x81\xa1b" + b"\x91" * 100_000,
        b"",
        b"\xc1",
    ):
        with pytest.raises(InvalidDocument):
            unpack(raw, One)


JSON = st.recursive(
    st.none() | st.text(alphabet='[]{}",\\a', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\'), inner, max_size=2)
    ),
    max_leaves=30,
)


def depth(value: Any) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0)
    return 0


@given(JSON, st.integers(0, 6), st.booleans())
def test_depth_is_counted_as_it_is(value: Any, most: int, escape: bool) -> None:
    raw = json.dumps(value, ensure_ascii=escape).encode()
    try:
        assert decode(raw, object, max_depth=most) == value
    except InvalidDocument:
        assert depth(value) > most
    else:
        assert raw.count(b"[") + raw.count(b"{") <= most or depth(value) <= most


@given(st.text('[]{}",:\\ 1', max_size=60))
def test_no_decoder_goes_deeper_than_is_allowed(text: str) -> None:
    """Also in what is no JSON: with room for the levels that are allowed, none runs out of it."""
    raw = text.encode() + b"["
    try:
        decode(raw, object, max_depth=3)
    except InvalidDocument:
        return
    assert depth(json.loads(raw)) <= 3


def test_the_limit_leaves_room_for_the_program_itself() -> None:
    assert sys.getrecursionlimit() > MOST_LEVELS * 5
