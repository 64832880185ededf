"""Patterns of other systems as patterns of ours, which match the same names and no others.

Prefixes, globs of the library doublestar (Harbor, zot), and regular expressions that may match
anywhere in a name.
"""

import re
from typing import Final

from jettison.errors import InvalidPolicy
from jettison.model.retention.patterns import Pattern

__all__ = [
    "ALL",
    "Untranslatable",
    "anchored",
    "globbed",
    "literal",
    "prefixed",
    "repository_globs",
    "searched",
    "tag_globs",
]

ALL: Final = Pattern("*")

_SPECIAL: Final = re.compile(r"[*?\[]")
_WILD: Final = re.compile(r"[*?\[\]{}\\]")
_ALL_NAMES: Final = frozenset({"", ".*", "^.*$", "^.*", ".*$", ".+", "^.+$", "(.*)", "^(.*)$"})
_END: Final = re.compile(r"(?<!\\)(?:\\\\)*\$$")


class Untranslatable(Exception):
    """A pattern that has no equal here; the message says why."""


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"[{found[0]}]", text)


def _pattern(text: str) -> Pattern:
    try:
        return Pattern(text)
    except InvalidPolicy as error:
        raise Untranslatable(error.message) from None


def literal(name: str) -> Pattern:
    """Return the pattern of one name."""
    return _pattern(_escaped(name))


def prefixed(prefix: str) -> Pattern:
    """Return the pattern of all names that begin so."""
    if not prefix:
        raise Untranslatable("an empty prefix names everything")
    return _pattern(f"{_escaped(prefix)}*")


def globbed(glob: str) -> Pattern:
    """Return the pattern for a glob with no other wildcard than ``*``."""
    return _pattern("*".join(map(_escaped, glob.split("*"))))


def searched(expression: str) -> Pattern:
    """Return the pattern for an expression that may match anywhere in a name (RE2, Go)."""
    if expression in _ALL_NAMES:
        return ALL
    _check(expression)
    if "|" in expression:
        return _pattern(f"re:.*(?:{expression}).*")
    inner = expression.removeprefix("^")
    before = "" if inner != expression or inner.startswith(".*") else ".*"
    ended = _END.search(inner) is not None
    if ended:
        inner = inner[:-1]
    after = "" if ended or inner.endswith(".*") else ".*"
    return _pattern(f"re:{before}{inner}{after}")


def anchored(expression: str, flags: str = "") -> Pattern:
    r"""Return the pattern for ``\A`` + ``expression`` + ``\z``, as GitLab and Gitea write it.

    There ``a|b`` is not in parentheses: it means names that begin with a, or end with b.
    """
    _check(expression)
    if "|" not in expression or _is_group(expression):
        if expression == ".*":
            return ALL
        return _pattern(f"re:{flags}{expression}")
    return _pattern(f"re:{flags}.*(?:\\A{expression}\\z).*")


def _check(expression: str) -> None:
    """Raise unless the expression is one by itself: in parentheses, ``a)(b`` would be one."""
    _pattern(f"re:{expression}")


def _is_group(expression: str) -> bool:
    """Whether an expression is one group, from its first to its last character."""
    if not expression.startswith("(") or not expression.endswith(")"):
        return False
    return "(" not in expression[1:] and ")" not in expression[:-1] and "\\" not in expression


def tag_globs(glob: str) -> tuple[Pattern, ...]:
    """Return the patterns for a glob of doublestar of tags; ``{a,b}`` becomes two."""
    return tuple(
        _pattern(f"re:{_expression(one)}")
        if "[" in one or "\\" in one or "{" in one
        else _pattern(re.sub(r"\*+", "*", one))
        for one in _alternatives(glob or "**")
    )


def repository_globs(glob: str, before: str = "", *, wide: bool = False) -> tuple[Pattern, ...]:
    """Return the patterns for a glob of doublestar of repositories: ``*`` stops at a slash.

    ``before`` is an expression for what stands before the name. Versions of the library differ
    on whether ``a/**`` matches ``a``; it does here if ``wide``.
    """
    found = []
    for one in _alternatives(glob or "**"):
        if not before and not _WILD.search(one):
            found.append(literal(one))
        elif not before and one == "**":
            found.append(ALL)
        elif not before and not wide and one.endswith("/**") and not _WILD.search(one[:-3]):
            found.append(_pattern(f"{one[:-3]}/*"))
        else:
            found.append(_pattern(f"re:{before}{_path_expression(one, wide=wide)}"))
    return tuple(found)


def _path_expression(glob: str, *, wide: bool) -> str:
    text = ""
    parts = glob.split("/")
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part != "**":
            text += _expression(part) + ("" if last else "/")
        elif not last:
            text += "(?:.*/)?"
        elif number == 0:
            text += ".*"
        elif wide:
            text = text.removesuffix("/") + "(?:/.*)?"
        else:
            text += ".*"
    return text


def _alternatives(glob: str) -> tuple[str, ...]:
    """Return what ``x{a,b}y`` stands for; braces within braces are not taken apart."""
    found = re.fullmatch(r"([^{}\\]*)\{([^{}\\]*)\}([^{}\\]*)", glob)
    if found is None:
        if "{" in glob or "}" in glob:
            raise Untranslatable(f"{glob!r} has several braces")
        return (glob,)
    before, inner, after = found.groups()
    return tuple(f"{before}{one}{after}" for one in inner.split(","))


def _expression(glob: str) -> str:
    """Return the expression for a part of a glob without slashes and braces."""
    text, at = "", 0
    while at < len(glob):
        letter = glob[at]
        if letter == "*":
            text += "" if text.endswith("[^/]*") else "[^/]*"
        elif letter == "?":
            text += "[^/]"
        elif letter == "\\" and at + 1 < len(glob):
            at += 1
            text += re.escape(glob[at])
        elif letter == "[":
            end = glob.find("]", at + 2)
            inner = glob[at + 1 : end]
            if end < 0 or not re.fullmatch(r"[!^]?[\w.-]+", inner):
                raise Untranslatable(f"{glob!r} has a class of letters that is not understood")
            text += f"[{'^' + inner[1:] if inner[0] in '!^' else inner}]"
            at = end
        else:
            text += re.escape(letter)
        at += 1
    return text
