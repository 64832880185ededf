"""Text that a terminal only shows, whatever it came from."""

import json
from typing import Any

__all__ = ["ascii_json", "printable"]


def printable(text: str) -> str:
    r"""Return ``text`` on one line, with all that a terminal would obey written out.

    Control characters (C0, C1, DEL, ESC), line and paragraph separators, bidirectional and
    invisible formats, lone surrogates and what Unicode does not assign become ``\n``, ``\x1b``,
    ``\u202e`` and so on. What is printable already is returned as it is.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def ascii_json(content: Any, *, indent: int | None = None) -> str:  # noqa: ANN401 - plain values
    r"""Return JSON in ASCII: no terminal obeys it, each can show it, ``\udcff`` has a place."""
    separators = (",", ":") if indent is None else (",", ": ")
    # DEL is ASCII, and the one control character that JSON lets stand.
    return json.dumps(content, indent=indent, separators=separators).replace("\x7f", "\\u007f")
