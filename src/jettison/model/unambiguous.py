"""JSON that every reader understands alike.

Two members of one name are read differently by different programs: one takes the first, one the
last, and Go takes names that differ in case only for the same. What a collector does not see in a
manifest, another program may pull (as in CVE-2021-41190), so such a manifest is not taken in.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from jettison.errors import InvalidManifest

__all__ = ["check_unambiguous"]

_NAMES: Final = {
    name.casefold(): name
    for name in (
        *("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs"),
        *("subject", "annotations", "fsLayers", "digest", "size", "urls", "platform", "data"),
    )
}
"""The members of manifests and descriptors that have a meaning, by what Go compares."""

_MOST_PARTS: Final = 300_000
"""Objects and lists in a document; a manifest of 4 MiB has room for 50,000 layers."""

_LISTS: Final = ("layers", "manifests", "blobs")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def check_unambiguous(raw: bytes) -> None:
    """Raise :class:`~jettison.errors.InvalidManifest` unless ``raw`` is plain, unambiguous JSON.

    It has to be one object in UTF-8, without a name twice in any object, neither nested deeper nor
    of more parts than any manifest is. In it and in its descriptors no names may differ in case
    only, nor one that means something be written in another case; annotations may be named as one
    likes.
    """
    if raw.count(b"{") + raw.count(b"[") > _MOST_PARTS:
        raise InvalidManifest("it has more objects and lists than any manifest")
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_number)
        if _SURROGATE.search(raw) is not None:
            json.dumps(document, ensure_ascii=False).encode()  # half a character is no UTF-8
    except RecursionError:
        raise InvalidManifest("it is nested too deeply") from None
    except ValueError as error:  # also what is no UTF-8
        raise InvalidManifest(f"it is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidManifest("it is no JSON object")
    for one in _objects(document):
        _check_case(one)


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
    raise InvalidManifest(f"{text} is no number in JSON")
