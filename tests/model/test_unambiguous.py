"""JSON that not every reader understands alike is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import InvalidManifest
from jettison.model.unambiguous import check_unambiguous

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
