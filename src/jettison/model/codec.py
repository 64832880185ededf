"""The one JSON codec of plans and journal entries.

The owner of the tree that contains them may have written them, so reading is bounded.
"""

from typing import Any, Final

import msgspec

from jettison.errors import InvalidDocument, JettisonError
from jettison.model import strict_json

__all__ = ["LARGEST", "convert", "decode", "encode", "is_readable", "plain"]

LARGEST: Final = 1024 * 1024 * 1024
"""Bytes of a journal entry, which has each manifest that it removed, or of a repair's plan."""

MOST_PARTS: Final = 20_000_000
"""Objects, lists and commas in one: a step has some twenty. Each takes 64 bytes of memory and more,
and the owner of a tree can write any number.
"""


def encode(value: Any) -> bytes:  # noqa: ANN401 - of any type that there is a plan of
    """Return a plan, an entry or a head as JSON, the members in the order of the class."""
    return _ENCODER.encode(value)


def is_readable(raw: bytes) -> bool:
    """Whether a document is small enough to be read again."""
    return len(raw) <= LARGEST and strict_json.parts_of(raw) <= MOST_PARTS


def decode(raw: bytes, type: Any) -> Any:  # noqa: A002, ANN401 - msgspec's word, and a union is no type
    """Return the object that :func:`encode` wrote.

    Raises :class:`~jettison.errors.InvalidDocument` if it is malformed or too large.
    """
    return strict_json.decode(
        raw, type, max_bytes=LARGEST, max_parts=MOST_PARTS, dec_hook=_decode_hook
    )


def convert(value: Any, type: Any) -> Any:  # noqa: A002, ANN401 - same
    """Return the object for plain values, as :func:`decode` does."""
    try:
        return msgspec.convert(value, type, dec_hook=_decode_hook)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidDocument(str(error)) from None


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Return a value as dictionaries, lists, strings and numbers."""
    return msgspec.to_builtins(value, enc_hook=_encode_hook, str_keys=True)


def _encode_hook(value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value))


def _decode_hook(wanted: type, value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if issubclass(wanted, str):
        if not isinstance(value, str) and not getattr(wanted, "takes_numbers", False):
            # YAML reads the tag 007 as 7 and 1.10 as 1.1: what was meant is no longer known.
            raise ValueError(f"{value!r} is no text; write it in quotes")
        try:
            return wanted(value)
        except JettisonError as error:
            raise ValueError(error.message) from None  # to msgspec: this document is damaged
    raise NotImplementedError(wanted)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode_hook)
