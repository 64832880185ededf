"""Text that a terminal shows and does not obey, whatever its source."""

import json
from typing import Any

__all__ = ["ascii_json", "printable"]


def printable(text: str) -> str:
    r"""Return ``text`` on one line, with everything that a terminal would obey written out.

    Control characters (C0, C1, DEL, ESC), line and paragraph separators, bidirectional and
    invisible formats, lone surrogates and unassigned code points become ``\n``, ``\x1b``,
    ``\u202e`` and so on. Printable text is returned unchanged.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def ascii_json(content: Any, *, indent: int | None = None) -> str:  # noqa: ANN401 - plain values
    """Return JSON in ASCII: every terminal shows it and obeys none of it."""
    separators = (",", ":") if indent is None else (",", ": ")
    # DEL is ASCII, and the one control character that JSON lets stand.
    return json.dumps(content, indent=indent, separators=separators).replace("\x7f", "\\u007f")
