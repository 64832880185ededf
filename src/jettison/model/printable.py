"""Text that a terminal only shows, whatever it came from."""

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""Return ``text`` on one line, with all that a terminal would obey written out.

    Control characters (C0, C1, DEL, ESC), line and paragraph separators, bidirectional and
    invisible formats, lone surrogates and what Unicode does not assign become ``\n``, ``\x1b``,
    ``\u202e`` and so on. What is printable already is returned as it is.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
