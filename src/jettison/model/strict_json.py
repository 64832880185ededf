"""The one reader of JSON that comes from outside: manifests, answers, tokens, journals, plans.

Its limits of size and depth are its own, so that they do not depend on the depth of the program's
stack, and it raises one error for everything that it refuses.

A second check makes sure that every reader understands a manifest alike. Programs differ on two
members of one name: one takes the first, one the last, and Go treats names that differ only in case
as equal. Another program may pull what the collector does not see in a manifest (as in
CVE-2021-41190). The server therefore refuses such a manifest, and the collector keeps everything
that any program may read in one that another registry accepted.
"""

import functools
import json
import re
from collections.abc import Callable, Hashable, Iterator
from itertools import accumulate
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import msgspec

from jettison.errors import InvalidDocument, InvalidManifest

__all__ = [
    "MOST_BYTES",
    "MOST_LEVELS",
    "EveryReading",
    "check_unambiguous",
    "decode",
    "every_reading",
    "has_no_more",
    "parts_of",
    "unpack",
]

MOST_LEVELS: Final = 100
"""How deep objects and lists may be nested; no manifest has more than ten levels."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""The size of a document, unless a reader sets another one."""

_T = TypeVar("_T")
_Hook = Callable[[type, Any], Any]

_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))

_NAMES: Final = {
    name.casefold(): name
    for name in (
        *("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs"),
        *("subject", "annotations", "fsLayers", "digest", "size", "urls", "platform", "data"),
    )
}
"""The members of manifests and descriptors that have a meaning, by the key that Go compares."""

_MOST_PARTS: Final = 200_000
"""Objects, lists and commas in a document; 4 MiB have room for 50,000 layers at most.

It bounds how long the decoder, a single call, keeps all other threads waiting.
"""

_LISTS: Final = ("layers", "manifests", "blobs")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(
    raw: bytes,
    type: type[_T],  # noqa: A002 - msgspec's word
    *,
    max_depth: int = MOST_LEVELS,
    max_bytes: int = MOST_BYTES,
    max_parts: int | None = None,
    strict: bool = True,
    dec_hook: _Hook | None = None,
) -> _T:
    """Return the document, as msgspec reads it into ``type``; plain objects for ``object``.

    ``strict`` and ``dec_hook`` are msgspec's. Raises
    :class:`~jettison.errors.InvalidDocument` if it is longer than ``max_bytes``, nests
    objects and lists deeper than ``max_depth``, has more of them and of commas than ``max_parts``,
    is not JSON in UTF-8, or lacks the type's members.
    """
    if len(raw) > max_bytes:
        raise InvalidDocument(f"it is {len(raw)} bytes long; the limit is {max_bytes}")
    if max_parts is not None and parts_of(raw) > max_parts:
        raise InvalidDocument(
            "it has more objects, lists and members than any that Jettison writes"
        )
    _check_depth(raw, max_depth)
    try:
        return _decoder(type, strict, dec_hook).decode(raw)  # type: ignore[no-any-return, arg-type]
    except (msgspec.DecodeError, ValueError, NotImplementedError) as error:
        raise InvalidDocument(str(error)) from None


def unpack(raw: bytes, type: type[_T]) -> _T:  # noqa: A002 - msgspec's word
    """Decode MessagePack; raises as :func:`decode` does."""
    try:
        return msgspec.msgpack.decode(raw, type=type)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidDocument(str(error)) from None


@functools.lru_cache(maxsize=64)
def _decoder(wanted: Hashable, strict: bool, dec_hook: _Hook | None) -> Any:  # noqa: ANN401, FBT001 - of any type
    shape = Any if wanted is object else wanted
    return msgspec.json.Decoder(shape, strict=strict, dec_hook=dec_hook)


def _check_depth(raw: bytes, most: int) -> None:
    """Raise if a decoder would have to go deeper than ``most`` levels, wherever it stops.

    Few documents have more brackets than allowed levels, so counting is nearly always enough. From
    the others everything is removed but the brackets outside of strings, each a step up or down:
    ``{"a":[1,"]"]}`` becomes ``{[]}``, two levels. In broken JSON the result holds up to the first
    fault, where decoders stop.
    """
    if raw.count(b"{") + raw.count(b"[") <= most:
        return
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    steps = raw.translate(_STEPS, _OTHERS).replace(b'""', b"")
    if b'"' in steps:
        steps = b"".join(steps.split(b'"')[::2])
    if max(accumulate(memoryview(steps).cast("b")), default=0) > most:
        raise InvalidDocument(f"it is nested more than {most} levels deep")


