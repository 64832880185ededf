"""JSON that every reader understands alike.

Two members of one name are read differently by different programs: one takes the first, one the
last, and Go takes names that differ in case only for the same. What a collector does not see in a
manifest, another program may pull (as in CVE-2021-41190), so such a manifest is not taken in.
"""

import json
from typing import Any, NoReturn

from jettison.errors import InvalidManifest

__all__ = ["check_unambiguous"]


def check_unambiguous(raw: bytes) -> None:
    """Raise :class:`~jettison.errors.InvalidManifest` unless ``raw`` is plain, unambiguous JSON.

    It has to be one object in UTF-8, without a name twice in any object, without names at the top
    that differ in case only, and not nested deeper than any manifest is.
    """
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise InvalidManifest("it is nested too deeply") from None
    except ValueError as error:  # also what is no UTF-8
        raise InvalidManifest(f"it is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidManifest("it is no JSON object")
    if len({name.lower() for name in document}) != len(document):
        raise InvalidManifest("names at its top differ in case only")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidManifest("a name occurs twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise InvalidManifest(f"{text} is no number in JSON")
