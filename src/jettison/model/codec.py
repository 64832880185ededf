"""The one codec of what is kept as JSON: plans and journal entries, with names in their own types.

Whoever owns the tree that they lie in may have written them, so what is read is bounded.
"""

from typing import Any, Final

import msgspec

from jettison.errors import InvalidDocument, JettisonError
from jettison.model import strict_json

__all__ = ["LARGEST", "convert", "decode", "encode", "is_readable", "plain"]

LARGEST: Final = 1024 * 1024 * 1024
"""Bytes of a journal entry, or of the plan of a repair: it holds each manifest that it removed."""

MOST_PARTS: Final = 20_000_000
"""Objects, lists and commas of one: a step has some twenty. In memory each takes 64 bytes and more,
and whoever owns a tree can write as many as they like.
"""


def encode(value: Any) -> bytes:  # noqa: ANN401 - of any type that there is a plan of
    """Return a plan, an entry or its head as JSON, its members in the order of its class."""
    return _ENCODER.encode(value)


def is_readable(raw: bytes) -> bool:
    """Whether a document is small enough to be read again."""
    return len(raw) <= LARGEST and strict_json.parts_of(raw) <= MOST_PARTS


def decode(raw: bytes, type: Any) -> Any:  # noqa: A002, ANN401 - msgspec's word, and a union is no type
    """Return what :func:`encode` was given.

    Raises :class:`~jettison.errors.InvalidDocument` for what is none, or too large.
    """
    return strict_json.decode(
        raw, type, max_bytes=LARGEST, max_parts=MOST_PARTS, dec_hook=_decode_hook
    )


def convert(value: Any, type: Any) -> Any:  # noqa: A002, ANN401 - same
    """Return what plain values are, as :func:`decode` does."""
    try:
        return msgspec.convert(value, type, dec_hook=_decode_hook)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidDocument(str(error)) from None


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Return a value as dictionaries, lists, texts and numbers."""
    return msgspec.to_builtins(value, enc_hook=_encode_hook, str_keys=True)


def _encode_hook(value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value))


def _decode_hook(wanted: type, value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if issubclass(wanted, str):
        try:
            return wanted(value)
        except JettisonError as error:
            raise ValueError(error.message) from None  # to msgspec: this document is damaged
    raise NotImplementedError(wanted)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode_hook)