def check_unambiguous(raw: bytes) -> None:
    """Raise :class:`~jettison.errors.InvalidManifest` unless ``raw`` is plain, unambiguous JSON.

    It must be one object in UTF-8 with no name twice in any object, and have no more levels and
    parts than a manifest has. In it and in its descriptors, no names may differ only in case, and a
    name with a meaning must be written in its own case; annotations may have any names.
    """
    _check_parts(raw)
    try:
        _check_depth(raw, MOST_LEVELS)
        document = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_number)
        if _SURROGATE.search(raw) is not None:
            json.dumps(document, ensure_ascii=False).encode()  # half a character is no UTF-8
    except InvalidDocument as error:
        raise InvalidManifest(error.message) from None
    except ValueError as error:  # also what is no UTF-8
        raise InvalidManifest(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidManifest("it is not a JSON object")
    for one in _objects(document):
        _check_case(one)


def parts_of(raw: bytes) -> int:
    """Return the number of objects, lists and commas, including those in strings."""
    return raw.count(b"{") + raw.count(b"[") + raw.count(b",")


def _check_parts(raw: bytes) -> None:
    if parts_of(raw) > _MOST_PARTS:
        raise InvalidManifest("it has more objects, lists and members than any manifest")


class EveryReading(NamedTuple):
    """All digests that any reader may find in a manifest, as written, by their kind."""

    blobs: set[str]
    manifests: set[str]
    subjects: set[str]


def has_no_more(raw: bytes, digests: int, sums: int = 0) -> bool:
    """Whether no reader finds more than ``digests`` digests in a manifest.

    ``sums`` counts those of schema 1, which have another name. The test is quick: in ASCII without
    escapes, every digest follows a name of these letters, in some case.
    """
    if b"\\" in raw or not raw.isascii():
        return False
    folded = raw.lower()
    return folded.count(b'"digest"') == digests and folded.count(b'"blobsum"') == sums


def every_reading(raw: bytes) -> EveryReading:
    """Return what any reader may find in a manifest that :func:`decode` accepts.

    That is the union over names that occur twice, and over names in any case. Raises
    :class:`~jettison.errors.InvalidManifest` for a document that only some readers accept.
    """
    _check_parts(raw)
    found = EveryReading(set(), set(), set())
    try:
        document = json.loads(
            raw.decode(), object_pairs_hook=_Members, parse_int=str, parse_float=str
        )
    except ValueError as error:  # also what is no UTF-8
        raise InvalidManifest(f"it is not JSON for every reader: {error}") from None
    for name, value in document if isinstance(document, _Members) else ():
        kind = _REFERENCES.get(name.casefold())
        if kind is None:
            continue
        for one in value if type(value) is list else [value]:
            for inner, digest in one if isinstance(one, _Members) else ():
                if inner.casefold() in {"digest", "blobsum"} and isinstance(digest, str):
                    found[kind].add(digest)
    return found


class _Members(tuple[tuple[str, Any], ...]):
    """The members of an object in order, including those that occur twice."""

    __slots__ = ()


_REFERENCES: Final = {
    **dict.fromkeys(("config", "layers", "blobs", "fslayers"), 0),
    "manifests": 1,
    "subject": 2,
}
"""The field of :class:`EveryReading` for the digests of each member of a manifest."""


def _objects(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the manifest and its descriptors."""
    inner = [document, document.get("config"), document.get("subject")]
    for name in _LISTS:
        members = document.get(name)
        inner += members if isinstance(members, list) else ()
    return (one for one in inner if isinstance(one, dict))


def _check_case(names: dict[str, Any]) -> None:
    folded = {name.casefold(): name for name in names}
    if len(folded) != len(names):
        raise InvalidManifest("names in one object differ in case only")
    for key, name in folded.items():
        if _NAMES.get(key, name) != name:
            raise InvalidManifest(f"{_NAMES[key]} is written in another case")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidManifest("a name occurs twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise InvalidManifest(f"{text} is not a number in JSON")
