"""The document of a journal entry: one JSON object, whose first line is the head.

The line ends in a comma: the document is JSON as a whole, and the line with a brace in place of the
comma is the head. A document of schema 1 has no such line, nor has one that a person has formatted;
it is read as a whole. A pointer is a document that names another journal.
"""

from typing import Any, Final

import msgspec

from jettison.model import codec
from jettison.model.journal import (
    RUN_SCHEMA,
    EntryHead,
    FindingCode,
    JournalEntry,
    head_of,
)

__all__ = ["Label", "decode_entry", "decode_head", "encode_entry", "head_in", "label_of"]


class Label(msgspec.Struct):
    """What every version of a document has.

    ``elsewhere`` is where a pointer leads to: a folder, or a place in a bucket that
    ``configuration`` opens.
    """

    id: str = ""
    schema_version: int = 0
    elsewhere: str | None = None
    configuration: str | None = None


def encode_entry(entry: JournalEntry) -> bytes:
    """Return the document of an entry. In JSON no text can break a line."""
    raw = codec.encode(entry)
    end = len(codec.encode(head_of(entry))) - 1
    return raw if raw[end:] == b"}" else raw[:end] + b",\n" + raw[end + 1 :]


def head_in(document: bytes) -> bytes | None:
    """Return the head at the beginning of a document; None if it has no line of its own there."""
    first, end, _ = document.partition(b"\n")
    return first[:-1] + b"}" if end and first.endswith(b",") else None


def label_of(document: bytes) -> Label:
    """Return what can be read of a document of any version.

    Raises :class:`~jettison.errors.InvalidDocument`, as do the others.
    """
    label: Label = codec.decode(head_in(document) or document, Label)
    return label


def decode_entry(document: bytes, version: int) -> JournalEntry:
    """Return the entry in a document of a schema that is known."""
    if version < RUN_SCHEMA:
        return codec.convert(_upgraded(codec.decode(document, dict)), JournalEntry)  # type: ignore[no-any-return]
    return codec.decode(document, JournalEntry)  # type: ignore[no-any-return]


def decode_head(document: bytes, version: int) -> EntryHead:
    """Return the head in a document, or in a head alone, of a schema that is known."""
    if version < RUN_SCHEMA:
        return head_of(decode_entry(document, version))
    return codec.decode(document, EntryHead)  # type: ignore[no-any-return]


_DETAILS: Final = {
    "rm": {
        "product": "product",
        "now": "planned",
        "grace": "grace",
        "prediction": "prediction",
    },
    "gc": {"blobs": "blobs", "links": "links"},
    "fsck": {"folder": "folder"},
}
"""By kind: the ``details`` of schema 1, and the members that they are now."""


def _upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document of an entry of schema 1 as one of the present schema.

    Any other document becomes one from which no entry can be decoded.
    """
    kind, details = document.get("kind"), document.get("details")
    found = {name: value for name, value in document.items() if name != "details"}
    if not isinstance(kind, str) or not isinstance(details, dict | None):
        return {}
    for old, new in _DETAILS.get(kind, {}).items():
        if details and old in details:
            found[new] = details[old]
    if "left" in found:
        found["left"] = _coded(found["left"])
    if isinstance(receipt := found.get("receipt"), dict) and "findings" in receipt:
        found["receipt"] = receipt | {"findings": _coded(receipt["findings"])}
    return found | {"schema_version": RUN_SCHEMA}


def _coded(items: Any) -> Any:  # noqa: ANN401 - whatever stands there
    coded = isinstance(items, list) and all(isinstance(one, dict) for one in items)
    return [{"code": FindingCode.UNCODED} | one for one in items] if coded else items
